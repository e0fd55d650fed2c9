//! Stopping with streams open.

use std::time::Instant;

use kindred_coordinator::api::GRACE;
use kindred_proto::{failure::Reason, v1};
use tokio::time::timeout;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::fixture::{Coordinator, FakeAgent, PATIENCE, refusal};

#[tokio::test]
async fn open_streams_end_at_once_and_say_why() {
    let mut coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    agent.orders_when(|_| true).await;
    let job = coordinator.submit(2).await;
    let watch = v1::WatchJobRequest { job_id: job.id.clone(), ..Default::default() };
    let mut jobs = coordinator.jobs().watch_job(watch).await.expect("it exists").into_inner();
    jobs.message().await.expect("open").expect("the job as it is");
    let logs = v1::ReadLogsRequest { job_id: job.id, follow: true, ..Default::default() };
    let mut lines = coordinator.jobs().read_logs(logs).await.expect("it exists").into_inner();
    let mut health = HealthClient::new(coordinator.channel.clone());
    let mut states = health.watch(HealthCheckRequest::default()).await.expect("known").into_inner();

    let stopped_at = Instant::now();
    coordinator.shutdown.cancel();
    timeout(PATIENCE, &mut coordinator.served).await.expect("in time").expect("no panic").expect("no error");
    assert!(stopped_at.elapsed() < GRACE, "drained, not cut");

    let last = async |mut jobs: tonic::Streaming<v1::WatchJobResponse>| loop {
        match jobs.message().await {
            Ok(Some(_)) => {}
            ended => return ended,
        }
    };
    assert_eq!(refusal(last(jobs).await).reason, Reason::ShuttingDown);
    assert_eq!(refusal(lines.message().await).reason, Reason::ShuttingDown);
    let orders = async { while let Ok(Some(_)) = agent.orders.message().await {} };
    timeout(PATIENCE, orders).await.expect("the agent's stream ends");
    while let Ok(Some(_)) = states.message().await {}
}
