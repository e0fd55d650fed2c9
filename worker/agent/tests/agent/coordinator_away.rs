//! The coordinator goes and comes back; ranks train on and nothing is lost.

use kindred_proto::v1::RankState;

use crate::cluster::{Coordinator, Node, run};

#[tokio::test]
async fn what_happens_while_the_coordinator_is_away_is_told_when_it_is_back() {
    let first = Coordinator::start().await;
    let node = Node::start(first.address);
    let (before, after) = (node.gate("before"), node.gate("after"));
    let script = format!(
        "train point:1 point:2 gate:{} progress:4 point:3 point:4 line:while-away gate:{} finish:/encoder",
        before.path().display(),
        after.path().display()
    );
    let order = run(1, 0, script);
    first.order(vec![order.clone()]);
    let held = before.reached().await;
    let training = first.rank(1, RankState::Training).await;
    let address = first.kill();
    drop(held);
    let held = after.reached().await;
    let second = Coordinator::start_at(address).await;
    second.order(vec![order]);
    second.line("while-away").await;
    assert_eq!(second.steps(), [1, 2, 3, 4], "points that were not acknowledged come again, and none twice");
    let back = second.rank(1, RankState::Training).await;
    assert_eq!(back.pid, training.pid, "the rank trained on");
    assert_eq!(back.progress.expect("newest progress").step, 4);
    drop(held);
    second.rank(1, RankState::Finished).await;
}

#[tokio::test]
async fn acknowledged_telemetry_is_not_sent_again() {
    let first = Coordinator::start().await;
    let node = Node::start(first.address);
    let gate = node.gate("gate");
    let order = run(1, 0, format!("train point:1 gate:{} point:2 await-stop", gate.path().display()));
    first.order(vec![order.clone()]);
    let held = gate.reached().await;
    let report = first.report(|report| report.telemetry.iter().any(|batch| !batch.points.is_empty())).await;
    let sequence = report.telemetry.last().expect("it has one").sequence;
    first.orders.send_modify(|orders| orders.telemetry_acknowledged = sequence);
    // Two more reports: the acknowledgement was read before the second was made.
    first.report_after(first.n_seen() + 2, |_| true).await;
    let second = Coordinator::start_at(first.kill()).await;
    second.order(vec![order]);
    drop(held);
    second.report(|report| report.telemetry.iter().any(|batch| !batch.points.is_empty())).await;
    assert_eq!(second.steps(), [2]);
}
