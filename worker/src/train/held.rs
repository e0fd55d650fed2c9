//! What a rank holds between generations: its state lives on in its process, and this says how far that is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kindred_ipc::{FromRank, Start, Wire};
use kindred_proto::{failure::Failure, ids::Step};

use super::{Error, link::Link};

/// The state of a rank that has met others before.
#[derive(Debug, Default)]
pub(super) struct Held {
    taken: Option<Step>,
    /// Whether what follows the last step, measuring and saving, is done.
    is_settled: bool,
    metrics: BTreeMap<String, f64>,
}

impl Held {
    /// What the ranks begin with, as they have agreed.
    pub fn at(taken: Step, metrics: BTreeMap<String, f64>) -> Self {
        Self { taken: Some(taken), is_settled: true, metrics }
    }

    /// Whether there is a state that others would want.
    pub fn is_any(&self) -> bool {
        self.taken.is_some()
    }

    /// Steps taken.
    pub fn taken(&self) -> Option<Step> {
        self.taken
    }

    /// Whether something that follows the last step is still to be done.
    pub fn owes(&self) -> bool {
        self.is_any() && !self.is_settled
    }

    /// What was measured so far.
    pub fn metrics(&self) -> &BTreeMap<String, f64> {
        &self.metrics
    }

    /// A step is taken.
    pub fn took(&mut self, taken: Step) {
        self.taken = Some(taken);
        self.is_settled = false;
    }

    /// What follows it is done.
    pub fn settled(&mut self, metrics: &BTreeMap<String, f64>) {
        self.is_settled = true;
        self.metrics.clone_from(metrics);
    }

    /// Waits for the next generation after the loss of a peer, or for the one that the peers leave for.
    ///
    /// # Errors
    /// That loss, when no generation comes.
    pub fn wait(&self, link: &Link, start: &Start, lost: Error) -> Result<Start, Error> {
        if !link.is_superseded() {
            let failure = Failure::from(&lost).met_by(start.node_id.clone(), start.rank);
            link.say(FromRank::Parted(Wire((&failure).into())));
        }
        let patience = Duration::from_millis(start.abort_grace_ms);
        let next = link.wait_regroup(Instant::now() + patience).ok_or(lost)?;
        tracing::info!(generation = next.generation.0, taken = ?self.taken, "joins the next generation");
        Ok(next)
    }
}
