//! The newest generation of a job: who is in it, and when it is over.

use kindred_proto::{
    failure::Failure,
    ids::{Generation, Rank, Step, WorldSize},
    v1,
};

use super::{Job, JobChange, JobState, Model, Outcome, Placement, Timestamp, Wire, rank::Seat, retry};

/// The newest generation of a job, until its last rank is gone.
#[derive(Clone, Debug, PartialEq)]
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
}

/// One rank of a generation.
#[derive(Clone, Debug, PartialEq)]
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
        Self { generation, members, resume_from, ending_since: None, writes_checkpoint: false }
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
        let mut changes = self.new_checkpoints(job, live);
        changes.extend(self.new_ends(now, job, live));
        if changes.is_empty() { self.decide_generation(now, job, live) } else { changes }
    }

    fn decide_generation(&self, now: Timestamp, job: &Job, live: &LiveGeneration) -> Vec<JobChange> {
        let are_all_gone = live.members.iter().all(|member| member.ended.is_some());
        if live.ending_since.is_some() {
            return if are_all_gone { vec![JobChange::GenerationOver] } else { vec![] };
        }
        if let Some(cause) = self.cause(now, live, are_all_gone) {
            let mut changes = retry::end_generation(job, cause, self.reached(job));
            let is_tried_again = !changes.iter().any(|change| matches!(change, JobChange::Failed { .. }));
            if is_tried_again && retry::spares_survivors(cause) {
                changes.extend(self.decide_regroup(now, job, live));
            }
            return changes;
        }
        if are_all_gone {
            return result(live).map(|result| JobChange::Succeeded { result }).into_iter().collect();
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

    /// Checkpoints of ranks that still belong to the generation, not recorded before.
    fn new_checkpoints(&self, job: &Job, live: &LiveGeneration) -> Vec<JobChange> {
        if job.state.is_terminal() {
            return vec![];
        }
        let reports = Seat::open(job, live).filter_map(|seat| self.observed_rank(seat));
        let reported = reports.flat_map(|seen| &seen.checkpoints);
        let newest = job.newest_checkpoint().map(|it| (it.generation, it.step));
        let mut news: Vec<_> = reported
            .filter(|it| it.generation == live.generation.0 && Some((it.generation, it.step)) > newest)
            .collect();
        news.sort_by_key(|it| it.step);
        news.dedup_by_key(|it| it.step);
        news.into_iter().map(|it| JobChange::CheckpointRecorded { checkpoint: Wire(it.clone()) }).collect()
    }

    /// Ranks that are gone since the last time.
    fn new_ends(&self, now: Timestamp, job: &Job, live: &LiveGeneration) -> Vec<JobChange> {
        let ends = Seat::open(job, live).filter_map(|seat| Some((seat.rank, self.outcome(now, seat)?)));
        ends.map(|(rank, outcome)| JobChange::RankEnded { rank, outcome }).collect()
    }

    /// The last step that the newest generation is known to have taken.
    fn reached(&self, job: &Job) -> Step {
        let recorded = job.newest_checkpoint().filter(|it| it.generation == job.generation.0);
        let recorded = recorded.map_or(Step(0), |checkpoint| Step(checkpoint.step));
        recorded.max(self.observed.reached(&job.id, job.generation))
    }
}

/// What rank 0 left; none unless every rank finished.
fn result(live: &LiveGeneration) -> Option<Wire<v1::JobResult>> {
    match &live.members.first()?.ended {
        Some((_, Outcome::Finished { result })) => result.clone(),
        _ => None,
    }
}
