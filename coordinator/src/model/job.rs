//! One job and how changes move it.

use kindred_proto::{
    failure::Failure,
    ids::{CheckpointId, Generation, JobId, Step, WorldSize},
    job_spec::project_of,
    v1,
};
use serde::{Deserialize, Serialize};

use super::{
    Claim, FailedJoins, Fault, Faults, JobChange, Joining, Ledger, LiveGeneration, Outcome, Reached,
    Submission, Timestamp, Updates, Wire, change::Charge, retry,
};

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its name in every message.
    pub id: JobId,
    /// The request that created it; empty when it had no id.
    #[serde(default)]
    pub request_id: String,
    /// What was asked for.
    pub submission: Submission,
    /// What users changed of that.
    #[serde(default)]
    pub updates: Updates,
    /// Where it stands.
    pub state: JobState,
    /// Why it stands there.
    pub reason: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was placed for the first time.
    pub placed_at: Option<Timestamp>,
    /// When all its ranks trained for the first time.
    pub started_at: Option<Timestamp>,
    /// When it reached a terminal state.
    pub ended_at: Option<Timestamp>,
    /// Count of its changes.
    pub revision: u64,
    /// When the last of them was decided.
    pub changed_at: Timestamp,
    /// Number of its newest generation; 0 before the first.
    pub generation: Generation,
    /// The newest generation until its last rank is gone.
    pub live: Option<LiveGeneration>,
    /// The newest generation that ranks were ordered for.
    pub ordered: Generation,
    /// The newest generation with its number of ranks, also when they are gone.
    pub newest_size: Option<(Generation, WorldSize)>,
    /// Ranks that start for the next generation while the live one goes on.
    pub joining: Option<Joining>,
    /// How often that was in vain.
    pub failed_joins: FailedJoins,
    /// Recorded and not yet pushed out by newer ones, oldest first.
    pub checkpoints: Vec<Wire<v1::Checkpoint>>,
    /// Which generation owns which steps.
    pub ledger: Ledger,
    /// The retry budgets so far.
    pub spent: Spent,
    /// What the newest generation with a fault met.
    pub faults: Faults,
    /// Since when it waits for devices, or began to the last time.
    pub queued_at: Timestamp,
    /// Since when it has had devices without a break.
    pub runs_since: Timestamp,
    /// Its claim to devices that it had.
    pub claim: Option<Claim>,
    /// True while its ranks stop for another job's sake, and it waits for its turn after that.
    pub gives_way: bool,
    /// How often that was so.
    pub n_preemptions: u32,
    /// The newest fault that ended a generation.
    pub last_fault: Option<Wire<v1::Failure>>,
    /// Why it failed.
    pub failure: Option<Wire<v1::Failure>>,
    /// What it leaves.
    pub result: Option<Wire<v1::JobResult>>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Waits for devices for the first time.
    Pending,
    /// Placed; its ranks start and meet.
    Starting,
    /// All its ranks train.
    Running,
    /// A generation ended early and the next one forms.
    Recovering,
    /// A user asked for a pause; its ranks write a checkpoint and stop.
    Suspending,
    /// Holds nothing until a user resumes it.
    Suspended,
    /// A user asked for its end; its ranks stop.
    Cancelling,
    /// All ranks finished.
    Succeeded,
    /// A fault ended it.
    Failed,
    /// It ended as a user asked.
    Cancelled,
}

impl JobState {
    /// True when nothing moves the job any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The state in lower case, as sentences use it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Recovering => "recovering",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How much of each retry budget is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Generations that the user's errors ended.
    pub user: u32,
    /// Generations that lost ranks, nodes or links ended.
    pub infrastructure: u32,
    /// Generations in a row that ended without a new step.
    pub no_progress: u32,
    /// The last step that any generation took.
    pub furthest: Step,
}

impl Spent {
    /// What is used once another generation has ended at `reached`.
    #[must_use]
    pub fn after(self, charge: Charge, reached: Step) -> Self {
        let (user, infrastructure) = match charge {
            Charge::User => (1, 0),
            Charge::Infrastructure => (0, 1),
            Charge::Nobody => (0, 0),
        };
        let is_fault = charge != Charge::Nobody;
        Self {
            user: self.user + user,
            infrastructure: self.infrastructure + infrastructure,
            no_progress: if reached > self.furthest { 0 } else { self.no_progress + u32::from(is_fault) },
            furthest: self.furthest.max(reached),
        }
    }
}

