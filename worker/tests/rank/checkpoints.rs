//! Checkpoints beside training: which stay, and jobs that start from another's.

use kindred_ipc::{FromRank, Start, ToRank, Wire};
use kindred_proto::{
    ids::{CheckpointId, Generation, JobId, Step},
    v1,
};

use crate::{
    agent::{Heard, Reaction, play, play_as_usual},
    job::{N_STEPS, TestJob},
    training::final_state,
};

/// The checkpoint that a rank committed after a step.
fn committed(heard: &Heard, step: u64) -> v1::Checkpoint {
    let committed = heard.messages.iter().filter_map(|message| match message {
        FromRank::Committed(checkpoint) => Some(&checkpoint.0),
        _ => None,
    });
    committed.into_iter().find(|checkpoint| checkpoint.step == step).expect("it was committed").clone()
}

/// Orders for another job that starts from a checkpoint of `job-1`.
fn fork(job: &TestJob, source: &v1::Checkpoint) -> Vec<Start> {
    let mut starts = job.starts(1);
    for start in &mut starts {
        start.job_id = JobId::new("job-2");
        start.resume_from = Some(Wire(source.clone()));
    }
    starts
}

#[test]
fn what_the_coordinator_lets_go_of_is_removed_while_training_goes_on() {
    let job = TestJob::new(1).with("recipe.checkpoint.every_steps=2");
    let heard = &play(job.starts(1), |_, message| match message {
        FromRank::Committed(checkpoint) if checkpoint.0.step == 4 => {
            Reaction::Say(ToRank::Keep { checkpoints: vec![CheckpointId::of(Step(4), Generation(1))] })
        }
        _ => Reaction::Usual,
    })[0];
    heard.result();
    assert_eq!(heard.committed(), [2, 4, 6, 8]);
    let names = [4, 6, 8].map(|step| format!("step-{step:012}-g1"));
    assert_eq!(job.checkpoints(), names);
}

#[test]
fn a_fork_goes_on_from_another_jobs_checkpoint_to_the_same_bits() {
    for n_ranks in [1, 2] {
        let source = TestJob::new(n_ranks);
        let heard = play_as_usual(source.starts(1));
        let job = TestJob::new(n_ranks);
        let forked = &play_as_usual(fork(&job, &committed(&heard[0], 4)))[0];
        let result = forked.result();
        assert_eq!(forked.series("loss")[0].0, 5, "no step is taken twice");
        assert!(result.metrics.contains_key("knn_random_encoder_percent"), "measured by the source");
        assert_eq!(job.checkpoints(), [format!("step-{N_STEPS:012}-g1")]);
        assert!(final_state(&source) == final_state(&job));
        assert_eq!(source.checkpoints().len(), 2, "the source keeps its own");
    }
}

#[test]
fn a_fork_may_change_what_leaves_the_tensors_as_they_are() {
    let source = TestJob::new(1);
    let checkpoint = committed(&play_as_usual(source.starts(1))[0], 4);
    let job = TestJob::new(1).with("recipe.optimizer.sgd.lr=0.01").with("recipe.training.epochs=3");
    let heard = &play_as_usual(fork(&job, &checkpoint))[0];
    heard.result();
    assert_eq!(
        heard.series("loss").iter().map(|point| point.0).collect::<Vec<_>>(),
        (5..=12).collect::<Vec<_>>()
    );
    let other = TestJob::new(1).with("recipe.method.sce.queue_size=24");
    let heard = &play_as_usual(fork(&other, &checkpoint))[0];
    let failure = heard.failure();
    assert_eq!(failure.reason(), v1::FailureReason::CheckpointUnreadable);
    assert!(failure.message.contains("has shape"), "{}", failure.message);
}

#[test]
fn a_fork_whose_source_is_on_none_of_its_nodes_does_not_begin_anew() {
    let source = TestJob::new(1);
    let checkpoint = committed(&play_as_usual(source.starts(1))[0], 4);
    let elsewhere = v1::Checkpoint { path: "/elsewhere".into(), node_id: "node-9".into(), ..checkpoint };
    let heard = &play_as_usual(fork(&TestJob::new(1), &elsewhere))[0];
    let failure = heard.failure();
    assert_eq!(failure.reason(), v1::FailureReason::CheckpointUnreadable);
    assert!(failure.message.contains("/elsewhere on node node-9"), "{}", failure.message);
}

/// A process that was started long ago and comes up when others have gone on.
#[test]
fn a_process_of_the_first_generation_leaves_the_checkpoints_of_newer_ones_alone() {
    let job = TestJob::new(1);
    play_as_usual(job.starts(2))[0].result();
    let checkpoints = job.checkpoints();
    let heard = &play_as_usual(job.starts(1))[0];
    let failure = heard.failure();
    assert_eq!(failure.reason(), v1::FailureReason::StaleGeneration);
    assert!(failure.message.contains("step-000000000008-g2"), "{}", failure.message);
    assert_eq!(job.checkpoints(), checkpoints);
}

/// Where losses are frequent, checkpoints are due after every step from the tenth on, when their cost is first known. What the
/// ranks hold is compared after every step.
#[test]
fn a_derived_interval_is_as_short_as_losses_are_frequent() {
    let job = TestJob::new(2)
        .with("recipe.training.epochs=4")
        .with("recipe.checkpoint={derived: {hours_between_losses: 1.0e-9}, compare_every_steps: 1}");
    let heard = play_as_usual(job.starts(1));
    assert_eq!(heard[0].committed(), (10..=16).collect::<Vec<_>>());
}

/// Where they are not, what the job has met tells how soon: one loss for each millisecond of training.
#[test]
fn a_derived_interval_knows_what_the_job_has_met() {
    let spec = "recipe.checkpoint={derived: {}}";
    let job = TestJob::new(1).with("recipe.training.epochs=4").with(spec);
    assert_eq!(play_as_usual(job.starts(1))[0].committed(), [10, 16]);
    let job = TestJob::new(1).with("recipe.training.epochs=4").with(spec);
    let mut starts = job.starts(1);
    starts[0].n_losses = u32::MAX;
    assert_eq!(play_as_usual(starts)[0].committed(), (10..=16).collect::<Vec<_>>());
}
