//! A stream of an agent as its server sees it: reports go in, orders come out.

use std::time::Duration;

use kindred_proto::{
    failure::Failure,
    ids::{Incarnation, NodeId},
    v1,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tracing::warn;

use super::{
    agents::SessionId,
    command::{Command, Connected},
    shutting_down,
};
use crate::telemetry::Telemetry;

/// Longest time that storing telemetry may hold up a report, which renews the lease.
const STORE_BUDGET: Duration = Duration::from_secs(1);

/// One stream of one agent.
pub struct AgentSession {
    /// Takes the agent's reports.
    pub reports: ReportSink,
    /// The newest orders. Dropping it tells that the stream is gone; it errs once another stream of the node, or the
    /// end of the engine, took its place.
    pub orders: watch::Receiver<v1::AgentOrders>,
}

/// Takes the reports of one stream, in order.
pub struct ReportSink {
    inbox: mpsc::Sender<Command>,
    telemetry: Telemetry,
    session: SessionId,
}

/// A report whose telemetry was put away.
pub(super) struct Reported {
    pub report: v1::AgentReport,
    pub telemetry_acknowledged: u64,
}

impl AgentSession {
    /// Lets an agent in with its first report.
    pub(super) async fn open(
        inbox: mpsc::Sender<Command>,
        telemetry: Telemetry,
        first: v1::AgentReport,
    ) -> Result<Self, Failure> {
        let report = Box::new(put_away(&telemetry, first).await);
        let (reply, answer) = oneshot::channel();
        inbox.send(Command::Connect { report, reply }).await.map_err(|_| shutting_down())?;
        let Connected { session, orders } = answer.await.map_err(|_| shutting_down())??;
        Ok(Self { reports: ReportSink { inbox, telemetry, session }, orders })
    }
}

impl ReportSink {
    /// Stores the report's telemetry and passes the rest on; the answer comes with the orders.
    ///
    /// # Errors
    /// When the engine is gone.
    pub async fn report(&mut self, report: v1::AgentReport) -> Result<(), Failure> {
        let report = Box::new(put_away(&self.telemetry, report).await);
        let command = Command::Report { session: self.session.clone(), report };
        self.inbox.send(command).await.map_err(|_| shutting_down())
    }
}

/// Stores a report's telemetry. What could not be stored is not acknowledged, so that the agent sends it again.
async fn put_away(telemetry: &Telemetry, mut report: v1::AgentReport) -> Reported {
    let batches = std::mem::take(&mut report.telemetry);
    if batches.is_empty() {
        return Reported { report, telemetry_acknowledged: 0 };
    }
    let node_id = NodeId::new(report.node_id.as_str());
    let incarnation = Incarnation::new(report.incarnation.as_str());
    let stored = timeout(STORE_BUDGET, telemetry.store(&node_id, &incarnation, &batches)).await;
    let telemetry_acknowledged = match stored {
        Ok(Ok(sequence)) => sequence,
        Ok(Err(error)) => {
            warn!(%node_id, %error, "telemetry not stored; the agent keeps it");
            0
        }
        Err(_) => {
            warn!(%node_id, elapsed_ms = STORE_BUDGET.as_millis(), "telemetry not stored in time; the agent keeps it");
            0
        }
    };
    Reported { report, telemetry_acknowledged }
}
