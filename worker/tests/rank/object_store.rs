//! Real ranks with a checkpoint store in a folder that two nodes share.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use kindred_ipc::{CheckpointStore, FromRank, Start, ToRank, Wire};
use kindred_proto::{
    ids::{CheckpointId, JobId},
    v1,
};
use tempfile::TempDir;

use crate::{
    agent::{Heard, Reaction, play, play_as_usual},
    job::{N_STEPS, TestJob},
    training::{final_state, stop_at},
};

/// A folder that nodes share.
struct Shared(TempDir);

impl Shared {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// The orders, with the store.
    fn with(&self, mut starts: Vec<Start>) -> Vec<Start> {
        for start in &mut starts {
            let url = format!("file://{}", self.0.path().display());
            start.checkpoint_store =
                Some(CheckpointStore { url, patience_ms: 5_000, stop_patience_ms: 5_000 });
        }
        starts
    }

    fn object(&self, checkpoint: &str, file: &str) -> PathBuf {
        self.0.path().join("job-1-17/checkpoints").join(checkpoint).join(file)
    }
}

/// The orders for a generation that starts from a checkpoint.
fn resumed(mut starts: Vec<Start>, from: &v1::Checkpoint) -> Vec<Start> {
    for start in &mut starts {
        start.resume_from = Some(Wire(from.clone()));
    }
    starts
}

fn committed(heard: &Heard) -> Vec<v1::Checkpoint> {
    let committed = heard.messages.iter().filter_map(|message| match message {
        FromRank::Committed(checkpoint) => Some(checkpoint.0.clone()),
        _ => None,
    });
    committed.collect()
}

fn warnings(heard: &[Heard]) -> Vec<String> {
    heard.iter().flat_map(Heard::warnings).collect()
}

#[test]
fn a_job_goes_on_to_the_same_bits_where_its_checkpoint_is_in_the_store_only() {
    for n_ranks in [1, 2] {
        let straight = TestJob::new(n_ranks);
        play_as_usual(straight.starts(1));
        let (shared, job, elsewhere) = (Shared::new(), TestJob::new(n_ranks), TestJob::new(n_ranks));
        let is_committed = AtomicBool::new(false);
        let heard = play(shared.with(job.starts(1)), |_, message| {
            is_committed.fetch_or(matches!(message, FromRank::Committed(_)), Relaxed);
            if is_committed.load(Relaxed) { Reaction::Kill } else { Reaction::Usual }
        });
        let newest = committed(&heard[0]).pop().expect("one is due after four steps");
        let url = format!("file://{}", shared.object(&newest.id, "").display());
        assert_eq!((newest.step, format!("{}/", newest.url)), (4, url));
        let second = play_as_usual(shared.with(resumed(elsewhere.starts(2), &newest)));
        second[0].result();
        assert_eq!(second[0].series("loss")[0].0, 5, "no step is taken twice");
        assert_eq!(warnings(&second), [""; 0]);
        let names = ["step-000000000004-g1".to_owned(), format!("step-{N_STEPS:012}-g2")];
        assert_eq!(elsewhere.checkpoints(), names, "what was fetched is as if it had been written there");
        assert!(final_state(&elsewhere) == final_state(&straight));
    }
}

