//! The next generation of a job that lost ranks: those that are left keep their state, and others fill the gaps.

use kindred_proto::{ids::CheckpointId, v1};

use super::{Job, JobChange, LiveGeneration, Model, Placement, Timestamp, rank::Seat};

impl Model {
    /// Opens it at once, if some ranks still hold a state: with those alone where the job may have so many ranks, since
    /// processes that start keep the others waiting, and more can join later; else with as many as there are devices for. All
    /// of them go on: one that did not could still commit something. Otherwise nobody is spared: the job is placed anew once
    /// all its ranks are gone. So is an evaluation, whose ranks have no state to keep: it measures anew.
    pub(super) fn decide_regroup(
        &self,
        now: Timestamp,
        job: &Job,
        live: &LiveGeneration,
    ) -> Option<JobChange> {
        job.submission.spec.0.recipe.as_ref()?;
        if self.are_stopping(job, live) {
            return None;
        }
        let kept: Vec<Option<&Placement>> = Seat::all(job, live).map(|seat| self.kept(now, seat)).collect();
        let n_kept = kept.iter().flatten().count();
        if n_kept == 0 {
            return None;
        }
        let is_possible = |size: &usize| (n_kept..=live.members.len()).contains(size);
        let n_missing = job.submission.sizes().filter(is_possible).map(|size| size - n_kept);
        let found = match n_missing.clone().any(|n| n == 0) {
            true => vec![],
            false => self.free_devices(now, job, n_missing)?,
        };
        Some(JobChange::Placed {
            generation: job.next_generation(),
            placements: seats(&kept, found),
            resume_from: job.newest_checkpoint().map(|it| CheckpointId::new(it.id.as_str())),
        })
    }

    /// Ranks stop together, after the same step: where one stops without an order, since its agent leaves, all do, and with
    /// a checkpoint.
    fn are_stopping(&self, job: &Job, live: &LiveGeneration) -> bool {
        use v1::RankState::{Stopped, Stopping};
        let mut seen = Seat::all(job, live).filter_map(|seat| self.observed_rank(seat));
        seen.any(|seen| matches!(seen.state(), Stopping | Stopped))
    }

    /// True while a rank that trains may go on or be lost with its node, which is silent: it may still commit something.
    pub(super) fn is_unheard(&self, now: Timestamp, seat: Seat<'_>) -> bool {
        let standing = self.standing(now, &seat.member.placement.node_id);
        self.holds_state(seat) && standing == v1::NodeState::Suspect
    }

    /// Where a rank goes on: it has a state, and its agent answers.
    fn kept<'a>(&self, now: Timestamp, seat: Seat<'a>) -> Option<&'a Placement> {
        let placement = &seat.member.placement;
        let is_there = self.standing(now, &placement.node_id) == v1::NodeState::Ready;
        (self.holds_state(seat) && is_there).then_some(placement)
    }
}

/// Who is where. While the number of ranks stays, each that is kept has its number, and others fill the gaps; else those
/// that are kept move up.
fn seats(kept: &[Option<&Placement>], found: Vec<Placement>) -> Vec<Placement> {
    let stays = kept.iter().flatten().count() + found.len() == kept.len();
    let mut found = found.into_iter();
    if stays {
        return kept.iter().filter_map(|seat| seat.cloned().or_else(|| found.next())).collect();
    }
    kept.iter().copied().flatten().cloned().chain(found).collect()
}
