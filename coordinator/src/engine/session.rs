//! A stream of an agent as its server sees it: reports go in, orders come out.

use kindred_proto::{failure::Failure, v1};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    agents::{Orders, SessionId},
    command::{Command, Connected},
    intake::Intake,
    line_limit::LineLimit,
    shutting_down,
};
use crate::telemetry::Telemetry;

/// One stream of one agent.
pub struct AgentSession {
    /// Takes the agent's reports.
    pub reports: ReportSink,
    /// The newest orders. Dropping it tells that the stream is gone; it errs once another stream of the node, or the
    /// end of the engine, took its place.
    pub orders: watch::Receiver<Orders>,
}

/// Takes the reports of one stream, in order.
pub struct ReportSink {
    inbox: mpsc::Sender<Command>,
    intake: Intake,
    session: SessionId,
}

impl AgentSession {
    /// Lets an agent in with its first report.
    pub(super) async fn open(
        inbox: mpsc::Sender<Command>,
        telemetry: Telemetry,
        lines: LineLimit,
        first: v1::AgentReport,
    ) -> Result<Self, Failure> {
        let mut intake = Intake::new(telemetry, lines);
        let report = Box::new(intake.take(first).await);
        let (reply, answer) = oneshot::channel();
        inbox.send(Command::Connect { report, reply }).await.map_err(|_| shutting_down())?;
        let Connected { session, orders } = answer.await.map_err(|_| shutting_down())??;
        Ok(Self { reports: ReportSink { inbox, intake, session }, orders })
    }
}

impl ReportSink {
    /// Stores the report's telemetry and passes the rest on; the answer comes with the orders.
    ///
    /// # Errors
    /// When the engine is gone.
    pub async fn report(&mut self, report: v1::AgentReport) -> Result<(), Failure> {
        let report = Box::new(self.intake.take(report).await);
        let command = Command::Report { session: self.session.clone(), report };
        self.inbox.send(command).await.map_err(|_| shutting_down())
    }
}
