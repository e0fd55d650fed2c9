//! How ranks end when they are asked to, or when nobody is left to ask them.

use std::os::unix::process::ExitStatusExt;

use kindred_ipc::{FromRank, SOCKET_VARIABLE, StoreFault, StoreOperation, ToRank};
use kindred_proto::v1;

use crate::{
    agent::{Heard, Reaction, play, play_as_usual, program, progress_step},
    job::{N_STEPS, TestJob},
};

#[test]
fn without_an_agent_the_program_says_who_starts_it() {
    let output = program().env_remove(SOCKET_VARIABLE).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("started by kindred-worker"), "{text}");
}

#[test]
fn w1_a_rank_ends_when_its_agent_hangs_up() {
    let job = TestJob::new(1);
    let heard = &play(job.starts(1), |_, message| match progress_step(message) {
        Some(2) => Reaction::HangUp,
        _ => Reaction::Usual,
    })[0];
    assert_eq!(heard.status.signal(), Some(9));
    assert!(heard.committed().is_empty());
}

#[test]
fn all_ranks_stop_after_the_same_step_when_one_is_asked() {
    let job = TestJob::new(2);
    let heard = play(job.starts(1), |rank, message| match progress_step(message) {
        Some(2) if rank == 1 => Reaction::Say(ToRank::Stop { checkpoint: false }),
        _ => Reaction::Usual,
    });
    assert!(heard.iter().all(Heard::is_stopped));
    let last = |rank: &Heard| rank.messages.iter().filter_map(progress_step).max();
    assert_eq!(last(&heard[0]), last(&heard[1]));
    assert!(heard[0].committed().is_empty());
}

/// Measuring takes minutes where there are many images: nobody waits for its end.
#[test]
fn ranks_stop_while_they_measure() {
    for (step, n_committed) in [(0, 0), (N_STEPS, 1)] {
        let job = TestJob::of_idx_files(2)
            .with("recipe.checkpoint={every_steps: 100}")
            .with("recipe.evaluation.linear={preset: isd, epochs: 2000, batch: 8}");
        let heard = play(job.starts(1), |rank, message| match message {
            FromRank::Progress(progress)
                if rank == 1 && progress.0.step == step && progress.0.activity == "evaluating" =>
            {
                Reaction::Say(ToRank::Stop { checkpoint: false })
            }
            _ => Reaction::Usual,
        });
        assert!(heard.iter().all(Heard::is_stopped), "at step {step}: {:?}", heard[0].messages.last());
        assert_eq!(heard[0].committed().len(), n_committed, "at step {step}");
        assert!(heard[0].series("linear_accuracy_percent").is_empty(), "at step {step}");
    }
}

/// Measuring takes long enough for another generation to take this one's place.
#[test]
fn w1_a_superseded_rank_writes_no_encoder() {
    let job = TestJob::new(1);
    let heard = &play(job.starts(1), |_, message| match message {
        FromRank::StoreCall { call, operation: StoreOperation::CountKeys, .. } => {
            let outcome = Err(StoreFault::Superseded("generation 2 is live".into()));
            Reaction::Say(ToRank::StoreReply { call: *call, outcome })
        }
        _ => Reaction::Usual,
    })[0];
    assert!(heard.is_stopped(), "{:?}", heard.messages.last());
    assert_eq!(heard.committed(), [4, 8], "it was live when it asked for those");
    assert!(!job.job_dir().join("encoder").exists());
}

#[test]
fn a_rank_that_waits_for_the_others_stops_when_asked() {
    let job = TestJob::new(2);
    let mut starts = job.starts(1);
    starts.truncate(1);
    let heard = &play(starts, |_, message| match message {
        FromRank::StoreCall { operation: StoreOperation::Wait { .. }, .. } => {
            Reaction::Say(ToRank::Stop { checkpoint: false })
        }
        _ => Reaction::Usual,
    })[0];
    assert!(heard.is_stopped(), "{:?}", heard.messages.last());
}

#[test]
fn ranks_that_do_not_come_are_missed_in_time() {
    let job = TestJob::new(2);
    let mut starts = job.starts(1);
    starts.truncate(1);
    starts[0].meeting_timeout_ms = 200;
    let heard = &play_as_usual(starts)[0];
    assert_eq!(heard.failure().reason(), v1::FailureReason::MeetingTimeout);
    assert!(heard.failure().message.contains("started/1"), "{}", heard.failure().message);
}
