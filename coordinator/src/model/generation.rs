//! The newest generation of a job: who is in it, and when it is over.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{Generation, Rank, Step, WorldSize},
    v1,
};
use serde::{Deserialize, Serialize};

use super::{
    Job, JobChange, JobState, Model, Outcome, Placement, Reached, Timestamp, Wire, rank::Seat, retry,
};

/// The newest generation of a job, until its last rank is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveGeneration {
    /// Its number.
    pub generation: Generation,
    /// Its ranks, by rank.
    pub members: Vec<Member>,
    /// What it started from.
    pub resume_from: Option<Wire<v1::Checkpoint>>,
    /// Since when its ranks are ordered to stop.
    pub ending_since: Option<Timestamp>,
    /// Whether they write a checkpoint before they stop.
    pub writes_checkpoint: bool,
    /// The generation before it, and its number of ranks: some of them may be there still.
    pub follows: Option<(Generation, WorldSize)>,
}

/// One rank of a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Where it runs.
    pub placement: Placement,
    /// When and how it ended.
    pub ended: Option<(Timestamp, Outcome)>,
}

impl LiveGeneration {
    pub(super) fn new(
        generation: Generation,
        placements: &[Placement],
        resume_from: Option<Wire<v1::Checkpoint>>,
    ) -> Self {
        let members = placements.iter().map(|it| Member { placement: it.clone(), ended: None }).collect();
        Self { generation, members, resume_from, ending_since: None, writes_checkpoint: false, follows: None }
    }

    /// Its number of ranks.
    pub fn world_size(&self) -> WorldSize {
        WorldSize(u32::try_from(self.members.len()).unwrap_or(u32::MAX))
    }

    /// Its ranks with their numbers.
    pub fn ranks(&self) -> impl Iterator<Item = (Rank, &Member)> {
        (0..).map(Rank).zip(&self.members)
    }

    pub(super) fn end_rank(&mut self, rank: Rank, at: Timestamp, outcome: &Outcome) {
        if let Some(member) = self.members.get_mut(rank.0 as usize) {
            member.ended.get_or_insert_with(|| (at, outcome.clone()));
        }
    }

    /// The faults of its ranks, first met first.
    fn faults(&self) -> Vec<(Timestamp, &v1::Failure)> {
        let mut faults: Vec<_> = self.members.iter().filter_map(Member::fault).collect();
        faults.sort_by_key(|(at, _)| *at);
        faults
    }
}

impl Member {
    fn is_finished(&self) -> bool {
        matches!(self.ended, Some((_, Outcome::Finished { .. })))
    }

    fn fault(&self) -> Option<(Timestamp, &v1::Failure)> {
        match &self.ended {
            Some((at, Outcome::Failed { fault })) => Some((*at, &fault.0)),
            _ => None,
        }
    }
}

impl Model {
    /// One layer of what an active job's generation has come to.
    pub(super) fn decide_job(&self, now: Timestamp, job: &Job) -> Vec<JobChange> {
        let Some(live) = &job.live else {
            return match job.state {
                JobState::Cancelling => vec![JobChange::Cancelled],
                JobState::Suspending => vec![JobChange::Suspended],
                _ => vec![],
            };
        };
        if let Some(beginning) = self.beginning(job, live) {
            return vec![beginning];
        }
        let mut changes = self.new_checkpoints(job, live);
        changes.extend(self.new_ends(now, job, live));
        if changes.is_empty() { self.decide_generation(now, job, live) } else { changes }
    }

    fn decide_generation(&self, now: Timestamp, job: &Job, live: &LiveGeneration) -> Vec<JobChange> {
        let are_all_gone = live.members.iter().all(|member| member.ended.is_some());
        if live.ending_since.is_some() {
            return if are_all_gone { self.sealed(job, live, JobChange::GenerationOver) } else { vec![] };
        }
        let cause = self.cause(now, live, are_all_gone).cloned();
        if let Some(cause) = cause.or_else(|| self.parting(job, live)) {
            if retry::spares_survivors(&cause) && Seat::open(job, live).any(|seat| self.is_unheard(now, seat))
            {
                return vec![];
            }
            let reached = self.reached(job).map_or(Step(0), |reached| reached.step);
            let charge = retry::charge(&cause, self.is_leaving(&cause.node_id.as_str().into()));
            let mut changes = retry::end_generation(job, &cause, charge, reached);
            let is_tried_again = !changes.iter().any(|change| matches!(change, JobChange::Failed { .. }));
            if is_tried_again
                && retry::spares_survivors(&cause)
                && let Some(next) = self.decide_regroup(now, job, live)
            {
                changes.extend(self.sealed(job, live, next));
            }
            return changes;
        }
        if are_all_gone {
            let succeeded = result(live).map(|result| JobChange::Succeeded { result });
            return succeeded.map(|succeeded| self.sealed(job, live, succeeded)).unwrap_or_default();
        }
        let leaves = self.leaves_drained_node(job, live).or_else(|| self.has_too_many_ranks(job, live));
        if let Some(change) = leaves {
            return vec![change];
        }
        match self.decide_joining(now, job, live) {
            Some(next @ JobChange::Placed { .. }) => return self.sealed(job, live, next),
            Some(change) => return vec![change],
            None => {}
        }
        let is_starting = job.state == JobState::Starting;
        if is_starting && Seat::all(job, live).all(|seat| self.is_training(seat)) {
            return vec![JobChange::Runs];
        }
        vec![]
    }

