//! The next generation of a job that lost ranks: those that are left keep place and number, and others fill the gaps.

use kindred_proto::{ids::CheckpointId, v1};

use super::{Job, JobChange, LiveGeneration, Model, Placement, Timestamp, rank::Seat};

impl Model {
    /// Opens it at once, if some ranks still train and there are devices for the rest. Otherwise nobody is spared: the job
    /// is placed anew once all its ranks are gone. So is an evaluation, whose ranks have no state to keep: it measures anew.
    pub(super) fn decide_regroup(
        &self,
        now: Timestamp,
        job: &Job,
        live: &LiveGeneration,
    ) -> Option<JobChange> {
        job.submission.spec.0.recipe.as_ref()?;
        let kept: Vec<Option<&Placement>> = Seat::all(job, live).map(|seat| self.kept(now, seat)).collect();
        if kept.iter().all(Option::is_none) {
            return None;
        }
        let n_gaps = kept.iter().filter(|placement| placement.is_none()).count();
        let mut found = self.free_devices(now, job, n_gaps)?.into_iter();
        let fill = |placement: Option<&Placement>| placement.cloned().or_else(|| found.next());
        Some(JobChange::Placed {
            generation: job.generation.next(),
            placements: kept.into_iter().map(fill).collect::<Option<_>>()?,
            resume_from: job.newest_checkpoint().map(|it| CheckpointId::new(it.id.as_str())),
        })
    }

    /// Where a rank goes on: it trains, and its agent answers.
    fn kept<'a>(&self, now: Timestamp, seat: Seat<'a>) -> Option<&'a Placement> {
        let placement = &seat.member.placement;
        let is_training = seat.member.ended.is_none()
            && self.observed_rank(seat).is_some_and(|seen| seen.state() == v1::RankState::Training);
        let is_there = self.standing(now, &placement.node_id) == v1::NodeState::Ready;
        (is_training && is_there).then_some(placement)
    }
}