impl Job {
    /// Who it belongs to.
    pub fn project(&self) -> &str {
        project_of(&self.submission.spec.0)
    }

    /// A job that was just accepted.
    pub(crate) fn new(id: JobId, at: Timestamp, submission: Submission) -> Self {
        Self {
            id,
            request_id: String::new(),
            submission,
            updates: Updates::default(),
            state: JobState::Pending,
            reason: "waits for placement".to_owned(),
            created_at: at,
            placed_at: None,
            started_at: None,
            ended_at: None,
            revision: 1,
            changed_at: at,
            generation: Generation(0),
            live: None,
            ordered: Generation(0),
            newest_size: None,
            joining: None,
            failed_joins: FailedJoins::default(),
            checkpoints: vec![],
            ledger: Ledger::default(),
            spent: Spent::default(),
            faults: Faults::default(),
            queued_at: at,
            runs_since: at,
            claim: None,
            gives_way: false,
            n_preemptions: 0,
            last_fault: None,
            failure: None,
            result: None,
        }
    }

    /// True until the job is over and its last rank is gone.
    pub fn is_active(&self) -> bool {
        !self.state.is_terminal() || self.live.is_some()
    }

    /// True when it has no ranks and wants some.
    pub fn wants_placement(&self) -> bool {
        self.live.is_none() && matches!(self.state, JobState::Pending | JobState::Recovering)
    }

    /// The generation whose ranks may meet and write; none while it ends.
    pub fn live_generation(&self) -> Option<Generation> {
        self.live.as_ref().filter(|live| live.ending_since.is_none()).map(|live| live.generation)
    }

    /// The checkpoint of the newest generation that wrote any, at its highest step.
    pub fn newest_checkpoint(&self) -> Option<&v1::Checkpoint> {
        self.checkpoints.iter().map(|checkpoint| &checkpoint.0).max_by_key(|it| (it.generation, it.step))
    }

    /// A checkpoint by its id.
    pub fn checkpoint(&self, id: &CheckpointId) -> Option<&v1::Checkpoint> {
        self.checkpoints.iter().map(|checkpoint| &checkpoint.0).find(|it| it.id == id.as_str())
    }

    /// Lets a change happen.
    pub(super) fn evolve(&mut self, at: Timestamp, change: &JobChange) {
        self.revision += 1;
        self.changed_at = at;
        match change {
            // The state's affair: it takes jobs in and lets go of them.
            JobChange::Accepted { .. } | JobChange::Forgotten => {}
            JobChange::Waits { reason } => self.reason.clone_from(reason),
            JobChange::Placed { generation, placements, resume_from } => {
                if self.joining.take().is_some_and(|joining| joining.generation == *generation) {
                    self.failed_joins = FailedJoins::default();
                }
                let own = resume_from.as_ref().and_then(|id| self.checkpoint(id));
                let resume_from = own.or(self.origin()).cloned().map(Wire);
                if self.live.is_none() {
                    self.runs_since = at;
                }
                (self.claim, self.gives_way) = (None, false);
                self.generation = *generation;
                self.ordered = self.ordered.max(*generation);
                self.placed_at.get_or_insert(at);
                let next = LiveGeneration::new(*generation, placements, resume_from);
                let follows = self.newest_size.replace((*generation, next.world_size()));
                self.live = Some(LiveGeneration { follows, ..next });
                self.enter(
                    JobState::Starting,
                    format!("the ranks of generation {generation} start and meet"),
                );
            }
            JobChange::Joins { generation, placements } => {
                self.ordered = self.ordered.max(*generation);
                self.joining = Some(Joining { generation: *generation, placements: placements.clone() });
                self.reason = format!("{}; {} more start", self.at_work(), placements.len());
            }
            JobChange::JoinEnds { reason } => {
                self.joining = None;
                self.failed_joins.note(at);
                self.reason = format!("{}; more could not join: {reason}", self.at_work());
            }
            JobChange::Began { generation, step } => self.begin(at, *generation, *step),
            JobChange::Runs => {
                self.started_at.get_or_insert(at);
                self.enter(JobState::Running, self.at_work());
            }
            JobChange::RankEnded { rank, outcome } => {
                if let Some(live) = &mut self.live {
                    live.end_rank(*rank, at, outcome);
                }
                self.note_fault(at, outcome);
                self.keep_better_cause(outcome);
            }
            JobChange::CheckpointRecorded { checkpoint } => self.record(checkpoint),
            JobChange::CheckpointPinned { checkpoint, is_pinned } => self.pin(checkpoint, *is_pinned),
            JobChange::GenerationEnds { fault, charge, reached } => {
                self.spent = self.spent.after(*charge, *reached);
                self.stop_generation(at);
                self.queue_up(at, Some(Claim { since: at, after: None }));
                self.last_fault = Some(fault.clone());
                self.enter(JobState::Recovering, format!("recovers: {}", fault.message));
            }
            JobChange::Sealed { generation, reached, heard_at } => {
                self.ledger.seal(*generation, Reached { step: *reached, at: *heard_at });
            }
            JobChange::GenerationOver => self.end_generation(at),
            JobChange::GivesWay { reason, to, shrinks } => {
                self.n_preemptions += u32::from(to.is_some());
                self.stop_with_checkpoint(at);
                let keeps = to.is_none() || *shrinks;
                self.queue_up(at, keeps.then(|| Claim { since: at, after: to.clone() }));
                self.gives_way = !keeps;
                self.enter(JobState::Recovering, reason.clone());
            }
            JobChange::CancelRequested { reason } => {
                self.stop_generation(at);
                self.enter(JobState::Cancelling, sentence("cancelled by request", reason));
            }
            JobChange::SuspendRequested { reason } => {
                self.stop_with_checkpoint(at);
                self.queue_up(at, None);
                self.enter(JobState::Suspending, sentence("suspended by request", reason));
            }
            JobChange::Suspended => self.enter(JobState::Suspended, self.reason.clone()),
            JobChange::ResumeRequested => {
                self.queue_up(at, None);
                let is_new = self.generation == Generation(0);
                let state = if is_new { JobState::Pending } else { JobState::Recovering };
                self.enter(state, "resumed by request, waits for placement".to_owned());
            }
            JobChange::Updated { request_id, submission } => self.update(request_id, submission),
            JobChange::Succeeded { result } => {
                self.started_at.get_or_insert(at);
                self.live = None;
                self.result = Some(result.clone());
                self.finish(at, JobState::Succeeded, "all ranks finished".to_owned());
            }
            JobChange::Failed { failure } => {
                self.failure = Some(failure.clone());
                self.finish(at, JobState::Failed, failure.message.clone());
            }
            JobChange::Cancelled => self.finish(at, JobState::Cancelled, self.reason.clone()),
        }
    }

