//! Takes the telemetry out of the reports of one stream, without a gap.

use std::time::Duration;

use kindred_proto::{
    ids::{Incarnation, NodeId},
    v1,
};
use tokio::time::timeout;
use tracing::{info, warn};

use super::line_limit::LineLimit;
use crate::telemetry::Telemetry;

/// Longest time that storing telemetry may hold up a report, which renews the lease.
const STORE_BUDGET: Duration = Duration::from_secs(3);

/// A report whose telemetry was put away.
pub(super) struct Reported {
    pub report: v1::AgentReport,
    /// The newest batch that is known to be stored; 0 when this report says nothing new of it.
    pub telemetry_acknowledged: u64,
}

/// What one stream brought.
///
/// An agent sends each batch once and, unless it is acknowledged in time, everything again from there. So after a
/// batch that could not be stored nothing later is taken, or the acknowledgement of that would lose this one.
pub(super) struct Intake {
    telemetry: Telemetry,
    lines: LineLimit,
    /// The oldest batch that could not be stored.
    missing: Option<u64>,
}

impl Intake {
    pub fn new(telemetry: Telemetry, lines: LineLimit) -> Self {
        Self { telemetry, lines, missing: None }
    }

    /// Stores a report's telemetry. What could not be stored is not acknowledged, so that the agent sends it again.
    pub async fn take(&mut self, mut report: v1::AgentReport) -> Reported {
        let mut batches = std::mem::take(&mut report.telemetry);
        batches.iter_mut().for_each(|batch| self.lines.apply(batch));
        let telemetry_acknowledged = match batches.iter().map(|batch| batch.sequence).min() {
            Some(oldest) if self.missing.is_none_or(|missing| oldest <= missing) => {
                self.store(&report, oldest, &batches).await
            }
            _ => 0,
        };
        Reported { report, telemetry_acknowledged }
    }

    async fn store(&mut self, report: &v1::AgentReport, oldest: u64, batches: &[v1::TelemetryBatch]) -> u64 {
        let node_id = NodeId::new(report.node_id.as_str());
        let incarnation = Incarnation::new(report.incarnation.as_str());
        let stored = match timeout(STORE_BUDGET, self.telemetry.store(&node_id, &incarnation, batches)).await
        {
            Ok(stored) => stored.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it took longer than {} s", STORE_BUDGET.as_secs())),
        };
        match stored {
            Ok(sequence) => {
                if self.missing.take().is_some() {
                    info!(%node_id, "telemetry is stored again");
                }
                sequence
            }
            Err(error) => {
                if self.missing.is_none() {
                    warn!(%node_id, error, "telemetry not stored; the agent keeps it and sends it again");
                }
                self.missing = Some(oldest);
                0
            }
        }
    }
}
