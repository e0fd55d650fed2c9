//! The state of all jobs and nodes, and every decision about them.
//!
//! Pure: no clock, no I/O, no async; the time is passed in. Two halves, kept apart on purpose:
//! - [`State`] is what the journal holds. Only [`Model::evolve`] changes it, so that replay gives it back.
//! - [`Observed`] is what agents last said: leases, progress, ranks as they are. Only [`Model::observe`] changes it;
//!   a restart begins without it and hears it again within one lease.
//!
//! [`Model::decide`] reads both. The engine asks it, stores the changes, then lets the state evolve.

pub mod access;
mod change;
mod drain;
mod event;
mod fault;
mod forget;
mod fork;
mod generation;
mod growth;
mod history;
mod job;
mod ledger;
mod news;
mod node;
mod observed;
mod orders;
mod placement;
mod projects;
mod queueing;
mod rank;
mod regroup;
mod retention;
mod retry;
mod schedule;
mod seats;
mod snapshot;
mod stall;
mod state;
mod suspend;
mod time;
mod update;
mod view;
mod wire;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{JobId, NodeId},
};

pub use change::{Change, JobChange, NodeChange, Outcome, Placement, Submission};
pub use event::{Decision, Event, Fork, Observation};
pub use fault::{Fault, Faults};
pub use generation::{LiveGeneration, Member};
pub use growth::{FailedJoins, Joining};
pub use job::{Job, JobState};
pub use ledger::{Interval, Ledger, Reached, Span};
pub use node::{Cordon, Node, NodeDescription, Quarantine};
pub use observed::Observed;
pub use orders::Order;
pub use projects::Projects;
pub use queueing::Claim;
pub use schedule::{Plan, QuarantineRule, QueueRule, SchedulingRules, SchedulingTerms, Snapshot, schedule};
pub use snapshot::{Piece, Pieces};
pub use state::State;
pub use time::Timestamp;
pub use update::{Update, Updates};
pub use wire::Wire;

use news::{Concerns, News};
use observed::{Contact, JobProgress};

/// The agent protocol that this coordinator speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// What the passing of time alone changes for those that wait is noticed so often.
const RESCHEDULE_EVERY: Duration = Duration::from_secs(1);

/// About the time that a scheduling pass takes for each node and for each job. The model has no clock, and decides the same when it is
/// asked again: so a count stands for a measurement.
const PASS_PER_NODE: Duration = Duration::from_micros(3);
const PASS_PER_JOB: Duration = Duration::from_micros(2);

/// Passes are followed by a pause of so many times what they take.
const PAUSE: u32 = 4;

/// The times that decisions depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A node without a report for longer than this is lost: no lease of its agent holds any more.
    pub lease: Duration,
    /// How long a lost peer waits for a report that says why it was lost.
    pub cause_grace: Duration,
    /// How long after its loss a node still counts as one that may come back for a waiting job.
    pub hold_after_loss: Duration,
    /// A lost node that holds nothing is forgotten after this.
    pub forget_node_after: Duration,
    /// A job that has been over for so long is forgotten.
    pub forget_job_after: Duration,
    /// Who goes first.
    pub scheduling: Arc<SchedulingRules>,
}

impl Rules {
    /// The rules that follow from the lease.
    pub fn new(lease: Duration) -> Self {
        Self {
            lease,
            cause_grace: Duration::from_secs(1),
            hold_after_loss: Duration::from_secs(60),
            forget_node_after: Duration::from_secs(24 * 60 * 60),
            forget_job_after: Duration::from_secs(90 * 24 * 60 * 60),
            scheduling: Arc::default(),
        }
    }
}

/// Everything that is known.
#[derive(Clone, Debug)]
pub struct Model {
    state: State,
    observed: Observed,
    rules: Rules,
    /// What the next tick looks at.
    news: News,
    /// When a pass last came to nothing; none once something changed that it reads.
    rested_at: Option<Timestamp>,
    /// No pass is made before that.
    next_pass: Timestamp,
}

/// What a change replaced, so that it can be taken back.
#[derive(Debug)]
pub struct Former {
    state: state::Former,
    contact: Option<(NodeId, Arc<Contact>)>,
    progress: Option<(JobId, JobProgress)>,
}