    fn at_work(&self) -> String {
        format!("all ranks of generation {} are at work", self.generation)
    }

    fn enter(&mut self, state: JobState, reason: String) {
        self.state = state;
        self.reason = reason;
    }

    fn finish(&mut self, at: Timestamp, state: JobState, reason: String) {
        self.ended_at = Some(at);
        self.joining = None;
        self.enter(state, reason);
    }

    pub(super) fn stop_generation(&mut self, at: Timestamp) {
        self.joining = None;
        if let Some(live) = &mut self.live {
            live.ending_since.get_or_insert(at);
        }
    }

    fn begin(&mut self, at: Timestamp, generation: Generation, step: Step) {
        if let Some(live) = self.live.as_ref().filter(|live| live.generation == generation) {
            // Survivors of a generation that nobody heard of begin: its steps are its own all the same.
            if let Some((unheard, world_size)) = live.follows
                && step > self.ledger.end()
            {
                self.ledger.begin(unheard, world_size, self.ledger.end(), at);
            }
            self.ledger.begin(generation, live.world_size(), step, at);
        }
    }

    fn note_fault(&mut self, at: Timestamp, outcome: &Outcome) {
        if let Outcome::Failed { fault } = outcome {
            self.faults.note(Fault { at, generation: self.generation, failure: fault.clone() });
        }
    }

    /// What a rank says of the loss of its peer gives way to what became of that peer, should that come later.
    fn keep_better_cause(&mut self, outcome: &Outcome) {
        let Outcome::Failed { fault } = outcome else { return };
        let ends_by_fault = |live: &LiveGeneration| live.ending_since.is_some() && !live.writes_checkpoint;
        let is_ending = self.live.as_ref().is_some_and(ends_by_fault);
        let has_consequence = self.last_fault.as_ref().is_some_and(|last| is_consequence(last));
        if is_ending && has_consequence && !is_consequence(fault) {
            self.last_fault = Some(fault.clone());
            if self.state == JobState::Recovering {
                self.reason = format!("recovers: {}", fault.message);
            }
        }
    }
}

fn is_consequence(fault: &v1::Failure) -> bool {
    retry::is_consequence(&Failure::from(fault))
}

fn sentence(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}
