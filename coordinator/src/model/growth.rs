//! More ranks for a job that trains with fewer than it may have.
//!
//! Those that join start beside the ones that train, for the next generation: the job goes on meanwhile. Once all of them are
//! ready to meet, that generation opens with both.

use kindred_proto::{
    ids::{CheckpointId, Generation, Rank, Step},
    v1,
};
use serde::{Deserialize, Serialize};

use super::{Job, JobChange, JobState, LiveGeneration, Model, Placement, Timestamp, rank::Seat};

/// Ranks that start for the next generation of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joining {
    /// The generation.
    pub generation: Generation,
    /// Their places, by rank from the size of the live generation on.
    pub placements: Vec<Placement>,
}

/// How often more ranks were wanted in vain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailedJoins {
    n_in_a_row: u32,
    newest: Option<Timestamp>,
}

impl FailedJoins {
    /// Another one.
    pub(super) fn note(&mut self, at: Timestamp) {
        self.n_in_a_row = self.n_in_a_row.saturating_add(1);
        self.newest = Some(at);
    }
}

impl Job {
    /// The ranks that join, with their numbers.
    pub(super) fn joiners(&self) -> impl Iterator<Item = (Rank, &Placement)> {
        let n_there = self.live.as_ref().map_or(0, |live| live.world_size().0);
        (n_there..).map(Rank).zip(self.joining.iter().flat_map(|joining| &joining.placements))
    }

    /// A number for a generation that no rank was ordered for yet.
    pub(super) fn next_generation(&self) -> Generation {
        self.generation.max(self.ordered).next()
    }
}

impl Model {
    /// Whether those that join are ready, or cannot; nothing while they start.
    pub(super) fn decide_joining(
        &self,
        now: Timestamp,
        job: &Job,
        live: &LiveGeneration,
    ) -> Option<JobChange> {
        let joining = job.joining.as_ref()?;
        if let Some(ends) = self.may_not_join(job, live) {
            return Some(ends);
        }
        if let Some(reason) = job.joiners().find_map(|(rank, place)| self.cannot_join(now, job, rank, place))
        {
            return Some(JobChange::JoinEnds { reason });
        }
        let is_ready = |(rank, placement)| {
            let seen = self.observed_joiner(job, rank, placement);
            seen.is_some_and(|seen| seen.state() == v1::RankState::Meeting)
        };
        if !self.are_all_at_work(job, live) || !job.joiners().all(is_ready) {
            return None;
        }
        let there = live.members.iter().map(|member| member.placement.clone());
        Some(JobChange::Placed {
            generation: joining.generation,
            placements: there.chain(joining.placements.iter().cloned()).collect(),
            resume_from: job.newest_checkpoint().map(|it| CheckpointId::new(it.id.as_str())),
        })
    }

    /// The numbers of ranks that a job would rather have than those that it has, most first; none while it cannot grow.
    pub(super) fn larger_sizes(&self, now: Timestamp, job: &Job) -> Option<Vec<usize>> {
        let live = job.live.as_ref().filter(|live| live.ending_since.is_none())?;
        let (n_there, most) = (live.members.len(), job.submission.sizes().next()?);
        let may_grow = n_there < most
            && job.joining.is_none()
            && self.are_all_at_work(job, live)
            && self.is_worth_it(now, job);
        may_grow.then(|| job.submission.sizes().filter(|size| *size > n_there).collect())
    }

    fn are_all_at_work(&self, job: &Job, live: &LiveGeneration) -> bool {
        job.state == JobState::Running && Seat::all(job, live).all(|seat| self.holds_state(seat))
    }

    /// A step is taken and more follow, and those that could not join lately have had time to be mended.
    fn is_worth_it(&self, now: Timestamp, job: &Job) -> bool {
        let goes_on = self.observed.progress(&job.id).is_some_and(|seen| seen.step < seen.total_steps);
        let has_stepped = self.reached(job).is_some_and(|reached| reached.step > Step(0));
        let pause = self.rules.hold_after_loss * 2_u32.pow(job.failed_joins.n_in_a_row.clamp(1, 7) - 1);
        let is_time = job.failed_joins.newest.is_none_or(|newest| now.since(newest) >= pause);
        goes_on && has_stepped && is_time
    }

    /// Why a rank does not come; none while it may.
    fn cannot_join(&self, now: Timestamp, job: &Job, rank: Rank, placement: &Placement) -> Option<String> {
        let name = &placement.node_name;
        let Some(contact) = self.observed.contact(&placement.node_id) else {
            return self.is_lost(now, &placement.node_id).then(|| format!("{name} is lost"));
        };
        if !contact.is_of(&placement.incarnation) {
            return Some(format!("the agent of {name} started anew"));
        }
        if contact.report.leaving || self.is_lost(now, &placement.node_id) {
            return Some(format!("{name} is gone"));
        }
        use v1::RankState::{Failed, Finished, Stopped};
        let seen = self.observed_joiner(job, rank, placement)?;
        let is_over = matches!(seen.state(), Failed | Finished | Stopped);
        let why = seen.failure.as_ref().map_or("it stopped without an order", |failure| &failure.message);
        is_over.then(|| format!("rank {rank} on {name}: {why}"))
    }

    fn observed_joiner(&self, job: &Job, rank: Rank, placement: &Placement) -> Option<&v1::ObservedRank> {
        let contact = self.observed.contact(&placement.node_id)?;
        contact.rank(&job.id, job.joining.as_ref()?.generation, rank)
    }
}
