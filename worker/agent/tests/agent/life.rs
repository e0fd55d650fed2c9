//! A rank from its order to its outcome, and orders that change.

use std::time::Duration;

use kindred_proto::v1::{self, FailureReason, LogLevel, RankState};

use crate::cluster::{Coordinator, Node, gone, run, stop};

#[tokio::test]
async fn a_rank_starts_reports_and_finishes_and_is_then_forgotten() {
    let coordinator = Coordinator::start().await;
    let node = Node::start(coordinator.address);
    let gate = node.gate("gate");
    let script = format!(
        "meet train progress:7 point:7 line:own print:out eprint:err env:OMP_NUM_THREADS env:OMP_WAIT_POLICY \
         env:TORCH_NCCL_ASYNC_ERROR_HANDLING gate:{} finish:/encoder",
        gate.path().display()
    );
    coordinator.order(vec![run(1, 0, script)]);
    let held = gate.reached().await;
    let training = coordinator.report(|report| {
        report.ranks.iter().any(|rank| rank.progress.as_ref().is_some_and(|progress| progress.step == 7))
    });
    let training = training.await;
    assert_eq!(training.ranks[0].state(), RankState::Training);
    assert!(training.ranks[0].pid > 0);
    assert_eq!((training.node_name.as_str(), training.data_address.as_str()), ("node-a", "127.0.0.1"));
    assert_eq!(training.devices.len(), 2);
    drop(held);
    let finished = coordinator.rank(1, RankState::Finished).await;
    assert_eq!(finished.result.expect("rank 0 has a result").encoder_path, "/encoder");
    assert_eq!(coordinator.line("own").await.level(), LogLevel::Info);
    assert_eq!(coordinator.line("out").await.level(), LogLevel::Info);
    let error = coordinator.line("err").await;
    assert_eq!((error.level(), error.rank, error.generation), (LogLevel::Warn, Some(0), 1));
    assert_eq!(error.node_id, training.node_id);
    coordinator.line("OMP_NUM_THREADS=3").await;
    coordinator.line("OMP_WAIT_POLICY=PASSIVE").await;
    coordinator.line("TORCH_NCCL_ASYNC_ERROR_HANDLING=2").await;
    assert_eq!(coordinator.steps(), [7]);
    coordinator.order(vec![]);
    coordinator.report_after(coordinator.n_seen(), |report| report.ranks.is_empty()).await;
}

#[tokio::test]
async fn an_order_to_stop_is_passed_on_and_answered() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    let order = run(1, 0, "train await-stop");
    coordinator.order(vec![order.clone()]);
    let training = coordinator.rank(1, RankState::Training).await;
    coordinator.order(vec![stop(order)]);
    coordinator.rank(1, RankState::Stopped).await;
    coordinator.line("stop checkpoint=false").await;
    gone(training.pid).await;
}

#[tokio::test]
async fn an_order_to_stop_what_never_started_is_answered() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    coordinator.order(vec![stop(run(1, 0, "train"))]);
    assert_eq!(coordinator.rank(1, RankState::Stopped).await.pid, 0);
}

#[tokio::test]
async fn a_rank_that_hangs_on_stop_is_killed_after_the_grace_period() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start_with(coordinator.address, |config| config.grace = Duration::from_millis(200));
    coordinator.order(vec![run(1, 0, "train hang")]);
    let training = coordinator.rank(1, RankState::Training).await;
    coordinator.order(vec![]);
    coordinator.line("did not stop within 200 ms and was killed").await;
    gone(training.pid).await;
}

#[tokio::test]
async fn a_rank_goes_on_in_its_process_under_another_number_of_a_newer_generation() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    let order = run(1, 0, "train await-regroup await-stop");
    coordinator.order(vec![order.clone()]);
    let old = coordinator.rank(1, RankState::Training).await;
    let newer = v1::OrderedRank { generation: 2, rank: 1, ..order };
    coordinator.order(vec![newer.clone()]);
    let is_it = |rank: &v1::ObservedRank| (rank.generation, rank.rank, rank.pid) == (2, 1, old.pid);
    let report = coordinator.report(|report| report.ranks.iter().any(is_it)).await;
    assert_eq!(report.ranks.len(), 1, "{report:?}");
    coordinator.order(vec![stop(newer)]);
    coordinator.rank(2, RankState::Stopped).await;
    gone(old.pid).await;
}

#[tokio::test]
async fn a_superseded_rank_on_another_device_is_stopped_and_never_starts_again() {
    let coordinator = Coordinator::start().await;
    let node = Node::start(coordinator.address);
    let gate = node.gate("gate");
    coordinator.order(vec![run(1, 0, "train await-stop")]);
    let old = coordinator.rank(1, RankState::Training).await;
    coordinator.order(vec![run(2, 1, format!("train gate:{} await-stop", gate.path().display()))]);
    let _held = gate.reached().await;
    gone(old.pid).await;
    let n_seen = coordinator.n_seen();
    coordinator.order(vec![run(1, 0, "train await-stop")]);
    let is_stopping = |rank: &v1::ObservedRank| rank.generation == 2 && rank.state() == RankState::Stopping;
    let report = coordinator.report_after(n_seen, |report| report.ranks.iter().any(is_stopping)).await;
    assert!(
        report.ranks.iter().all(|rank| rank.generation == 2),
        "the old generation starts again: {report:?}"
    );
}

#[tokio::test]
async fn a_device_that_is_not_there_is_named() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    coordinator.order(vec![run(1, 7, "train")]);
    let failure = coordinator.rank(1, RankState::Failed).await.failure.expect("says why");
    assert_eq!(failure.reason(), FailureReason::DeviceUnavailable);
    assert!(failure.message.contains("CPU 7"), "{}", failure.message);
}

#[tokio::test]
async fn another_incarnation_keeps_the_node_id() {
    let coordinator = Coordinator::start().await;
    let node = Node::start(coordinator.address);
    let first = coordinator.report(|_| true).await;
    let config = node.config.clone();
    node.shutdown.cancel();
    coordinator.report(|report| report.leaving).await;
    let mut node = node;
    let ended = (&mut node.task).await;
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    let n_seen = coordinator.n_seen();
    let _second = tokio::spawn(kindred_agent::run(config, Default::default()));
    let second = coordinator.report_after(n_seen, |report| !report.leaving).await;
    assert_eq!(second.node_id, first.node_id);
    assert_ne!(second.incarnation, first.incarnation);
}
