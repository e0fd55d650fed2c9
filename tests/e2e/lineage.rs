//! Which samples a job consumed, from its ledger: each sample of an epoch once, whatever happened on the way.

use std::collections::BTreeMap;

use kindred_coordinator::model::{
    Change, Interval, JobChange, Placement, Reached, SchedulingTerms, State, Submission, Timestamp, Wire,
};
use kindred_data::Plan;
use kindred_proto::{
    ids::{Generation, JobId, Step, WorldSize},
    v1,
};
use proptest::prelude::*;

/// The size of a job's data and of its batches.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub n_images: u64,
    pub global_batch: u32,
    pub seed: u64,
}

/// The ids that the ranks of each interval took, by epoch.
pub fn consumed(intervals: &[v1::Interval], sizes: Sizes) -> BTreeMap<u64, Vec<u64>> {
    let mut epochs: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for interval in intervals {
        for rank in 0..interval.world_size {
            let place = (rank, interval.world_size);
            let plan = Plan::new(sizes.n_images, sizes.global_batch, place, sizes.seed).expect("sizes fit");
            // Step n of a ledger is the one after which n are taken; a plan counts them from 0.
            for step in interval.first_step - 1..interval.last_step {
                epochs.entry(plan.epoch(step)).or_default().extend(plan.sample_ids(step));
            }
        }
    }
    epochs
}

/// Fails unless each of the first `n_epochs` epochs holds every sample of the data once.
pub fn assert_each_sample_once(epochs: &BTreeMap<u64, Vec<u64>>, n_epochs: u64, n_images: u64) {
    for epoch in 0..n_epochs {
        let mut ids = epochs.get(&epoch).cloned().unwrap_or_default();
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(0..n_images), "epoch {epoch}: {} ids of {n_images}", ids.len());
    }
}

const SIZES: Sizes = Sizes { n_images: 192, global_batch: 12, seed: 5 };
const STEPS_PER_EPOCH: u64 = 16;
const N_EPOCHS: u64 = 3;

/// One generation of a history: where it goes on, as a share of what was reached, how far it comes, on how many ranks.
fn generation() -> impl Strategy<Value = (f64, u64, u32)> {
    (0.0..=1.0, 0..30_u64, prop::sample::select(vec![1, 2, 3, 4, 6]))
}

/// The intervals that a coordinator's journal gives after such a history; the last generation takes all that is left.
fn intervals(history: &[(f64, u64, u32)]) -> Vec<v1::Interval> {
    let job_id = JobId::new("job-1");
    let submission = Submission {
        name: "history".to_owned(),
        world_size: WorldSize(1),
        world_sizes: vec![],
        fork_of: None,
        scheduling: SchedulingTerms::default(),
        needs_gpu: false,
        user_failures: 0,
        infrastructure_failures: 99,
        no_progress: 99,
        spec: Wire(v1::JobSpec::default()),
    };
    let mut changes =
        vec![JobChange::Accepted { request_id: String::new(), submission: Box::new(submission) }];
    let total = N_EPOCHS * STEPS_PER_EPOCH;
    let mut reached = 0;
    for (number, (share, n_steps, n_ranks)) in (1..).zip(history) {
        let began_at = (reached as f64 * share) as u64;
        let is_last = number == history.len() as u64;
        reached = if is_last { total } else { total.min(began_at + n_steps) };
        let placement = |index| Placement {
            node_id: "node-1".into(),
            incarnation: "life-1".into(),
            node_name: "node-1".to_owned(),
            device_index: index,
        };
        let (generation, heard_at) = (Generation(number), Timestamp::default());
        let placements = (0..*n_ranks).map(placement).collect();
        changes.extend([
            JobChange::Placed { generation, placements, resume_from: None },
            JobChange::Began { generation, step: Step(began_at) },
            JobChange::Sealed { generation, reached: Step(reached), heard_at },
        ]);
    }
    let changes: Vec<Change> =
        changes.into_iter().map(|change| Change::job(&job_id, Timestamp::default(), change)).collect();
    let state = State::replay(&changes);
    let ledger = &state.job(&job_id).expect("it was accepted").ledger;
    let wire = |it: Interval| v1::Interval {
        generation: it.generation.0,
        world_size: it.world_size.0,
        first_step: it.first.0,
        last_step: it.last.0,
    };
    ledger.intervals(None::<Reached>).map(wire).collect()
}

proptest! {
    #[test]
    fn each_sample_of_an_epoch_is_consumed_once_whatever_happens(history in prop::collection::vec(generation(), 1..8)) {
        let epochs = consumed(&intervals(&history), SIZES);
        prop_assert_eq!(epochs.len() as u64, N_EPOCHS);
        assert_each_sample_once(&epochs, N_EPOCHS, SIZES.n_images);
    }
}
