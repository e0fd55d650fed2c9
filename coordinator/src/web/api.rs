//! Calls of the services from inside, through the gate: what came as JSON goes as a gRPC request with the caller's token.

use axum::http::uri::PathAndQuery;
use kindred_proto::{
    failure::{Failure, Reason},
    json::Method,
};
use prost::{
    Message,
    bytes::{Buf, BufMut, Bytes},
};
use serde_json::Value;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    service::Routes,
};
use tower::Layer;

use super::caller::Credentials;
use crate::access::{Gate, caller::Identity, gate::Gated};

/// Nothing here comes from outside: answers may be as large as the services make them.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// All services, behind the gate.
#[derive(Clone)]
pub struct Api {
    gate: Gate,
    services: Gated<Routes>,
}

impl Api {
    /// These services behind this gate.
    pub fn new(gate: Gate, routes: Routes) -> Self {
        Self { services: gate.layer(routes), gate }
    }

    /// Who a caller is.
    pub(super) fn identity(&self, credentials: &Credentials) -> Identity {
        self.gate.identity(credentials.authorization.as_ref())
    }

    /// One request, one answer.
    ///
    /// # Errors
    /// What the gate or the service says.
    pub(super) async fn call(
        &self,
        credentials: &Credentials,
        path: &str,
        request: Value,
    ) -> Result<Value, Status> {
        let method = Method::find(path).filter(Method::is_unary).ok_or_else(|| no_method(path))?;
        let request = encode(&method, credentials, request)?;
        let mut client = self.client().await;
        let answer = client.unary(request, path_and_query(path)?, Raw).await?;
        method.answer(&answer.into_inner()).map_err(Status::internal)
    }

    /// As [`Api::call`], of messages whose types are known here.
    ///
    /// # Errors
    /// What the gate or the service says.
    pub(super) async fn read<M: Message + Default>(
        &self,
        credentials: &Credentials,
        path: &'static str,
        request: &impl Message,
    ) -> Result<M, Status> {
        let mut request = Request::new(Bytes::from(request.encode_to_vec()));
        credentials.put_on(&mut request);
        let answer = self.client().await.unary(request, PathAndQuery::from_static(path), Raw).await?;
        M::decode(answer.into_inner()).map_err(|error| Status::internal(error.to_string()))
    }

    /// One request, and the answers as they come.
    ///
    /// # Errors
    /// What the gate or the service says.
    pub(super) async fn stream(
        &self,
        credentials: &Credentials,
        path: &str,
        request: Value,
    ) -> Result<(Method, Streaming<Bytes>), Status> {
        let method = Method::find(path).filter(Method::is_server_streaming).ok_or_else(|| no_method(path))?;
        let request = encode(&method, credentials, request)?;
        let mut client = self.client().await;
        let answers = client.server_streaming(request, path_and_query(path)?, Raw).await?;
        Ok((method, answers.into_inner()))
    }

    async fn client(&self) -> Grpc<Gated<Routes>> {
        let mut client = Grpc::new(self.services.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let Ok(()) = client.ready().await;
        client
    }
}

fn encode(method: &Method, credentials: &Credentials, request: Value) -> Result<Request<Bytes>, Status> {
    let invalid = |why| Status::from(Failure::new(Reason::SpecInvalid, format!("the request: {why}")));
    let mut request = Request::new(Bytes::from(method.request(request).map_err(invalid)?));
    credentials.put_on(&mut request);
    Ok(request)
}

fn path_and_query(path: &str) -> Result<PathAndQuery, Status> {
    path.parse().map_err(|_| no_method(path))
}

fn no_method(path: &str) -> Status {
    Status::unimplemented(format!("there is no method {path}"))
}

/// Messages stay as they are: who calls knows their types.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
