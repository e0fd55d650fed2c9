//! Joins a coordinator with a token, and gets a new certificate before half of the old one's life is over.

use std::{path::Path, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use kindred_proto::{
    failure::{Kind, from_status},
    ids::NodeId,
    v1::{self, join_service_client::JoinServiceClient},
};
use tokio::time::sleep;
use tonic::{
    Status,
    codegen::http::Uri,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use crate::{
    credentials::{Credentials, Error, NodeKey, Secured, Ticket},
    host::{Host, Machine},
};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(2);
/// A renewal that fails is tried again after this, or a tenth of what is left if that is sooner.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

/// Why a node has not joined.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Its own files.
    #[error(transparent)]
    Credentials(#[from] Error),
    /// The coordinator said no.
    #[error("the coordinator does not let this node join: {0}")]
    Coordinator(String),
    /// It joined before, and was away for too long.
    #[error(
        "the node's certificate has expired: join again with --join and what `kindred nodes join-token` prints"
    )]
    Expired,
}

/// What this node shows: what it has, or what it gets for a join token. None when it has neither, and speaks without TLS.
///
/// While the coordinator cannot be reached it tries again, for ever.
///
/// # Errors
/// When the coordinator says no, or files cannot be used.
pub async fn credentials(
    state_dir: &Path,
    node_id: &NodeId,
    ticket: Option<&Ticket>,
) -> Result<Option<Credentials>, Refused> {
    let kept = Credentials::read(state_dir)?;
    let Some(ticket) = ticket else {
        return match kept {
            Some(kept) if kept.left().is_zero() => Err(Refused::Expired),
            kept => Ok(kept),
        };
    };
    if let Some(kept) = &kept
        && !kept.left().is_zero()
        && kept.are_of(ticket)
    {
        tracing::info!("this node has joined before; the join token is not used");
        return Ok(Some(kept.clone()));
    }
    // The same key again, by which the coordinator knows the node.
    let key = match kept.filter(|kept| kept.are_of(ticket)) {
        Some(kept) => kept.key()?,
        None => NodeKey::generate()?,
    };
    let certificate = join(ticket, node_id, &key).await?;
    tracing::info!(%node_id, coordinator = ticket.coordinator, "joined");
    Ok(Some(Credentials::keep(state_dir, ticket, &key, &certificate)?))
}

async fn join(ticket: &Ticket, node_id: &NodeId, key: &NodeKey) -> Result<v1::NodeCertificate, Refused> {
    let host: Arc<dyn Host> = Arc::new(Secured::joining(Machine, ticket)?);
    let request = v1::JoinRequest {
        token_id: ticket.token_id.clone(),
        secret: ticket.secret.clone(),
        node_id: node_id.to_string(),
        signing_request: key.signing_request()?,
    };
    loop {
        for address in ticket.coordinator.split(',') {
            let answer = match channel(&host, address).await {
                Ok(channel) => JoinServiceClient::new(channel).join(request.clone()).await,
                Err(error) => Err(Status::from_error(error.into())),
            };
            match answer {
                Ok(answer) => return certificate(answer.into_inner().certificate),
                Err(status) => is_worth_a_retry(&status, address)?,
            }
        }
        sleep(PAUSE).await;
    }
}

fn certificate(given: Option<v1::NodeCertificate>) -> Result<v1::NodeCertificate, Refused> {
    given.ok_or_else(|| Refused::Coordinator("its answer holds no certificate".to_owned()))
}

/// # Errors
/// When the same call will never be answered otherwise.
fn is_worth_a_retry(status: &Status, address: &str) -> Result<(), Refused> {
    let failure = from_status(status);
    let came_from_there = std::error::Error::source(status).is_none();
    if came_from_there && failure.kind() == Kind::User {
        return Err(Refused::Coordinator(failure.message));
    }
    tracing::warn!(coordinator = address, error = %innermost(status), "cannot join; trying again");
    Ok(())
}

/// Gets new certificates, each before half of the older one's life is over. Never ends.
pub async fn renew_for_ever(credentials: Credentials, coordinator: &str) {
    let host: Arc<dyn Host> = Arc::new(Secured::joined(Machine, credentials.clone()));
    // Of one that was kept the whole life is not known; what is left of it is shorter.
    let mut pause = credentials.left().mul_f64(0.4);
    loop {
        sleep(pause).await;
        match renew(&host, &credentials, coordinator).await {
            Ok(()) => {
                tracing::info!(
                    good_for_s = credentials.left().as_secs(),
                    "the node's certificate is renewed"
                );
                pause = credentials.left().mul_f64(0.4);
            }
            Err(error) => {
                let left_s = credentials.left().as_secs();
                tracing::warn!(error, left_s, "the node's certificate could not be renewed; trying again");
                pause = (credentials.left() / 10).clamp(Duration::from_secs(1), RENEW_AGAIN);
            }
        }
    }
}

/// Asks each coordinator, since one of them leads.
async fn renew(host: &Arc<dyn Host>, credentials: &Credentials, coordinator: &str) -> Result<(), String> {
    let request = credentials.key().and_then(|key| key.signing_request());
    let request = v1::RenewRequest { signing_request: request.map_err(|error| error.to_string())? };
    let mut trouble = "there is no coordinator".to_owned();
    for address in coordinator.split(',') {
        let answer = match channel(host, address).await {
            Ok(channel) => JoinServiceClient::new(channel).renew(request.clone()).await,
            Err(error) => Err(Status::from_error(error.into())),
        };
        match answer.map(|answer| answer.into_inner().certificate) {
            Ok(Some(certificate)) => {
                return credentials.renewed(&certificate).map_err(|error| error.to_string());
            }
            Ok(None) => trouble = "the answer holds no certificate".to_owned(),
            Err(status) => trouble = innermost(&status),
        }
    }
    Err(trouble)
}

async fn channel(host: &Arc<dyn Host>, address: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let (host, address) = (host.clone(), address.to_owned());
    let connect = service_fn(move |_: Uri| {
        let connection = host.connect(&address);
        async move { connection.await.map(TokioIo::new) }
    });
    endpoint.connect_timeout(CALL_TIMEOUT).timeout(CALL_TIMEOUT).connect_with_connector(connect).await
}

fn innermost(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}
