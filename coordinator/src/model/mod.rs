//! The state of all jobs and nodes, and every decision about them.
//!
//! Pure: no clock, no I/O, no async; the time is passed in. Two halves, kept apart on purpose:
//! - [`State`] is what the journal holds. Only [`Model::evolve`] changes it, so that replay gives it back.
//! - [`Observed`] is what agents last said: leases, progress, ranks as they are. Only [`Model::observe`] changes it;
//!   a restart begins without it and hears it again within one lease.
//!
//! [`Model::decide`] reads both. The engine asks it, stores the changes, then lets the state evolve.

mod change;
mod event;
mod fault;
mod fork;
mod generation;
mod growth;
mod job;
mod ledger;
mod node;
mod observed;
mod orders;
mod placement;
mod rank;
mod regroup;
mod retention;
mod retry;
mod state;
mod suspend;
mod time;
mod view;
mod wire;

#[cfg(test)]
mod tests;

use std::time::Duration;

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
};

pub use change::{Change, JobChange, NodeChange, Outcome, Placement, Submission};
pub use event::{Decision, Event, Fork, Observation};
pub use fault::{Fault, Faults};
pub use generation::{LiveGeneration, Member};
pub use growth::{FailedJoins, Joining};
pub use job::{Job, JobState};
pub use ledger::{Interval, Ledger, Reached, Span};
pub use node::{Node, NodeDescription};
pub use observed::Observed;
pub use state::State;
pub use time::Timestamp;
pub use wire::Wire;

/// The agent protocol that this coordinator speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The times that decisions depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A node without a report for longer than this is lost: no lease of its agent holds any more.
    pub lease: Duration,
    /// How long a lost peer waits for a report that says why it was lost.
    pub cause_grace: Duration,
    /// How long after its loss a node still counts as one that may come back for a waiting job.
    pub hold_after_loss: Duration,
    /// A lost node that holds nothing is forgotten after this.
    pub forget_node_after: Duration,
}

impl Rules {
    /// The rules that follow from the lease.
    pub fn new(lease: Duration) -> Self {
        Self {
            lease,
            cause_grace: Duration::from_secs(1),
            hold_after_loss: Duration::from_secs(60),
            forget_node_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Everything that is known.
#[derive(Clone, Debug)]
pub struct Model {
    state: State,
    observed: Observed,
    rules: Rules,
}

impl Model {
    /// A model that knows `state` and, since `now`, has heard nobody.
    pub fn new(state: State, rules: Rules, now: Timestamp) -> Self {
        Self { state, observed: Observed::new(now), rules }
    }

    /// The journaled half.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Says what `event` changes; nothing changes yet.
    ///
    /// A [`Event::Tick`] is decided one layer at a time: ask again until it changes nothing.
    ///
    /// # Errors
    /// The refusal, with its reason.
    pub fn decide(&self, now: Timestamp, event: &Event) -> Result<Decision, Failure> {
        match event {
            Event::Submitted { request_id, submission, fork } => {
                self.decide_submission(now, request_id, submission, fork.as_ref())
            }
            Event::CancelRequested { job_id, reason } => self.decide_cancel(now, job_id, reason),
            Event::SuspendRequested { job_id, reason } => self.decide_suspend(now, job_id, reason),
            Event::ResumeRequested { job_id } => self.decide_resume(now, job_id),
            Event::PinRequested { job_id, checkpoint, is_pinned } => {
                self.decide_pin(now, job_id, checkpoint, *is_pinned)
            }
            Event::Tick => Ok(Decision { changes: self.decide_tick(now), job_id: None }),
        }
    }

    /// Lets a stored change happen.
    pub fn evolve(&mut self, change: &Change) {
        self.state.evolve(change);
        if let Change::Node { node_id, change: NodeChange::Forgotten, .. } = change {
            self.observed.forget(node_id);
        }
    }

    /// Takes in what an agent said; nothing of it is journaled.
    pub fn observe(&mut self, now: Timestamp, observation: Observation) {
        self.observed.observe(now, observation, &self.state);
    }

    fn decide_cancel(&self, now: Timestamp, job_id: &JobId, reason: &str) -> Result<Decision, Failure> {
        let job = self.job(job_id)?;
        let changes = match job.state {
            JobState::Cancelling | JobState::Cancelled => vec![],
            JobState::Succeeded | JobState::Failed => {
                let message = format!("{job_id} cannot be cancelled: it has {} already", job.state.name());
                return Err(Failure::new(Reason::IllegalTransition, message).about("job_id"));
            }
            _ => vec![Change::job(job_id, now, JobChange::CancelRequested { reason: reason.to_owned() })],
        };
        Ok(Decision { changes, job_id: Some(job_id.clone()) })
    }

    fn decide_tick(&self, now: Timestamp) -> Vec<Change> {
        let mut changes = self.decide_nodes(now);
        for job in self.state.active_jobs() {
            let job_changes = self.decide_job(now, job);
            let takes_devices = job_changes.iter().any(|change| matches!(change, JobChange::Placed { .. }));
            changes.extend(job_changes.into_iter().map(|change| Change::job(&job.id, now, change)));
            if takes_devices {
                // The other jobs must see that these devices are gone: they are decided about in the next layer.
                break;
            }
        }
        if changes.is_empty() {
            changes = self.decide_placement(now);
        }
        if changes.is_empty() {
            changes = self.decide_growth(now);
        }
        changes
    }

    /// A job by its id.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`.
    pub fn job(&self, job_id: &JobId) -> Result<&Job, Failure> {
        self.state.job(job_id).ok_or_else(|| {
            Failure::new(Reason::JobNotFound, format!("there is no job {job_id}")).about("job_id")
        })
    }
}
