//! How nodes get their certificates, and new ones.

use std::time::SystemTime;

use kindred_proto::{
    failure::{Failure, Reason},
    ids::NodeId,
    v1::{self, join_service_server::JoinService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{access::Secured, answer, refuse};
use crate::{
    access::{
        Caller,
        authority::{Error, Signed},
        caller::Identity,
    },
    engine::Handle,
    model::access::{AccessEvent, Digest},
};

/// The service, over the engine's handle.
pub struct Joining {
    /// The engine.
    pub handle: Handle,
    /// What certificates are made with; none where there are none.
    pub secured: Option<Secured>,
}

#[async_trait]
impl JoinService for Joining {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let caller = Caller::of(&request);
        answer(self.let_in(&caller, request.into_inner())).await
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let caller = Caller::of(&request);
        self.sign_again(&caller, request.get_ref()).map(Response::new).map_err(refuse)
    }
}

impl Joining {
    /// Lets in the node that brings a join token.
    async fn let_in(&self, caller: &Caller, request: v1::JoinRequest) -> Result<v1::JoinResponse, Failure> {
        let secured = self.secured.as_ref().ok_or_else(no_certificates)?;
        if !is_node_id(&request.node_id) {
            let message = "node_id: must be 1 to 128 letters, digits, dots, hyphens and underscores";
            return Err(Failure::new(Reason::SpecInvalid, message).about("node_id"));
        }
        let node_id = NodeId::new(&request.node_id);
        caller.is_about(format!("node {node_id}"));
        let signed = sign(secured, &node_id, &request.signing_request)?;
        let (id, digest) = (request.token_id, Digest::of(&request.secret));
        self.handle.change_access(AccessEvent::Join { id, digest, node_id, key: signed.key }).await?;
        Ok(v1::JoinResponse { certificate: Some(wire(signed)) })
    }

    /// A new certificate for the node that calls, for the key that it joined with.
    fn sign_again(&self, caller: &Caller, request: &v1::RenewRequest) -> Result<v1::RenewResponse, Failure> {
        let secured = self.secured.as_ref().ok_or_else(no_certificates)?;
        let Identity::Node { node_id, key } = &caller.identity else { return Err(no_certificates()) };
        caller.is_about(format!("node {node_id}"));
        let signed = sign(secured, node_id, &request.signing_request)?;
        if signed.key != *key {
            let message = format!("node {node_id} joined with another key: join again for a new one");
            return Err(Failure::new(Reason::PermissionDenied, message).about("signing_request"));
        }
        Ok(v1::RenewResponse { certificate: Some(wire(signed)) })
    }
}

fn sign(secured: &Secured, node_id: &NodeId, request: &[u8]) -> Result<Signed, Failure> {
    secured.security.authority.node(node_id, request).map_err(|error: Error| {
        Failure::new(Reason::SpecInvalid, format!("signing_request: {error}")).about("signing_request")
    })
}

fn wire(signed: Signed) -> v1::NodeCertificate {
    let until = signed.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let not_after_unix_s = i64::try_from(until.as_secs()).unwrap_or(i64::MAX);
    v1::NodeCertificate { certificate: signed.der, not_after_unix_s }
}

fn is_node_id(text: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=128).contains(&text.len()) && text.chars().all(is_good)
}

fn no_certificates() -> Failure {
    let message =
        "this coordinator gives no certificates: start the worker with --coordinator instead of --join";
    Failure::new(Reason::IllegalTransition, message)
}
