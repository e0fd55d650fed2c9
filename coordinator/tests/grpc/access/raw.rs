//! Calls of any method with any bytes, and the methods that there are.

use std::time::Duration;

use kindred_proto::DESCRIPTORS;
use prost::{
    Message,
    bytes::{Buf, BufMut},
};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use prost_types::FileDescriptorProto;
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{Body as HttpBody, Bytes, StdError},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::secured::Link;

/// A stream that has said nothing for so long is open and well.
const QUIET: Duration = Duration::from_millis(150);
/// Any call is answered within this.
const PATIENCE: Duration = Duration::from_secs(40);

/// Passes bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
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
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

/// A method of a service.
#[derive(Clone, Debug)]
pub struct Method {
    pub path: String,
    pub is_stream: bool,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With this code and these words.
    Ended(Code, String),
    /// Not yet: its stream is open, or it waits on purpose.
    Open,
}

impl Answer {
    /// The code; of what is open that all is well.
    pub fn code(&self) -> Code {
        match self {
            Self::Ended(code, ..) => *code,
            Self::Open => Code::Ok,
        }
    }
}

/// Calls with these messages, whatever they are.
pub async fn call<C>(channel: C, method: &Method, messages: Vec<Vec<u8>>) -> Answer
where
    C: GrpcService<tonic::body::Body>,
    C::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <C::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let calling = async {
        let mut client = Grpc::new(channel);
        client.ready().await.map_err(|error| Status::unavailable(error.into().to_string()))?;
        let path = method.path.parse().expect("a path");
        // Half of the streams of agents are closed at once, and half when the coordinator has said something.
        let request = Request::new(tokio_stream::iter(messages));
        let answers = client.streaming(request, path, Raw).await?;
        let mut answers = answers.into_inner();
        while let Some(_answer) = answers.message().await? {}
        Ok::<(), Status>(())
    };
    let patience = if method.is_stream { QUIET } else { PATIENCE };
    match timeout(patience, calling).await {
        Ok(Ok(())) => Answer::Ended(Code::Ok, String::new()),
        Ok(Err(status)) => Answer::Ended(status.code(), status.message().to_owned()),
        Err(_) if method.is_stream => Answer::Open,
        Err(_) => panic!("{} was not answered within {PATIENCE:?}", method.path),
    }
}

/// Every method that the server says it has, and those that only agents call, which it does not say.
pub async fn methods(link: Link) -> Vec<Method> {
    let mut client = ServerReflectionClient::new(link);
    let mut methods = vec![];
    for service in services(&mut client).await {
        let symbol = MessageRequest::FileContainingSymbol(service.clone());
        let MessageResponse::FileDescriptorResponse(files) = ask(&mut client, symbol).await else {
            panic!("no file for {service}");
        };
        for file in files.file_descriptor_proto {
            let file = FileDescriptorProto::decode(file.as_slice()).expect("a file");
            methods.extend(methods_of(&file, &service));
        }
    }
    let private = DescriptorPool::decode(DESCRIPTORS).expect("built in");
    for service in ["kindred.v1.AgentService", "kindred.v1.JoinService"] {
        let service = private.get_service_by_name(service).expect("it is in the contract");
        let file = service.parent_file().file_descriptor_proto().clone();
        methods.extend(methods_of(&file, service.full_name()));
    }
    methods
}

async fn services(client: &mut ServerReflectionClient<Link>) -> Vec<String> {
    match ask(client, MessageRequest::ListServices(String::new())).await {
        MessageResponse::ListServicesResponse(list) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn ask(client: &mut ServerReflectionClient<Link>, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { message_request: Some(question), ..Default::default() };
    let answers = client.server_reflection_info(tokio_stream::once(request)).await.expect("an admin may");
    let answer = answers.into_inner().message().await.expect("it is served").expect("an answer");
    answer.message_response.expect("set")
}

fn methods_of(file: &FileDescriptorProto, service: &str) -> Vec<Method> {
    let named = file.service.iter().filter(|each| format!("{}.{}", file.package(), each.name()) == service);
    let methods = named.flat_map(|each| &each.method);
    let method = |method: &prost_types::MethodDescriptorProto| Method {
        path: format!("/{service}/{}", method.name()),
        is_stream: method.client_streaming() || method.server_streaming(),
    };
    methods.map(method).collect()
}

/// What a method of the contract takes; none for those of others.
pub fn input(method: &Method) -> Option<MessageDescriptor> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("built in");
    let (service, name) = method.path.trim_start_matches('/').split_once('/')?;
    let found = pool.get_service_by_name(service)?.methods().find(|method| method.name() == name);
    found.map(|method| method.input())
}
