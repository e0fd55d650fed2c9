//! The services over gRPC: requests in, events out, answers back. No decisions.
//!
//! Jobs, nodes, events and access are for users, `agents` for workers; health and reflection stand beside them on the same port.

use std::{future::Future, io, sync::Arc, time::Duration};

use kindred_proto::{
    failure::{Failure, Kind, Reason},
    v1::{
        access_service_server::AccessServiceServer, agent_service_server::AgentServiceServer,
        event_service_server::EventServiceServer, job_service_server::JobServiceServer,
        join_service_server::JoinServiceServer, node_service_server::NodeServiceServer,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time,
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Response, Status,
    service::Routes,
    transport::{
        Server,
        server::{Connected, TcpIncoming},
    },
};

use tonic_health::server::HealthReporter;

use crate::{
    access::{Gate, Security, audit, oidc::Oidc},
    engine::Handle,
    rendezvous::Rendezvous,
    web,
};

mod access;
mod agents;
mod curves;
mod events;
mod first_token;
mod follower;
mod guard;
mod jobs;
mod joining;
mod nodes;
mod page;
mod probes;
mod sign_in;
mod streams;
mod update;

/// How long open calls may take after the reason to stop has come.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long one call may take that does not wait on purpose.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Requests of users: a spec is a few kilobytes.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Reports of agents carry telemetry that was kept while the coordinator was away.
const MAX_REPORT_BYTES: usize = 16 << 20;
/// Pings on quiet connections, so that a vanished peer is noticed and proxies keep the link.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_STREAMS_PER_CONNECTION: u32 = 1024;

pub use follower::follow;

/// Why the services could not be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener broke.
    #[error("serve gRPC: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The built-in descriptors cannot be read.
    #[error("describe the services: {0}")]
    Descriptors(String),
    /// The audit events cannot be kept.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The dashboard cannot be served.
    #[error("serve the dashboard: {0}")]
    Web(web::Error),
    /// The certificate of an identity provider's authority cannot be read.
    #[error("sign-in: {0}")]
    Oidc(String),
    /// No token can be made for the first admin.
    #[error("make the first token: {0}")]
    FirstToken(String),
}

/// Where a coordinator listens.
#[derive(Debug)]
pub struct Sockets {
    /// For gRPC.
    pub api: TcpListener,
    /// For the dashboard; none without one.
    pub web: Option<TcpListener>,
}

impl From<TcpListener> for Sockets {
    fn from(api: TcpListener) -> Self {
        Self { api, web: None }
    }
}

/// Serves until `shutdown`: then every stream is ended, calls are drained, and after [`GRACE`] the rest is cut.
///
/// # Errors
/// When a listener breaks.
pub async fn serve(
    handle: Handle,
    sockets: impl Into<Sockets>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Sockets { api, web } = sockets.into();
    let services = Services::open(Gate::default(), handle, None, shutdown.clone()).await?;
    let site = services.site(web, None)?;
    serve_both(services.serve(Server::builder(), incoming(api)), site, shutdown).await
}

/// As [`serve`], with TLS, and a token or certificate with every call.
///
/// # Errors
/// As for [`serve`], and when the audit events or the first token cannot be written.
pub async fn serve_secured(
    handle: Handle,
    security: Arc<Security>,
    sockets: impl Into<Sockets>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Sockets { api, web } = sockets.into();
    let audit = audit::Audit::open(&security.audit_file).await?;
    first_token::make(&handle, &security).await?;
    let oidc = security.oidc.as_ref().map(Oidc::start).transpose().map_err(Error::Oidc)?;
    let gate = Gate::closed(handle.clone(), audit.clone(), oidc);
    let server = Server::builder().tls_config(security.tls())?;
    let secured = Some(access::Secured { security: security.clone(), audit });
    let services = Services::open(gate, handle, secured, shutdown.clone()).await?;
    let site = services.site(web, Some(&security))?;
    serve_both(services.serve(server, incoming(api)), site, shutdown).await
}

fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// As [`serve`], over connections of any kind.
///
/// # Errors
/// As for [`serve`].
pub async fn serve_on<C>(
    handle: Handle,
    incoming: impl Stream<Item = io::Result<C>>,
    shutdown: CancellationToken,
) -> Result<(), Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let services = Services::open(Gate::default(), handle, None, shutdown).await?;
    services.serve(Server::builder(), incoming).await
}

/// The API, and the dashboard where there is one; each ends the other when it breaks.
async fn serve_both(
    api: impl Future<Output = Result<(), Error>>,
    site: Option<web::Site>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Some(site) = site else { return api.await };
    let site = async { site.serve(shutdown).await.map_err(Error::Web) };
    tokio::try_join!(api, site).map(|((), ())| ())
}

/// All services, and the gate before them.
struct Services {
    gate: Gate,
    routes: Routes,
    health: HealthReporter,
    shutdown: CancellationToken,
}

impl Services {
    async fn open(
        gate: Gate,
        handle: Handle,
        secured: Option<access::Secured>,
        shutdown: CancellationToken,
    ) -> Result<Self, Error> {
        let jobs = guard::GuardedJobs(jobs::Jobs { handle: handle.clone(), shutdown: shutdown.clone() });
        let nodes = nodes::Nodes { handle: handle.clone() };
        let access = access::AccessApi { handle: handle.clone(), secured: secured.clone() };
        let events = events::EventsApi { handle: handle.clone(), shutdown: shutdown.clone() };
        let (rendezvous, ends) = (Rendezvous::default(), shutdown.clone());
        let joining = joining::Joining { handle: handle.clone(), secured };
        let agents = agents::Agents { handle, rendezvous, shutdown: ends };
        let (health, health_service) = probes::health().await;
        let routes = Routes::default()
            .add_service(JobServiceServer::new(jobs).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(NodeServiceServer::new(nodes).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(EventServiceServer::new(events).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(AccessServiceServer::new(access).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(JoinServiceServer::new(joining).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(AgentServiceServer::new(agents).max_decoding_message_size(MAX_REPORT_BYTES))
            .add_service(health_service)
            .add_service(probes::reflection_v1()?)
            .add_service(probes::reflection_v1alpha()?)
            .prepare();
        Ok(Self { gate, routes, health, shutdown })
    }

    /// The dashboard, which calls the same services through the same gate.
    fn site(
        &self,
        listener: Option<TcpListener>,
        security: Option<&Security>,
    ) -> Result<Option<web::Site>, Error> {
        let api = web::Api::new(self.gate.clone(), self.routes.clone());
        let open = |listener| web::Site::open(listener, api, security).map_err(Error::Web);
        listener.map(open).transpose()
    }

    async fn serve<C>(self, server: Server, incoming: impl Stream<Item = io::Result<C>>) -> Result<(), Error>
    where
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let Self { gate, routes, health, shutdown } = self;
        let server = server
            .layer(gate)
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
        let grace_over = async {
            shutdown.cancelled().await;
            probes::stop(health).await;
            time::sleep(GRACE).await;
        };
        tokio::select! {
            outcome = server => outcome?,
            () = grace_over => tracing::warn!(grace_ms = GRACE.as_millis(), "calls still open at shutdown were cut"),
        }
        Ok(())
    }
}

/// Answers one call: with its deadline, and with the log line that a fault of our own deserves.
async fn answer<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<Response<T>, Status> {
    let outcome = time::timeout(CALL_DEADLINE, work).await.unwrap_or_else(|_| Err(too_slow()));
    outcome.map(Response::new).map_err(refuse)
}

/// A failure as the status that carries it.
fn refuse(failure: Failure) -> Status {
    if failure.kind() == Kind::Bug {
        tracing::error!(error = %failure, "a call failed by a fault of the coordinator");
    }
    failure.into()
}

fn too_slow() -> Failure {
    Failure::new(
        Reason::JournalUnavailable,
        format!("the coordinator did not answer within {CALL_DEADLINE:?}"),
    )
}

fn going_down() -> Failure {
    Failure::new(Reason::ShuttingDown, "the coordinator stops; call again once it is back")
}