    /// Why the generation cannot go on. The loss of a peer is believed only when nothing better is said in time.
    fn cause<'a>(
        &self,
        now: Timestamp,
        live: &'a LiveGeneration,
        are_all_gone: bool,
    ) -> Option<&'a v1::Failure> {
        let faults = live.faults();
        let origin = faults.iter().find(|(_, fault)| !retry::is_consequence(&Failure::from(*fault)));
        if let Some((_, fault)) = origin {
            return Some(fault);
        }
        let (first_at, first) = faults.first()?;
        (are_all_gone || now.since(*first_at) >= self.rules.cause_grace).then_some(*first)
    }

    /// That ranks have lost one another while none of them ended: the network between them fails.
    fn parting(&self, job: &Job, live: &LiveGeneration) -> Option<v1::Failure> {
        let is_parted = Seat::all(job, live).all(|seat| seat.member.ended.is_none() && self.has_parted(seat));
        let message =
            "the ranks lost one another, and none of them ended: look at the network between their nodes";
        is_parted.then(|| v1::Failure::from(&Failure::new(Reason::PeerLost, message.to_owned())))
    }

    /// Where the generation goes on, once one of its ranks says so: they agree on it when they meet. What an ending
    /// generation says comes too late, and nothing of it is left: its checkpoints wait for its row.
    fn beginning(&self, job: &Job, live: &LiveGeneration) -> Option<JobChange> {
        if job.live_generation().is_none() || job.ledger.knows(live.generation) {
            return None;
        }
        let mut seen = Seat::open(job, live).filter_map(|seat| self.observed_rank(seat));
        let step = Step(seen.find_map(|seen| seen.began_at_step)?);
        Some(JobChange::Began { generation: live.generation, step })
    }

    /// `last`, and before it the end of all that the generation may write, if it began. Where all ranks finished, all of
    /// its time counts.
    fn sealed(&self, job: &Job, live: &LiveGeneration, last: JobChange) -> Vec<JobChange> {
        let generation = live.generation;
        if !job.ledger.is_open(generation) {
            return vec![last];
        }
        let Reached { step: reached, at } = self.reached(job).unwrap_or_default();
        let is_finished = live.members.iter().all(Member::is_finished);
        let heard_at = if is_finished { job.changed_at } else { at };
        vec![JobChange::Sealed { generation, reached, heard_at }, last]
    }

    /// Checkpoints of ranks that still belong to the generation, of steps that it owns, not recorded before.
    fn new_checkpoints(&self, job: &Job, live: &LiveGeneration) -> Vec<JobChange> {
        if job.state.is_terminal() {
            return vec![];
        }
        let reports = Seat::open(job, live).filter_map(|seat| self.observed_rank(seat));
        let reported = reports.flat_map(|seen| &seen.checkpoints);
        let newest = job.newest_checkpoint().map(|it| (it.generation, it.step));
        let is_own = |it: &&v1::Checkpoint| {
            it.generation == live.generation.0 && job.ledger.holds(live.generation, Step(it.step))
        };
        let mut news: Vec<_> =
            reported.filter(is_own).filter(|it| Some((it.generation, it.step)) > newest).collect();
        news.sort_by_key(|it| it.step);
        news.dedup_by_key(|it| it.step);
        news.into_iter().map(|it| JobChange::CheckpointRecorded { checkpoint: Wire(it.clone()) }).collect()
    }

    /// Ranks that are gone since the last time.
    fn new_ends(&self, now: Timestamp, job: &Job, live: &LiveGeneration) -> Vec<JobChange> {
        let ends = Seat::open(job, live).filter_map(|seat| Some((seat.rank, self.outcome(now, seat)?)));
        ends.map(|(rank, outcome)| JobChange::RankEnded { rank, outcome }).collect()
    }

    /// How far the newest generation is known to have come, if anything is known of it.
    pub(super) fn reached(&self, job: &Job) -> Option<Reached> {
        let recorded = job.newest_checkpoint().filter(|it| it.generation == job.generation.0);
        let recorded = recorded.map(|checkpoint| Step(checkpoint.step));
        match (self.observed.reached(&job.id, job.generation), recorded) {
            (Some(heard), Some(step)) => Some(Reached { step: heard.step.max(step), ..heard }),
            (Some(heard), None) => Some(heard),
            // Only a coordinator that began anew has heard nothing of what it recorded.
            (None, step) => step.map(|step| Reached { step, at: job.changed_at }),
        }
    }
}

/// What rank 0 left; none unless every rank finished.
fn result(live: &LiveGeneration) -> Option<Wire<v1::JobResult>> {
    match &live.members.first()?.ended {
        Some((_, Outcome::Finished { result })) => result.clone(),
        _ => None,
    }
}
