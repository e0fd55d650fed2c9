//! The agents' stream.

use kindred_proto::{
    failure::Reason,
    v1::{self, JobState, RankState},
};
use tokio::time::timeout;

use crate::fixture::{Coordinator, FakeAgent, PATIENCE, refusal};

#[tokio::test]
async fn every_report_is_answered() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let first = agent.orders_when(|_| true).await;
    assert_eq!(first.reports_seen, 1);
    assert!(first.lease_ms > first.report_interval_ms && first.report_interval_ms > 0);
    for n_reports in 2..=4 {
        agent.say().await;
        agent.orders_when(|orders| orders.reports_seen == n_reports).await;
    }
}

#[tokio::test]
async fn a_node_is_listed_with_what_it_said() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 2).await;
    agent.orders_when(|_| true).await;
    let listed = coordinator.nodes().list_nodes(v1::ListNodesRequest::default()).await.expect("listed");
    let nodes = listed.into_inner().nodes;
    assert_eq!((nodes.len(), nodes[0].name.as_str(), nodes[0].devices.len()), (1, "node-a", 2));
    assert_eq!(nodes[0].state(), v1::NodeState::Ready);
    let request = v1::GetNodeRequest { node_id: "node-a".into() };
    let node = coordinator.nodes().get_node(request).await.expect("listed").into_inner().node;
    assert_eq!(node.expect("set").data_address, "127.0.0.1");
}

#[tokio::test]
async fn a_protocol_that_nobody_speaks_is_refused() {
    let coordinator = Coordinator::start().await;
    let report = v1::AgentReport { node_id: "node-a".into(), incarnation: "a".into(), ..Default::default() };
    let mut agent = FakeAgent::connect(&coordinator, report).await;
    let orders = agent.orders_when(|_| true).await;
    let refusal = orders.refusal.expect("version 0 is unknown");
    assert_eq!(Reason::from(refusal.reason()), Reason::ProtocolVersionUnsupported);
    assert!(agent.orders.message().await.expect("ends cleanly").is_none());
}

#[tokio::test]
async fn a_newer_stream_of_the_same_node_takes_over() {
    let coordinator = Coordinator::start().await;
    let mut old = FakeAgent::join(&coordinator, "node-a", 1).await;
    old.orders_when(|_| true).await;
    let mut new = FakeAgent::connect(&coordinator, old.report.clone()).await;
    new.orders_when(|_| true).await;
    let ended = async { while let Ok(Some(_)) = old.orders.message().await {} };
    timeout(PATIENCE, ended).await.expect("the old stream ends");
}

#[tokio::test]
async fn a_rank_that_fails_by_the_user_fails_the_job() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let job = coordinator.submit(1).await;
    let orders = agent.orders_when(|orders| orders.ranks.len() == 1).await;
    agent.say_all_failed(&orders, Reason::DataNotFound).await;
    let ended = coordinator.job_when(&job.id, |job| job.state().is_terminal()).await;
    assert_eq!(ended.state(), JobState::Failed);
    assert_eq!(Reason::from(ended.failure.expect("it failed").reason()), Reason::DataNotFound);
}

#[tokio::test]
async fn telemetry_is_stored_once_and_acknowledged() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let job = coordinator.submit(1).await;
    let orders = agent.orders_when(|orders| orders.ranks.len() == 1).await;
    agent.say_all_are(&orders, RankState::Training).await;
    agent.report.telemetry = vec![v1::TelemetryBatch { sequence: 1, job_id: job.id.clone(), ..telemetry() }];
    for _ in 0..2 {
        agent.say().await;
        agent.orders_when(|orders| orders.telemetry_acknowledged == 1).await;
    }
    let request = v1::ListMetricsRequest { job_id: job.id.clone(), page_size: 2, ..Default::default() };
    let first = coordinator.jobs().list_metrics(request.clone()).await.expect("stored").into_inner();
    assert_eq!(first.points.iter().map(|point| point.step).collect::<Vec<_>>(), [1, 2]);
    let request = v1::ListMetricsRequest { page_token: first.next_page_token, ..request };
    let second = coordinator.jobs().list_metrics(request).await.expect("our own token").into_inner();
    assert_eq!(second.points.iter().map(|point| point.step).collect::<Vec<_>>(), [3]);
    let request =
        v1::ReadLogsRequest { job_id: job.id, min_level: v1::LogLevel::Warn.into(), ..Default::default() };
    let mut batches = coordinator.jobs().read_logs(request).await.expect("stored").into_inner();
    let mut messages = Vec::new();
    while let Some(batch) = batches.message().await.expect("ends cleanly") {
        messages.extend(batch.lines.into_iter().map(|line| line.message));
    }
    assert_eq!(messages, ["loss is high"]);
}

#[tokio::test]
async fn nothing_of_an_agent_that_was_replaced_is_stored() {
    let coordinator = Coordinator::start().await;
    let mut older = FakeAgent::join(&coordinator, "node-a", 1).await;
    let job = coordinator.submit(1).await;
    older.orders_when(|orders| orders.ranks.len() == 1).await;
    let newer = v1::AgentReport { incarnation: "node-a-life-2".into(), ..older.report.clone() };
    FakeAgent::connect(&coordinator, newer).await.orders_when(|_| true).await;
    let batch = v1::TelemetryBatch { sequence: 1, job_id: job.id.clone(), ..telemetry() };
    let late = v1::AgentReport { telemetry: vec![batch], ..older.report.clone() };
    let mut late = FakeAgent::connect(&coordinator, late).await;
    let ended = timeout(PATIENCE, late.orders.message()).await.expect("it is refused in time");
    assert_eq!(refusal(ended).reason, Reason::StaleGeneration);
    let request = v1::ListMetricsRequest { job_id: job.id, ..Default::default() };
    let points = coordinator.jobs().list_metrics(request).await.expect("the job exists").into_inner().points;
    assert_eq!(points, []);
}

fn telemetry() -> v1::TelemetryBatch {
    let point =
        |step| v1::MetricPoint { series: "loss".into(), step, generation: 1, value: 5.0, time_unix_ms: 1 };
    let line = |level: v1::LogLevel, message: &str| v1::LogLine {
        time_unix_ms: 1,
        level: level.into(),
        generation: 1,
        rank: Some(0),
        message: message.into(),
        ..Default::default()
    };
    v1::TelemetryBatch {
        points: (1..=3).map(point).collect(),
        lines: vec![line(v1::LogLevel::Info, "started"), line(v1::LogLevel::Warn, "loss is high")],
        ..Default::default()
    }
}
