//! What a coordinator says that does not lead: who does.

use std::{
    convert::Infallible,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use kindred_proto::{
    failure::Failure,
    v1::{
        access_service_server::AccessServiceServer, agent_service_server::AgentServiceServer,
        event_service_server::EventServiceServer, job_service_server::JobServiceServer,
        join_service_server::JoinServiceServer, node_service_server::NodeServiceServer,
    },
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};

use super::{
    Error, PING_EVERY, PING_TIMEOUT, access::AccessApi, agents::Agents, events::EventsApi, jobs::Jobs,
    joining::Joining, nodes::Nodes, probes,
};
use crate::access::Security;

/// Refuses every call with `NOT_LEADER` and the newest address of the leader, until `over`.
///
/// # Errors
/// When the listener breaks.
pub async fn follow(
    listener: TcpListener,
    leader: watch::Receiver<Option<String>>,
    security: Option<&Security>,
    over: CancellationToken,
) -> Result<(), Error> {
    let server = match security {
        Some(security) => Server::builder().tls_config(security.tls())?,
        None => Server::builder(),
    };
    let (health, health_service) = probes::health_of_follower().await;
    let server = server
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(Refused::<JobServiceServer<Jobs>>::by(leader.clone()))
        .add_service(Refused::<NodeServiceServer<Nodes>>::by(leader.clone()))
        .add_service(Refused::<EventServiceServer<EventsApi>>::by(leader.clone()))
        .add_service(Refused::<AccessServiceServer<AccessApi>>::by(leader.clone()))
        .add_service(Refused::<JoinServiceServer<Joining>>::by(leader.clone()))
        .add_service(Refused::<AgentServiceServer<Agents>>::by(leader))
        .add_service(health_service)
        .add_service(probes::reflection_v1()?)
        .add_service(probes::reflection_v1alpha()?)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    tokio::select! {
        outcome = server => outcome?,
        // No call takes any time, and what still lies on a connection is asked again.
        () = over.cancelled() => probes::stop(health).await,
    }
    Ok(())
}

/// A service that is only served by the leader.
struct Refused<S> {
    leader: watch::Receiver<Option<String>>,
    service: PhantomData<fn() -> S>,
}

impl<S> Refused<S> {
    fn by(leader: watch::Receiver<Option<String>>) -> Self {
        Self { leader, service: PhantomData }
    }
}

impl<S> Clone for Refused<S> {
    fn clone(&self) -> Self {
        Self::by(self.leader.clone())
    }
}

impl<S: NamedService> NamedService for Refused<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Refused<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let refusal = Status::from(Failure::not_leader(self.leader.borrow().as_deref()));
        Box::pin(async move { Ok(refusal.into_http()) })
    }
}