impl Model {
    /// A model that knows `state` and, since `now`, has heard nobody.
    pub fn new(state: State, rules: Rules, now: Timestamp) -> Self {
        let observed = Observed::new(now);
        let mut news = News::default();
        news.add_all(&state, &observed);
        Self { state, observed, rules, news, rested_at: None, next_pass: now }
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
            Event::UpdateRequested(update) => self.decide_update(now, update),
            Event::PinRequested { job_id, checkpoint, is_pinned } => {
                self.decide_pin(now, job_id, checkpoint, *is_pinned)
            }
            Event::CordonRequested { node_id, cordon } => self.decide_cordon(now, node_id, cordon.as_ref()),
            Event::Access(event) => {
                let change = self.state.access().decide(now, event)?;
                let changes = change.map(|change| Change::Access { at: now, change }).into_iter().collect();
                Ok(Decision { changes, ..Decision::default() })
            }
            Event::Tick => Ok(self.decide_tick(now, &self.concerns(now))),
        }
    }

    /// Lets a change happen, and gives what it replaced.
    pub fn evolve(&mut self, change: &Change) -> Former {
        self.rested_at = None;
        let state = self.state.replace(change);
        self.news.changed(change, &state, &self.state);
        let mut former = Former { state, contact: None, progress: None };
        match change {
            Change::Node { node_id, change: NodeChange::Forgotten, .. } => {
                former.contact = self.observed.forget(node_id).map(|contact| (node_id.clone(), contact));
            }
            Change::Job { job_id, change: JobChange::Forgotten, .. } => {
                former.progress = self.observed.forget_job(job_id).map(|progress| (job_id.clone(), progress));
            }
            _ => {}
        }
        former
    }

    /// Takes the newest change back, which was not stored.
    pub fn undo(&mut self, former: Former) {
        self.state.undo(former.state);
        self.observed.recall(former.contact, former.progress);
    }

    /// Takes in what an agent said; nothing of it is journaled.
    pub fn observe(&mut self, now: Timestamp, observation: Observation) {
        if self.observed.is_news(now, &observation, self.rules.lease) {
            self.rested_at = None;
        }
        match &observation {
            Observation::Reported(report) => {
                let last = self.observed.contact(&report.node_id.as_str().into());
                let last = last.filter(|last| now.since(last.last_report) <= self.rules.lease);
                if last.is_none() {
                    self.news.expect(now.plus(self.rules.lease));
                }
                self.news.observed(report, last, &self.state);
            }
            Observation::Disconnected(node_id) => self.news.disconnected(node_id, &self.state),
            Observation::HeldUp(_) => self.news.add_all(&self.state, &self.observed),
        }
        self.observed.observe(now, observation, &self.state);
    }

    /// Takes note that a tick changed nothing: until something changes that it reads, or the time has come that it waits for, the next
    /// ones need not look. The same goes for scheduling, which looks again after a second, if the tick `has_passed`.
    pub fn rest(&mut self, now: Timestamp, has_passed: bool) {
        if has_passed {
            self.rested_at = Some(now);
        }
        let all_well_until = match now > self.news.all_well_until() {
            true => self.all_well_until(now),
            false => self.news.all_well_until(),
        };
        self.news.settle(&self.state, all_well_until);
    }

    /// Takes note of a scheduling pass: the next one is put off so that a large cluster's passes leave most of the time to others.
    pub fn note_pass(&mut self, now: Timestamp) {
        let work = PASS_PER_NODE * count(self.state.nodes().len())
            + PASS_PER_JOB * count(self.state.active_numbers().len());
        self.next_pass = now.plus(work * PAUSE);
    }

    /// Nodes whose agents may have to be told something else than when this was last asked.
    pub fn take_told(&mut self) -> BTreeSet<NodeId> {
        self.news.take_told(&self.state)
    }

    fn is_rested(&self, now: Timestamp) -> bool {
        self.rested_at.is_some_and(|at| now.since(at) < RESCHEDULE_EVERY)
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
        Ok(Decision { changes, job_id: Some(job_id.clone()), ..Decision::default() })
    }

    fn decide_tick(&self, now: Timestamp, concerns: &Concerns) -> Decision {
        let mut changes = self.decide_nodes(now, &concerns.nodes);
        changes.extend(self.decide_forgotten(now));
        let numbers = concerns.jobs.iter().filter(|number| self.state.active_numbers().contains(number));
        for job in numbers.filter_map(|number| self.state.job_numbered(*number)) {
            let job_changes = self.decide_job(now, job);
            changes.extend(self.faults_of_nodes(now, job, &job_changes));
            let takes_devices = job_changes.iter().any(|change| matches!(change, JobChange::Placed { .. }));
            changes.extend(job_changes.into_iter().map(|change| Change::job(&job.id, now, change)));
            if takes_devices {
                // The other jobs must see that these devices are gone: they are decided about in the next layer.
                break;
            }
        }
        let has_passed = changes.is_empty() && !self.is_rested(now) && now >= self.next_pass;
        if has_passed {
            changes = self.decide_placement(now);
        }
        Decision { changes, job_id: None, has_passed }
    }

    /// What a tick would decide that looked at everything.
    #[cfg(test)]
    fn decide_anew(&self, now: Timestamp) -> Decision {
        let mut everything = News::default();
        everything.add_all(&self.state, &self.observed);
        self.decide_tick(now, &everything.into())
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

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
