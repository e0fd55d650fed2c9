//! Without a lease ranks train on; only commits wait.

use std::time::Duration;

use kindred_proto::v1::{self, RankState};

use crate::cluster::{Coordinator, Node, run};

fn has_committed(report: &v1::AgentReport) -> bool {
    report.ranks.iter().any(|rank| !rank.checkpoints.is_empty())
}

#[tokio::test]
async fn a_commit_is_allowed_at_once_under_a_lease() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    coordinator.order(vec![run(1, 0, "train commit:step-1-g1 await-stop")]);
    let report = coordinator.report(has_committed).await;
    assert_eq!(report.ranks[0].checkpoints[0].id, "step-1-g1");
}

#[tokio::test]
async fn a_commit_waits_while_the_lease_is_over() {
    const LEASE: Duration = Duration::from_millis(500);
    let coordinator = Coordinator::start().await;
    coordinator.orders.send_modify(|orders| orders.lease_ms = LEASE.as_millis() as u32);
    let node = Node::start(coordinator.address);
    let gate = node.gate("gate");
    let script = format!("train gate:{} commit:step-1-g1 await-stop", gate.path().display());
    coordinator.order(vec![run(1, 0, script)]);
    let held = gate.reached().await;
    coordinator.mute(true);
    tokio::time::sleep(LEASE * 2).await;
    drop(held);
    coordinator.line("asking").await;
    let n_seen = coordinator.n_seen();
    let later = coordinator.report_after(n_seen + 3, |_| true).await;
    assert!(!has_committed(&later), "committed without a lease");
    coordinator.mute(false);
    coordinator.report(has_committed).await;
    coordinator.line("allowed=true").await;
}

#[tokio::test]
async fn a_commit_of_a_rank_that_is_no_longer_ordered_is_refused() {
    let coordinator = Coordinator::start().await;
    let node = Node::start(coordinator.address);
    let gate = node.gate("gate");
    coordinator.order(vec![run(
        1,
        0,
        format!("train gate:{} commit:step-1-g1 await-stop", gate.path().display()),
    )]);
    let held = gate.reached().await;
    coordinator.order(vec![]);
    coordinator.report(|report| report.ranks.iter().any(|rank| rank.state() == RankState::Stopping)).await;
    drop(held);
    coordinator.line("allowed=false").await;
    coordinator.line("stop checkpoint=false").await;
}
