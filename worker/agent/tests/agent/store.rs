//! Store operations of a rank, on their way to the coordinator and back.

use crate::cluster::{Coordinator, Node, run};

#[tokio::test]
async fn operations_and_their_faults_pass_through() {
    let coordinator = Coordinator::start().await;
    let _node = Node::start(coordinator.address);
    let script = "set:key=value get:key check:key check:other get-soon:other add:key train await-stop";
    coordinator.order(vec![run(1, 0, script)]);
    coordinator.line("store:value:0:false").await;
    coordinator.line("store::0:true").await;
    coordinator.line("store fault: timed out waiting for other").await;
    coordinator.line("store fault: generation is over: generation 2 is live").await;
}

#[tokio::test]
async fn a_get_outlives_a_restart_of_the_coordinator_and_a_check_never_fails() {
    let first = Coordinator::start().await;
    let node = Node::start(first.address);
    let gate = node.gate("gate");
    let script =
        format!("train gate:{} check:key add:key set:key=value get:key await-stop", gate.path().display());
    let order = run(1, 0, script);
    first.order(vec![order.clone()]);
    let held = gate.reached().await;
    let address = first.kill();
    drop(held);
    let second = Coordinator::start_at(address).await;
    second.order(vec![order]);
    second.line("store:value:0:false").await;
}
