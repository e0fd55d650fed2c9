//! Jobs that were acknowledged outlast any number of crashes of the coordinator, over SQLite.
//!
//! `KINDRED_KILLS` of them (10): `make test-full` takes 200.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kindred_proto::v1::{self, job_service_client::JobServiceClient};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::fixture::{PATIENCE, spec};

const N_CLIENTS: usize = 16;

/// Between two jobs of a client, and between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

fn n_kills() -> usize {
    std::env::var("KINDRED_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// Ids of acknowledged jobs, by name.
type Acknowledged = Arc<Mutex<BTreeMap<String, String>>>;

#[tokio::test]
async fn no_acknowledged_job_is_lost_over_kills() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let address = free_address();
    let channel = Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy();
    let mut coordinator = start(state.path(), &address);
    let (acknowledged, stop) = (Acknowledged::default(), CancellationToken::new());
    let mut clients = JoinSet::new();
    for client in 0..N_CLIENTS {
        clients.spawn(submit_all(client, channel.clone(), acknowledged.clone(), stop.clone()));
    }
    for _ in 0..n_kills() {
        let before = n_acknowledged(&acknowledged);
        until(|| n_acknowledged(&acknowledged) > before).await;
        // Some way into its work, and into its snapshots, of which it makes many.
        sleep(Duration::from_millis(fastrand::u64(0..200))).await;
        coordinator.kill().await.expect("it runs");
        coordinator = start(state.path(), &address);
    }
    stop.cancel();
    while let Some(ended) = clients.join_next().await {
        ended.expect("no client panics");
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for job in all_jobs(&channel).await {
        known.entry(job.spec.expect("a spec").name).or_default().push(job.id);
    }
    println!("{} jobs were acknowledged over {} kills", acknowledged.len(), n_kills());
    for (name, job_id) in &acknowledged {
        assert_eq!(known.get(name), Some(&vec![job_id.clone()]), "{name}: acknowledged, and there once");
    }
}

fn n_acknowledged(acknowledged: &Acknowledged) -> usize {
    acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + 3 * PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "jobs are acknowledged");
        sleep(PAUSE).await;
    }
}

/// Nobody else takes it meanwhile, most likely.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

fn start(state: &Path, address: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kindred-coordinator"))
        .arg("--state")
        .arg(state)
        .args(["--listen", address, "--snapshot-every", "300"])
        .env("KINDRED_LOG", "warn")
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts")
}

async fn submit_all(client: usize, channel: Channel, acknowledged: Acknowledged, stop: CancellationToken) {
    for number in 0.. {
        if stop.is_cancelled() {
            return;
        }
        let name = format!("client-{client}-job-{number}");
        let job_id = submit(&channel, &name).await;
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(name, job_id);
        sleep(PAUSE).await;
    }
}

/// Submits one job until it is acknowledged.
async fn submit(channel: &Channel, name: &str) -> String {
    let spec = v1::JobSpec { name: name.to_owned(), ..spec(1) };
    let request_id = Uuid::new_v4().to_string();
    let request = v1::CreateJobRequest { spec: Some(spec), request_id, ..Default::default() };
    loop {
        let mut jobs = JobServiceClient::new(channel.clone());
        match timeout(PATIENCE, jobs.create_job(request.clone())).await.expect("an answer, or none in time") {
            Ok(answer) => return answer.into_inner().job.expect("the job is in the answer").id,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn all_jobs(channel: &Channel) -> Vec<v1::Job> {
    let mut client = JobServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let mut request = v1::ListJobsRequest { page_size: 1000, ..Default::default() };
    let mut jobs = vec![];
    loop {
        let page = client.list_jobs(request.clone()).await.expect("it answers").into_inner();
        jobs.extend(page.jobs);
        if page.next_page_token.is_empty() {
            return jobs;
        }
        request.page_token = page.next_page_token;
    }
}
