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
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use super::{
    Error, PING_EVERY, PING_TIMEOUT, Sockets, access::AccessApi, agents::Agents, events::EventsApi,
    jobs::Jobs, joining::Joining, nodes::Nodes, probes,
};
use crate::{
    access::{Gate, Security},
    web::{Api, Site},
};

/// Refuses every call with `NOT_LEADER` and the newest address of the leader, until `over`.
///
/// # Errors
/// When the listener breaks.
pub async fn follow(
    sockets: impl Into<Sockets>,
    leader: watch::Receiver<Option<String>>,
    security: Option<&Security>,
    over: CancellationToken,
) -> Result<(), Error> {
    let server = match security {
        Some(security) => Server::builder().tls_config(security.tls())?,
        None => Server::builder(),
    };
    let Sockets { api, web } = sockets.into();
    let (health, health_service) = probes::health_of_follower().await;
    let routes = Routes::default()
        .add_service(Refused::<JobServiceServer<Jobs>>::by(leader.clone()))
        .add_service(Refused::<NodeServiceServer<Nodes>>::by(leader.clone()))
        .add_service(Refused::<EventServiceServer<EventsApi>>::by(leader.clone()))
        .add_service(Refused::<AccessServiceServer<AccessApi>>::by(leader.clone()))
        .add_service(Refused::<JoinServiceServer<Joining>>::by(leader.clone()))
        .add_service(Refused::<AgentServiceServer<Agents>>::by(leader))
        .add_service(health_service)
        .add_service(probes::reflection_v1()?)
        .add_service(probes::reflection_v1alpha()?)
        .prepare();
    let site =
        web.map(|web| Site::open(web, Api::new(Gate::default(), routes.clone()), security)).transpose();
    let site = site.map_err(Error::Web)?;
    let server = server
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_routes(routes)
        .serve_with_incoming(TcpIncoming::from(api).with_nodelay(Some(true)));
    let server = async {
        let site = async {
            match site {
                Some(site) => site.serve(over.clone()).await.map_err(Error::Web),
                None => Ok(()),
            }
        };
        let server = async { server.await.map_err(Error::Transport) };
        tokio::try_join!(server, site).map(|((), ())| ())
    };
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
