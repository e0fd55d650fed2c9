//! Pins, as people and agents see them.

use kindred_proto::v1::{self, RankState};

use crate::{
    cli::{kindred, text},
    fixture::{Coordinator, FakeAgent},
};

/// A job of one rank that has committed a checkpoint after step 3, its agent and its orders.
async fn with_checkpoint(coordinator: &Coordinator) -> (FakeAgent, v1::Job) {
    let mut agent = FakeAgent::join(coordinator, "node-a", 1).await;
    let job = coordinator.submit(1).await;
    let orders = agent.orders_when(|orders| orders.ranks.len() == 1).await;
    agent.say_all_are(&orders, RankState::Training).await;
    agent.report.ranks[0].checkpoints.push(v1::Checkpoint {
        id: "step-000000000003-g1".into(),
        job_id: job.id.clone(),
        generation: 1,
        step: 3,
        node_id: "node-a".into(),
        path: "/jobs/job-1/checkpoints/step-000000000003-g1".into(),
        ..Default::default()
    });
    agent.say().await;
    coordinator.job_when(&job.id, |job| job.newest_checkpoint.is_some()).await;
    (agent, job)
}

#[tokio::test]
async fn a_checkpoint_is_pinned_and_agents_are_told_what_stays() {
    let coordinator = Coordinator::start().await;
    let address = coordinator.address.to_string();
    let (mut agent, job) = with_checkpoint(&coordinator).await;
    let kept = |orders: &v1::AgentOrders| orders.ranks.iter().any(|rank| rank.kept_checkpoints.len() == 1);
    agent.orders_when(kept).await;
    let pin = kindred(&address, &["checkpoints", "pin", &job.id, "step-000000000003-g1"]).await;
    assert_eq!(text(&pin.stdout), "step-000000000003-g1 of job-1 is pinned\n", "{}", text(&pin.stderr));
    let list = text(&kindred(&address, &["checkpoints", &job.id]).await.stdout);
    assert!(list.contains("PINNED") && list.contains(" yes "), "{list}");
    let unpin = kindred(&address, &["checkpoints", "unpin", &job.id, "step-000000000003-g1"]).await;
    assert!(text(&unpin.stdout).ends_with("is left to the job's policy\n"), "{}", text(&unpin.stdout));
    let unknown = kindred(&address, &["checkpoints", "pin", &job.id, "step-000000000009-g1"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("job-1 has no checkpoint step-000000000009-g1"));
}
