//! `AgentService`: reports in, orders out, and the store through which ranks meet.

use async_stream::try_stream;
use kindred_proto::{
    failure::{Failure, Kind, Reason},
    ids::{Generation, JobId},
    v1::{self, agent_service_server::AgentService},
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait, codegen::BoxStream};

use super::{refuse, streams};
use crate::{
    access::Caller,
    engine::{AgentSession, Handle},
    rendezvous::{Rendezvous, Scope},
};

/// The service, over the engine's handle.
pub struct Agents {
    /// The engine.
    pub handle: Handle,
    /// The keys of live generations.
    pub rendezvous: Rendezvous,
    /// Ends streams and waits.
    pub shutdown: CancellationToken,
}

#[async_trait]
impl AgentService for Agents {
    type ConnectStream = BoxStream<v1::AgentOrders>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentReport>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        // Headers go out at once: an agent may wait for them before it says anything.
        let caller = Caller::of(&request);
        let orders = orders(self.handle.clone(), caller, request.into_inner(), self.shutdown.clone());
        Ok(Response::new(Box::pin(orders)))
    }

    async fn store(&self, request: Request<v1::StoreRequest>) -> Result<Response<v1::StoreResponse>, Status> {
        Caller::of(&request).check_node(&request.get_ref().node_id).map_err(refuse)?;
        let answer = streams::next(&self.shutdown, self.run(request.into_inner())).await?;
        answer.map(Response::new).map_err(refuse)
    }
}

impl Agents {
    async fn run(&self, request: v1::StoreRequest) -> Result<v1::StoreResponse, Failure> {
        let scope = Scope { job_id: JobId::new(request.job_id), generation: Generation(request.generation) };
        let operation = request.operation.ok_or_else(|| {
            Failure::new(Reason::ProtocolVersionUnsupported, "operation: none that is known")
        })?;
        let ended = self.handle.open_generation(&scope.job_id, scope.generation)?;
        self.rendezvous.run(scope, ended, operation).await
    }
}

/// The orders that answer an agent's reports, and those that change in between.
///
/// Ends with the agent's side, and when another stream of the same node takes over.
fn orders(
    handle: Handle,
    caller: Caller,
    mut reports: Streaming<v1::AgentReport>,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<v1::AgentOrders, Status>> + Send {
    try_stream! {
        let Some(first) = streams::next(&shutdown, reports.message()).await?? else { return };
        caller.check_node(&first.node_id).map_err(refuse)?;
        let mut session = match handle.connect_agent(first).await {
            Ok(session) => session,
            Err(failure) => {
                yield refusal(failure)?;
                return;
            }
        };
        let answer = session.orders.borrow_and_update().to_wire();
        yield answer;
        loop {
            match streams::next(&shutdown, happened(&mut session, &mut reports)).await?? {
                // Its answer comes through the orders, which change with every report.
                Happened::Reported(report) => {
                    caller.check_node(&report.node_id).map_err(refuse)?;
                    session.reports.report(report).await.map_err(refuse)?;
                }
                Happened::Ordered(orders) => yield orders,
                Happened::Over => break,
            }
        }
    }
}

/// What happens on an agent's stream.
enum Happened {
    Reported(v1::AgentReport),
    Ordered(v1::AgentOrders),
    Over,
}

/// # Cancel safety
/// Both sides keep what they have in the stream and the watch themselves.
async fn happened(
    session: &mut AgentSession,
    reports: &mut Streaming<v1::AgentReport>,
) -> Result<Happened, Status> {
    tokio::select! {
        // Orders change with reports at most, so that these are read as well.
        biased;
        changed = session.orders.changed() => Ok(match changed {
            Ok(()) => Happened::Ordered(session.orders.borrow_and_update().to_wire()),
            Err(_) => Happened::Over,
        }),
        report = reports.message() => Ok(report?.map_or(Happened::Over, Happened::Reported)),
    }
}

/// A refusal makes the agent stop its ranks and end, so only what will never be better is one.
fn refusal(failure: Failure) -> Result<v1::AgentOrders, Status> {
    match failure.kind() {
        Kind::User => Ok(v1::AgentOrders { refusal: Some((&failure).into()), ..Default::default() }),
        Kind::Retryable | Kind::Bug => Err(refuse(failure)),
    }
}
