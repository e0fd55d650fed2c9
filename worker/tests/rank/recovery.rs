//! What survives the loss of a rank: the other ranks' processes, with their state.

use std::sync::atomic::{AtomicBool, Ordering};

use kindred_ipc::{FromRank, ToRank};

use crate::{
    agent::{Heard, Reaction, play, play_as_usual, progress_step},
    job::{N_STEPS, TestJob},
    training::final_state,
};

/// A job without a checkpoint before its end.
fn job() -> TestJob {
    TestJob::new(2).with("recipe.checkpoint={every_steps: 100}")
}

fn steps_of(heard: &Heard) -> Vec<u64> {
    heard.series("loss").iter().map(|point| point.0).collect()
}

/// Rank 1 is killed after its third step; rank 0 is told to meet another one.
#[test]
fn a_survivor_goes_on_in_its_process_and_ends_with_the_same_bits() {
    let straight = job();
    play_as_usual(straight.starts(1));
    let job = job();
    let (mut starts, next, was_killed) = (job.starts(1), job.starts(2), AtomicBool::new(false));
    starts.push(next[1].clone());
    let heard = play(starts, |rank, message| match message {
        FromRank::Parted(_) => Reaction::Say(ToRank::Regroup(Box::new(next[0].clone()))),
        _ if rank == 1 && progress_step(message) == Some(3) && !was_killed.swap(true, Ordering::SeqCst) => {
            Reaction::Kill
        }
        _ => Reaction::Usual,
    });
    heard[0].result();
    assert_eq!(steps_of(&heard[0]), (1..=N_STEPS).collect::<Vec<_>>(), "each step once");
    assert!(heard[0].messages.iter().any(|message| matches!(message, FromRank::Parted(_))));
    assert_eq!(heard[1].beginnings(), [(1, 0)]);
    let met_again = heard[2].beginnings();
    assert_eq!(heard[0].beginnings(), [(1, 0), met_again[0]], "both say where generation 2 goes on");
    assert!(
        (2, 3) <= met_again[0] && met_again[0] <= (2, 4),
        "at most the step in flight is repeated: {met_again:?}"
    );
    assert_eq!(job.checkpoints(), [format!("step-{N_STEPS:012}-g2")]);
    assert!(final_state(&job) == final_state(&straight));
}

/// Where no next generation comes, the rank says why it ends.
#[test]
fn a_survivor_that_nobody_regroups_fails_with_the_loss_of_its_peer() {
    let heard = play(job().starts(1), |rank, message| match progress_step(message) {
        Some(3) if rank == 1 => Reaction::Kill,
        _ => Reaction::Usual,
    });
    assert_eq!(heard[0].failure().reason(), kindred_proto::v1::FailureReason::PeerLost);
}
