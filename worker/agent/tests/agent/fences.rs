//! What a process says late, of a generation that it has left, is nothing of the one that it has joined.

use kindred_proto::v1::{self, RankState};

use crate::cluster::{Coordinator, Node, run};

fn n_committed(report: &v1::AgentReport) -> usize {
    report.ranks.iter().map(|rank| rank.checkpoints.len()).sum()
}

#[tokio::test]
async fn what_a_process_says_of_its_older_generation_does_not_count_for_the_newer_one() {
    let coordinator = Coordinator::start().await;
    let node = Node::start(coordinator.address);
    let (late, met) = (node.gate("late"), node.gate("met"));
    let (late_path, met_path) = (late.path().display(), met.path().display());
    let script = format!(
        "train:3 gate:{late_path} train:3 point:6 commit:step-6-g1 await-regroup \
         meet gate:{met_path} train:7 point:8 commit:step-8-g2 await-stop"
    );
    coordinator.order(vec![run(1, 0, script.clone())]);
    let held = late.reached().await;
    assert_eq!(coordinator.rank(1, RankState::Training).await.began_at_step, Some(3));
    coordinator.order(vec![run(2, 0, script)]);
    assert_eq!(coordinator.rank(2, RankState::Starting).await.began_at_step, None);

    drop(held);
    coordinator.line("allowed=false").await;
    let held = met.reached().await;
    assert_eq!(coordinator.rank(2, RankState::Meeting).await.began_at_step, None);
    drop(held);
    coordinator.line("allowed=true").await;
    let training = coordinator.rank(2, RankState::Training).await;
    assert_eq!(training.began_at_step, Some(7));
    let report = coordinator.report(|report| n_committed(report) > 0).await;
    let ids: Vec<_> = report.ranks[0].checkpoints.iter().map(|checkpoint| checkpoint.id.as_str()).collect();
    assert_eq!(ids, ["step-8-g2"]);
    assert_eq!(coordinator.points().await, [(6, 1), (8, 2)], "each point keeps its generation");
}

#[tokio::test]
async fn a_commit_waits_until_the_coordinator_has_stored_where_the_generation_began() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    let order = run(1, 0, "train commit:step-1-g1 await-stop");
    coordinator.order(vec![v1::OrderedRank { hold_commits: true, ..order.clone() }]);
    coordinator.line("asking").await;
    let later = coordinator.report_after(coordinator.n_seen() + 3, |_| true).await;
    assert_eq!(n_committed(&later), 0);
    coordinator.order(vec![order]);
    coordinator.report(|report| n_committed(report) == 1).await;
}
