//! Ranks that end badly, and agents that end.

use std::path::Path;

use kindred_agent::Error;
use kindred_proto::{
    failure::{Failure, Reason},
    v1::{self, FailureKind, FailureReason, RankState, ordered_rank::Action, stall::Section},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::cluster::{Coordinator, DEADLINE, Node, gone, run};

async fn failure_of(script: &str) -> kindred_proto::v1::Failure {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    coordinator.order(vec![run(1, 0, script)]);
    coordinator.rank(1, RankState::Failed).await.failure.expect("says why")
}

#[tokio::test]
async fn a_killed_rank_is_a_failure_that_names_rank_node_and_signal() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    coordinator.order(vec![run(1, 0, "eprint:last-words train await-stop")]);
    let training = coordinator.rank(1, RankState::Training).await;
    coordinator.line("last-words").await;
    let pid = Pid::from_raw(training.pid as i32).expect("not zero");
    kill_process(pid, Signal::KILL).expect("the rank is there");
    let failure = coordinator.rank(1, RankState::Failed).await.failure.expect("says why");
    assert_eq!((failure.reason(), failure.kind()), (FailureReason::RankExited, FailureKind::Retryable));
    assert!(
        failure.message.starts_with("rank 0 on node-a ended by signal 9 (SIGKILL)"),
        "{}",
        failure.message
    );
    assert!(failure.message.ends_with("last-words"), "{}", failure.message);
    assert_eq!(failure.rank, Some(0));
    assert!(failure.node_id.starts_with("node-"), "{}", failure.node_id);
}

#[tokio::test]
async fn a_rank_that_aborts_or_exits_is_a_failure() {
    let aborted = failure_of("train abort").await.message;
    assert!(aborted.contains("signal 6 (SIGABRT)"), "{aborted}");
    let exited = failure_of("train exit:3").await.message;
    assert!(exited.contains("code 3"), "{exited}");
    let starved = failure_of("train exit:137").await.message;
    assert!(starved.contains("memory"), "{starved}");
}

#[tokio::test]
async fn what_a_rank_says_of_its_failure_counts() {
    let failure = failure_of("train fail:loss-is-not-finite exit:1").await;
    assert_eq!((failure.message.as_str(), failure.rank), ("loss-is-not-finite", Some(0)));
}

#[tokio::test]
async fn noise_on_the_socket_is_a_failure() {
    let message = failure_of("train noise hang").await.message;
    assert!(message.contains("broke the protocol"), "{message}");
}

#[tokio::test]
async fn a_rank_that_says_nothing_for_too_long_is_hung_and_killed_at_once() {
    let coordinator = Coordinator::start().await;
    coordinator.orders.send_modify(|orders| orders.hang_grace_ms = 500);
    let _node = Node::start(coordinator.address);
    coordinator.order(vec![run(1, 0, "train hang")]);
    let training = coordinator.rank(1, RankState::Training).await;
    let failure = coordinator.rank(1, RankState::Failed).await.failure.expect("says why");
    assert_eq!((failure.reason(), failure.kind()), (FailureReason::RankHung, FailureKind::Retryable));
    assert_eq!(failure.message, "rank 0 on node-a said nothing for 0.5 s: it is hung, and was killed");
    gone(training.pid).await;
}

#[tokio::test]
async fn a_rank_that_hangs_in_a_step_is_reported_and_killed_when_the_coordinator_says_so() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    let order = run(1, 0, "train stall:3000 hang");
    coordinator.order(vec![order.clone()]);
    let report = coordinator.report(|report| report.ranks.iter().any(|rank| rank.stall.is_some())).await;
    let (pid, stall) = (report.ranks[0].pid, report.ranks[0].stall.expect("it is slow"));
    assert_eq!((stall.section(), stall.for_ms, stall.step), (Section::Data, 3_000, 7));
    let kill_reason = "was waiting for images for 12.0 s".to_owned();
    coordinator.order(vec![v1::OrderedRank { action: Action::Kill.into(), kill_reason, ..order }]);
    let failure = coordinator.rank(1, RankState::Failed).await.failure.expect("says why");
    assert_eq!(failure.reason(), FailureReason::RankHung);
    assert_eq!(failure.message, "rank 0 on node-a was waiting for images for 12.0 s");
    gone(pid).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let coordinator = Coordinator::start().await;
    let _node =
        Node::start_with(coordinator.address, |config| config.rank_program = "/nowhere/kindred-rank".into());
    coordinator.order(vec![run(1, 0, "train")]);
    let failure = coordinator.rank(1, RankState::Failed).await.failure.expect("says why");
    assert!(failure.message.contains("/nowhere/kindred-rank"), "{}", failure.message);
}

#[tokio::test]
async fn no_rank_outlives_an_agent_that_is_dropped() {
    let coordinator = Coordinator::start().await;
    let node = Node::start(coordinator.address);
    coordinator.order(vec![run(1, 0, "train hang")]);
    let training = coordinator.rank(1, RankState::Training).await;
    assert!(Path::new(&format!("/proc/{}", training.pid)).exists());
    drop(node);
    gone(training.pid).await;
}

#[tokio::test]
async fn an_agent_that_is_asked_to_leave_says_so_and_stops_its_ranks_with_a_checkpoint() {
    let coordinator = Coordinator::start().await;
    let mut node = Node::start(coordinator.address);
    coordinator.order(vec![run(1, 0, "train await-stop")]);
    let training = coordinator.rank(1, RankState::Training).await;
    node.shutdown.cancel();
    let ended = timeout(DEADLINE, &mut node.task).await.expect("it leaves");
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    gone(training.pid).await;
    coordinator.line("stop checkpoint=true").await;
    let is_stopped = coordinator.report(|report| {
        report.leaving && report.ranks.iter().any(|rank| rank.state() == RankState::Stopped)
    });
    is_stopped.await;
}

#[tokio::test]
async fn an_agent_that_is_refused_stops_its_ranks_and_ends_with_the_reason() {
    let coordinator = Coordinator::start().await;
    let mut node = Node::start(coordinator.address);
    coordinator.order(vec![run(1, 0, "train await-stop")]);
    let training = coordinator.rank(1, RankState::Training).await;
    let refusal = Failure::new(Reason::ProtocolVersionUnsupported, "version 1 is not spoken here");
    coordinator.orders.send_modify(|orders| orders.refusal = Some((&refusal).into()));
    let ended = timeout(DEADLINE, &mut node.task).await.expect("it ends");
    match ended {
        Ok(Err(Error::Refused(why))) => assert_eq!(why, refusal),
        other => panic!("{other:?}"),
    }
    gone(training.pid).await;
}
