//! Jobs that come to their end.

use std::{fs, path::Path, sync::Mutex, time::Duration};

use kindred_ipc::{FromRank, ToRank};
use kindred_worker::checkpoint::{STATE_FILE, newest_good};

use crate::{
    agent::{Heard, PATIENCE, Reaction, may_commit, play, play_as_usual, progress_step},
    job::{N_STEPS, TestJob},
};

/// Runs the ranks until `step`, has them write a checkpoint and stop.
pub fn stop_at(job: &TestJob, generation: u64, step: u64) -> Vec<Heard> {
    play(job.starts(generation), |_, message| {
        if progress_step(message) == Some(step) {
            Reaction::Say(ToRank::Stop { checkpoint: true })
        } else {
            Reaction::Usual
        }
    })
}

/// The tensors of the last checkpoint, as bytes.
pub fn final_state(job: &TestJob) -> Vec<u8> {
    let newest = job.checkpoints().pop().expect("a finished job has a checkpoint");
    assert!(newest.starts_with(&format!("step-{N_STEPS:012}-")), "{newest}");
    fs::read(job.checkpoint_file(&newest, STATE_FILE)).expect("it is readable")
}

#[test]
fn one_rank_trains_measures_and_leaves_an_encoder() {
    let job = TestJob::new(1);
    let heard = &play_as_usual(job.starts(1))[0];
    let result = heard.result();
    for name in [
        "knn_accuracy_percent",
        "knn_random_encoder_percent",
        "linear_accuracy_percent",
        "linear_random_encoder_percent",
    ] {
        assert!((0.0..=100.0).contains(&result.metrics[name]), "{name}: {:?}", result.metrics);
    }
    assert!(Path::new(&result.encoder_path).exists() && result.encoder_digest.len() == 64);
    assert_eq!(heard.committed(), [4, 8]);
    assert_eq!(job.checkpoints(), ["step-000000000004-g1", "step-000000000008-g1"]);
    let losses = heard.series("loss");
    assert_eq!(losses.iter().map(|point| point.0).collect::<Vec<_>>(), (1..=N_STEPS).collect::<Vec<_>>());
    for series in ["lr", "images_per_s", "data_wait_share", "alignment", "uniformity", "effective_rank"] {
        assert!(!heard.series(series).is_empty(), "{series}");
    }
    assert_eq!(heard.series("knn_accuracy_percent").iter().map(|point| point.0).collect::<Vec<_>>(), [4, 8]);
    assert_eq!(heard.warnings(), [""; 0]);
}

#[test]
fn two_ranks_train_as_one_job() {
    let job = TestJob::new(2);
    let heard = play_as_usual(job.starts(1));
    assert!(!heard[0].result().encoder_path.is_empty());
    assert_eq!(*heard[1].result(), Default::default());
    assert_eq!((heard[0].committed(), heard[1].committed()), (vec![4, 8], vec![]));
    assert!(heard[1].series("loss").is_empty(), "one rank speaks for all");
    for rank in &heard {
        assert_eq!(rank.messages.iter().filter_map(progress_step).max(), Some(N_STEPS));
        assert_eq!(rank.warnings(), [""; 0]);
    }
}

#[test]
fn raw_pixels_are_measured_where_all_images_have_one_size() {
    let heard = play_as_usual(TestJob::of_idx_files(2).starts(1));
    let accuracy = heard[0].result().metrics["knn_raw_pixels_percent"];
    assert!((0.0..=100.0).contains(&accuracy), "{accuracy}");
}

#[test]
fn c2_a_resumed_job_ends_with_the_same_bits() {
    let straight = TestJob::new(1);
    play_as_usual(straight.starts(1))[0].result();
    let resumed = TestJob::new(1);
    let first = &stop_at(&resumed, 1, 3)[0];
    assert!(first.is_stopped());
    let second = &play_as_usual(resumed.starts(2))[0];
    let result = second.result();
    assert_eq!(second.series("loss")[0].0, first.committed()[0] + 1, "no step is taken twice");
    assert_eq!((first.beginnings(), second.beginnings()), (vec![(1, 0)], vec![(2, first.committed()[0])]));
    assert!(result.metrics.contains_key("knn_random_encoder_percent"), "measured before the first step only");
    assert!(final_state(&straight) == final_state(&resumed));
}

