//! The store through which ranks meet.

use kindred_proto::{
    failure::Reason,
    v1::{
        self, StoreRequest,
        store_request::{Add, Get, Operation, Set},
    },
};
use tonic::{Response, Status};

use crate::fixture::{Coordinator, FakeAgent, refusal};

/// A job whose first generation is live.
async fn live_job() -> (Coordinator, FakeAgent, v1::AgentOrders) {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    coordinator.submit(1).await;
    let orders = agent.orders_when(|orders| orders.ranks.len() == 1).await;
    (coordinator, agent, orders)
}

async fn run(
    coordinator: &Coordinator,
    rank: &v1::OrderedRank,
    operation: Operation,
) -> Result<Response<v1::StoreResponse>, Status> {
    let (job_id, generation) = (rank.job_id.clone(), rank.generation);
    let request = StoreRequest { job_id, generation, node_id: "node-a".into(), operation: Some(operation) };
    coordinator.agents().store(request).await
}

fn get(key: &str, timeout_ms: u32) -> Operation {
    Operation::Get(Get { key: key.into(), timeout_ms })
}

#[tokio::test]
async fn ranks_meet_through_the_store() {
    let (coordinator, _agent, orders) = live_job().await;
    let rank = &orders.ranks[0];
    let set = Operation::Set(Set { key: "rank/0".into(), value: b"127.0.0.1:4000".to_vec() });
    let (waited, stored) =
        tokio::join!(run(&coordinator, rank, get("rank/0", 10_000)), run(&coordinator, rank, set),);
    stored.expect("the generation is live");
    assert_eq!(waited.expect("the key came").into_inner().value, b"127.0.0.1:4000");
    let add = Operation::Add(Add { key: "arrived".into(), amount: 2 });
    assert_eq!(run(&coordinator, rank, add).await.expect("live").into_inner().number, 2);
    let failure = refusal(run(&coordinator, rank, get("rank/1", 50)).await);
    assert_eq!(failure.reason, Reason::StoreTimeout);
    assert!(failure.message.contains("rank/1"), "{failure}");
}

#[tokio::test]
async fn an_old_generation_is_told_that_it_is_over() {
    let (coordinator, mut agent, orders) = live_job().await;
    let rank = orders.ranks[0].clone();
    let end = agent.say_all_failed(&orders, Reason::RankExited);
    let (waited, ()) = tokio::join!(run(&coordinator, &rank, get("never", 15_000)), end);
    assert_eq!(refusal(waited).reason, Reason::StaleGeneration);
    let set = Operation::Set(Set { key: "late".into(), value: Vec::new() });
    assert_eq!(refusal(run(&coordinator, &rank, set).await).reason, Reason::StaleGeneration);
}

#[tokio::test]
async fn a_job_that_is_not_there_has_no_store() {
    let coordinator = Coordinator::start().await;
    let rank = v1::OrderedRank { job_id: "job-99".into(), generation: 1, ..Default::default() };
    let failure = refusal(run(&coordinator, &rank, get("key", 10)).await);
    assert!(matches!(failure.reason, Reason::JobNotFound | Reason::StaleGeneration), "{failure:?}");
}
