//! A coordinator that does not lead: it says who does, and nothing else.

use kindred_coordinator::api;
use kindred_proto::{
    failure::Reason,
    v1::{
        self, agent_service_client::AgentServiceClient, job_service_client::JobServiceClient,
        node_service_client::NodeServiceClient,
    },
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    cli::{kindred, text},
    fixture::{Coordinator, PATIENCE, refusal},
};

/// A follower that is told who leads, its address, and a way to it.
async fn follower() -> (watch::Sender<Option<String>>, String, Channel, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let ((said, leader), over) = (watch::channel(None), CancellationToken::new());
    tokio::spawn(api::follow(listener, leader, None, over.clone()));
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address").connect().await;
    (said, address, channel.expect("it listens"), over)
}

#[tokio::test]
async fn every_call_is_refused_with_the_leaders_address() {
    let (said, _, channel, over) = follower().await;
    let mut jobs = JobServiceClient::new(channel.clone());
    let alone = refusal(jobs.list_jobs(v1::ListJobsRequest::default()).await);
    assert_eq!((alone.reason, alone.leader()), (Reason::NotLeader, None));

    said.send_replace(Some("10.0.0.2:7460".to_owned()));
    let mut nodes = NodeServiceClient::new(channel.clone());
    let mut agents = AgentServiceClient::new(channel);
    let reports = tokio_stream::once(v1::AgentReport::default());
    let refusals = [
        refusal(jobs.create_job(v1::CreateJobRequest::default()).await),
        refusal(jobs.watch_job(v1::WatchJobRequest::default()).await),
        refusal(nodes.list_nodes(v1::ListNodesRequest::default()).await),
        refusal(agents.connect(reports).await),
        refusal(agents.store(v1::StoreRequest::default()).await),
    ];
    for refusal in refusals {
        assert_eq!(refusal.leader(), Some("10.0.0.2:7460"), "{refusal}");
    }
    over.cancel();
    let gone = async { while jobs.list_jobs(v1::ListJobsRequest::default()).await.is_ok() {} };
    timeout(PATIENCE, gone).await.expect("nobody listens there any more");
}

#[tokio::test]
async fn it_is_well_and_serves_nothing() {
    let (_said, _, channel, _over) = follower().await;
    let mut health = HealthClient::new(channel);
    let mut check = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        health.check(request).await.expect("known").into_inner().status()
    };
    assert_eq!(check("").await, ServingStatus::Serving);
    for service in ["kindred.v1.JobService", "kindred.v1.NodeService", "kindred.v1.AgentService"] {
        assert_eq!(check(service).await, ServingStatus::NotServing, "{service}");
    }
}

#[tokio::test]
async fn the_command_line_goes_to_the_leader() {
    let leader = Coordinator::start().await;
    let (said, address, _, _over) = follower().await;
    said.send_replace(Some(leader.address.to_string()));
    let nodes = kindred(&address, &["nodes"]).await;
    assert_eq!(nodes.status.code(), Some(0), "{}", text(&nodes.stderr));
    let listed = kindred(&format!("127.0.0.1:1,{address}"), &["jobs"]).await;
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
}