#[test]
fn c2_two_ranks_resume_to_the_same_bits() {
    let straight = TestJob::new(2);
    play_as_usual(straight.starts(1));
    let resumed = TestJob::new(2);
    assert!(stop_at(&resumed, 1, 5).iter().all(Heard::is_stopped));
    play_as_usual(resumed.starts(2))[0].result();
    assert!(final_state(&straight) == final_state(&resumed));
}

#[test]
fn an_unreadable_checkpoint_costs_only_the_steps_since_the_one_before() {
    let straight = TestJob::new(1);
    play_as_usual(straight.starts(1));
    let job = TestJob::new(1);
    assert!(stop_at(&job, 1, 6)[0].is_stopped());
    let names = job.checkpoints();
    let damaged = job.checkpoint_file(&names[1], STATE_FILE);
    let mut bytes = fs::read(&damaged).expect("it is readable");
    bytes.truncate(bytes.len() / 2);
    fs::write(&damaged, bytes).expect("it is writable");
    let heard = &play_as_usual(job.starts(2))[0];
    heard.result();
    let warnings = heard.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains(&damaged.display().to_string()), "{warnings:?}");
    assert_eq!(heard.series("loss")[0].0, 5, "it goes on from step 4");
    assert!(final_state(&straight) == final_state(&job));
}

#[test]
fn steps_go_on_while_the_permission_to_commit_is_away() {
    let job = TestJob::new(1);
    // The writer asks when it is ready, which may be after the step that the answer waits for.
    let state = Mutex::new((None, false));
    let heard = &play(job.starts(1), |_, message| {
        let (asked, has_gone_on) = &mut *state.lock().expect("no thread panics");
        match message {
            FromRank::AskCommit { checkpoint } if asked.is_none() && !*has_gone_on => {
                *asked = Some(checkpoint.clone());
                Reaction::KeepSilent
            }
            message if progress_step(message) == Some(6) => {
                *has_gone_on = true;
                match asked.clone() {
                    Some(checkpoint) => Reaction::Say(may_commit(checkpoint, PATIENCE)),
                    None => Reaction::Usual,
                }
            }
            _ => Reaction::Usual,
        }
    })[0];
    heard.result();
    assert_eq!(heard.committed(), [4, 8]);
}

#[test]
fn a_permission_that_is_over_is_asked_for_again() {
    let job = TestJob::new(1);
    let asked = Mutex::new(Vec::new());
    let heard = &play(job.starts(1), |_, message| {
        let FromRank::AskCommit { checkpoint } = message else { return Reaction::Usual };
        let mut asked = asked.lock().expect("no thread panics");
        let is_first = !asked.contains(checkpoint);
        asked.push(checkpoint.clone());
        if is_first { Reaction::Say(may_commit(checkpoint.clone(), Duration::ZERO)) } else { Reaction::Usual }
    })[0];
    heard.result();
    assert_eq!(heard.committed(), [4, 8]);
    assert_eq!(
        asked.into_inner().expect("no thread panics").len(),
        4,
        "each checkpoint was asked about twice"
    );
}

#[test]
fn a_refused_checkpoint_leaves_nothing() {
    let job = TestJob::new(1);
    let heard = &play(job.starts(1), |_, message| match message {
        FromRank::AskCommit { checkpoint } => {
            Reaction::Say(ToRank::MayCommit { checkpoint: checkpoint.clone(), allowed: false, for_ms: 0 })
        }
        _ => Reaction::Usual,
    })[0];
    assert!(heard.is_stopped(), "{:?}", heard.messages.last());
    assert_eq!(job.checkpoints(), [""; 0]);
    assert!(newest_good(&job.job_dir().join("checkpoints")).expect("it can be listed").is_none());
}
