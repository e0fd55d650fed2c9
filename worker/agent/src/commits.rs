//! Which checkpoints may be put in place.

use kindred_proto::{ids::CheckpointId, v1};

use crate::reconcile::RankKey;

/// Whether a rank may put a checkpoint in place, by the newest orders; none while that is not decided.
///
/// Yes to a rank that they name: no newer generation runs then, since that one is placed only after this one is gone, or
/// in its place. The checkpoint must be of the generation that the rank is in: a process that has joined a newer one may
/// still ask for one of before. Asked under a lease only.
pub fn verdict(key: &RankKey, order: Option<&v1::OrderedRank>, checkpoint: &CheckpointId) -> Option<bool> {
    match order {
        Some(_) if checkpoint.generation() != Some(key.generation) => Some(false),
        Some(order) => (!order.hold_commits).then_some(true),
        None => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use kindred_proto::ids::{Generation, Rank, Step};

    use super::*;

    #[test]
    fn only_an_ordered_rank_commits_and_only_what_its_generation_wrote() {
        let key = RankKey { job_id: "job-1".into(), generation: Generation(2), rank: Rank(0) };
        let of = |generation| CheckpointId::of(Step(20), Generation(generation));
        let order = v1::OrderedRank::default();
        assert_eq!(verdict(&key, Some(&order), &of(2)), Some(true));
        assert_eq!(verdict(&key, None, &of(2)), Some(false));
        for generation in [1, 3] {
            assert_eq!(verdict(&key, Some(&order), &of(generation)), Some(false), "generation {generation}");
        }
        assert_eq!(verdict(&key, Some(&order), &"latest".into()), Some(false));
    }

    #[test]
    fn a_commit_waits_until_it_is_stored_where_the_generation_began() {
        let key = RankKey { job_id: "job-1".into(), generation: Generation(2), rank: Rank(0) };
        let order = v1::OrderedRank { hold_commits: true, ..Default::default() };
        assert_eq!(verdict(&key, Some(&order), &CheckpointId::of(Step(20), Generation(2))), None);
        assert_eq!(verdict(&key, Some(&order), &CheckpointId::of(Step(20), Generation(1))), Some(false));
    }
}