#[test]
fn a_checkpoint_that_may_not_be_committed_is_none_in_the_store() {
    let (shared, job) = (Shared::new(), TestJob::new(1));
    let heard = &play(shared.with(job.starts(1)), |_, message| match message {
        FromRank::AskCommit { checkpoint } => {
            Reaction::Say(ToRank::MayCommit { checkpoint: checkpoint.clone(), allowed: false, for_ms: 0 })
        }
        _ => Reaction::Usual,
    })[0];
    assert!(heard.is_stopped());
    assert_eq!(job.checkpoints(), [""; 0]);
    let first = CheckpointId::of(kindred_proto::ids::Step(4), kindred_proto::ids::Generation(1));
    assert!(shared.object(first.as_str(), "state.safetensors").is_file());
    assert!(!shared.object(first.as_str(), "manifest.json").exists());
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_the_one_before_is_taken() {
    let (shared, job) = (Shared::new(), TestJob::new(1).with("recipe.checkpoint={every_steps: 2}"));
    let heard = &stop_with(&shared, &job, 6)[0];
    let mut all = committed(heard);
    let newest = all.pop().expect("one is due after each two steps");
    let before = all.pop().expect("it was stopped after three of them");
    fs::write(shared.object(&newest.id, "state.safetensors"), b"damaged").expect("it can be written");
    let elsewhere = TestJob::new(1).with("recipe.checkpoint={every_steps: 2}");
    let second = &play_as_usual(shared.with(resumed(elsewhere.starts(2), &newest)))[0];
    second.result();
    assert_eq!(second.series("loss")[0].0, before.step + 1);
    let warnings = second.warnings();
    assert!(warnings[0].contains("is damaged") && warnings[0].contains(&newest.url), "{warnings:?}");
}

/// Stops a job that has the store once it has taken so many steps.
fn stop_with(shared: &Shared, job: &TestJob, step: u64) -> Vec<Heard> {
    play(shared.with(job.starts(1)), |_, message| match message {
        FromRank::Progress(progress) if progress.0.step == step => {
            Reaction::Say(ToRank::Stop { checkpoint: true })
        }
        _ => Reaction::Usual,
    })
}

#[test]
fn a_checkpoint_that_is_nowhere_any_more_is_named_with_its_url() {
    let (shared, job) = (Shared::new(), TestJob::new(1));
    let newest = committed(&play_as_usual(shared.with(job.starts(1)))[0]).remove(0);
    fs::remove_dir_all(shared.object(&newest.id, "")).expect("it is there");
    let elsewhere = TestJob::new(1);
    let heard = &play_as_usual(resumed(elsewhere.starts(2), &newest))[0];
    let failure = heard.failure();
    assert_eq!(failure.reason(), v1::FailureReason::CheckpointUnreadable);
    assert!(failure.message.contains(&format!("nor at {}", newest.url)), "{}", failure.message);
}

#[test]
fn a_store_that_cannot_be_reached_is_a_fault_that_passes() {
    let (shared, job) = (Shared::new(), TestJob::new(1));
    let newest = committed(&play_as_usual(shared.with(job.starts(1)))[0]).remove(0);
    let folder = shared.object(&newest.id, "");
    let checkpoints: &Path = folder.parent().expect("it has one");
    fs::remove_dir_all(checkpoints).expect("it is there");
    fs::write(checkpoints, b"in the way").expect("there is room");
    let elsewhere = TestJob::new(1);
    let heard = &play_as_usual(resumed(elsewhere.starts(2), &newest))[0];
    let failure = heard.failure();
    assert_eq!(failure.reason(), v1::FailureReason::Unreachable, "{}", failure.message);
    assert!(failure.message.contains(&newest.url), "{}", failure.message);
}

#[test]
fn a_store_that_fails_is_said_with_its_url_and_training_goes_on() {
    let (shared, job) = (Shared::new(), TestJob::new(1));
    fs::write(shared.0.path().join("job-1-17"), b"in the way").expect("there is room");
    let heard = &play_as_usual(shared.with(job.starts(1)))[0];
    heard.result();
    let committed = committed(heard);
    assert_eq!(committed.iter().map(|it| (it.step, it.url.as_str())).collect::<Vec<_>>(), [(4, ""), (8, "")]);
    let (warnings, url) =
        (heard.warnings(), format!("file://{}/job-1-17/checkpoints", shared.0.path().display()));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().all(|it| it.contains("only on this node") && it.contains(&url)), "{warnings:?}");
    assert_eq!(job.checkpoints().len(), 2);
}

#[test]
fn a_fork_starts_from_another_jobs_checkpoint_in_the_store() {
    let (shared, source) = (Shared::new(), TestJob::new(1));
    let checkpoint = committed(&play_as_usual(shared.with(source.starts(1)))[0]).remove(0);
    fs::remove_dir_all(source.job_dir()).expect("it is there");
    let fork = TestJob::new(1);
    let mut starts = resumed(fork.starts(1), &checkpoint);
    starts[0].job_id = JobId::new("job-2");
    let heard = &play_as_usual(shared.with(starts))[0];
    heard.result();
    assert_eq!(heard.series("loss")[0].0, 5);
    let own = committed(heard).pop().expect("the last one");
    assert!(own.url.contains("/job-2-17/checkpoints/"), "{}", own.url);
    let straight = TestJob::new(1);
    assert!(stop_at(&straight, 1, N_STEPS + 1)[0].status.success());
    assert!(final_state(&fork) == final_state(&straight));
}
