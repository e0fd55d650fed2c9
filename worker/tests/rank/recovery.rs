//! What survives the loss of a rank: the other ranks' processes, with their state.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use kindred_ipc::{FromRank, ToRank};
use kindred_proto::{
    ids::{Generation, NodeId},
    v1::stall::Section,
};

use crate::{
    agent::{Heard, PATIENCE, Reaction, Thaw, play, play_as_usual, progress_step},
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

/// Rank 1 is stopped, so that rank 0 waits for it inside an operation; its connections stay up, as those of a host that is
/// cut off do. The order to meet another one takes rank 0 out of there, long before any time-out.
#[test]
fn the_order_to_meet_others_ends_what_waits_for_a_rank_that_is_silent() {
    let job = job();
    let (mut starts, next) = (job.starts(1), job.starts(2));
    starts.push(next[1].clone());
    for start in &mut starts {
        start.collective_timeout_ms = 10 * PATIENCE.as_millis() as u64;
        start.alive_interval_ms = 100;
    }
    let (is_frozen, is_told) = (AtomicBool::new(false), AtomicBool::new(false));
    let goes_on = Arc::<Thaw>::default();
    let heard = play(starts, |rank, message| match message {
        _ if rank == 1 && progress_step(message) == Some(3) && !is_frozen.swap(true, Ordering::SeqCst) => {
            Reaction::FreezeUntil(Arc::clone(&goes_on))
        }
        FromRank::Alive if rank == 0 && is_frozen.load(Ordering::SeqCst) => {
            match is_told.swap(true, Ordering::SeqCst) {
                false => Reaction::Say(ToRank::Regroup(Box::new(next[0].clone()))),
                true => Reaction::Usual,
            }
        }
        FromRank::Training { generation: Generation(2), .. } => {
            goes_on.now();
            Reaction::Usual
        }
        _ => Reaction::Usual,
    });
    heard[0].result();
    assert_eq!(steps_of(&heard[0]), (1..=N_STEPS).collect::<Vec<_>>(), "each step once");
    assert_eq!(heard[0].beginnings().len(), 2, "in one process");
}

/// Rank 1's images become pipes that nobody writes to: it waits for them, and rank 0 for it. Each says where it is.
#[test]
fn a_rank_that_hangs_in_a_step_says_where_and_its_peer_that_it_waits() {
    let lasting = |job: TestJob| {
        job.with("recipe.training.epochs=64")
            .with("recipe.evaluation={knn: {enabled: false}, linear: {enabled: false}}")
    };
    let (job, other) = (lasting(job()), lasting(job()));
    let mut starts = job.starts(1);
    starts[1].node_id = NodeId::new("node-2");
    (starts[1].data_root, starts[1].job_dir) = (other.data(), other.job_dir());
    let (is_hung, said_by) = (AtomicBool::new(false), AtomicU32::new(0));
    let heard = play(starts, |rank, message| match message {
        FromRank::Progress(_) if rank == 1 && progress_step(message) == Some(6) => {
            if !is_hung.swap(true, Ordering::SeqCst) {
                make_pipes(&other.data());
            }
            Reaction::Usual
        }
        FromRank::Stalled(Some(_)) => match said_by.fetch_or(1 << rank, Ordering::SeqCst) {
            // Both have said it.
            said if rank == 1 && said & 1 == 1 => Reaction::Kill,
            _ => Reaction::Usual,
        },
        _ => Reaction::Usual,
    });
    let slow = |heard: &Heard| {
        let stalls = heard.messages.iter().filter_map(|message| match message {
            FromRank::Stalled(Some(stall)) => Some(stall.0),
            _ => None,
        });
        stalls.into_iter().next().expect("it said so")
    };
    let (waits, hangs) = (slow(&heard[0]), slow(&heard[1]));
    assert_eq!((waits.section(), hangs.section()), (Section::Reduce, Section::Data));
    assert!(hangs.for_ms > hangs.limit_ms && hangs.limit_ms >= 2_000, "{hangs:?}");
}

fn make_pipes(data: &Path) {
    for class in fs::read_dir(data.join("train")).expect("it is there").flatten() {
        for image in fs::read_dir(class.path()).expect("a class").flatten() {
            fs::remove_file(image.path()).expect("it was there");
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, image.path(), kind, mode, 0).expect("pipes can be made");
        }
    }
}
