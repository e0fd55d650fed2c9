//! Clients that submit one job after the other, and note which ones were acknowledged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kindred_proto::{
    failure::{self, Kind},
    job_spec,
    v1::{self, job_service_client::JobServiceClient},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, transport::Channel};

use crate::pair::connect;

/// Between two looks at a job.
const PAUSE: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_millis(50);
const CALL_LIMIT: Duration = Duration::from_secs(2);

/// Ids of acknowledged jobs, by name.
pub type Acknowledged = Arc<Mutex<BTreeMap<String, String>>>;

/// Clients at work.
pub struct Load {
    pub acknowledged: Acknowledged,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Load {
    /// So many clients, each of which knows both addresses.
    pub fn start(n_clients: usize, addresses: &str) -> Self {
        let (acknowledged, stop) = (Acknowledged::default(), CancellationToken::new());
        let mut clients = JoinSet::new();
        for client in 0..n_clients {
            let addresses = addresses.split(',').map(str::to_owned).collect();
            let submitter = Submitter { addresses, asked: 0, channel: None };
            clients.spawn(submit_all(client, submitter, acknowledged.clone(), stop.clone()));
        }
        Self { acknowledged, stop, clients }
    }

    /// How many jobs were acknowledged so far.
    pub fn n_acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Lets each client finish its job; gives what was acknowledged.
    pub async fn stop(mut self) -> BTreeMap<String, String> {
        self.stop.cancel();
        while self.clients.join_next().await.is_some() {}
        std::mem::take(&mut self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn submit_all(
    client: usize,
    mut submitter: Submitter,
    acknowledged: Acknowledged,
    stop: CancellationToken,
) {
    for number in 0.. {
        if stop.is_cancelled() {
            return;
        }
        let name = format!("load-{client}-{number}");
        let job_id = submitter.submit(&spec(&name, "meet train progress:1 finish:/e")).await;
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(name, job_id.clone());
        submitter.wait_for(&job_id).await;
    }
}

type Client = JobServiceClient<Channel>;

/// A client that follows the leader.
pub struct Submitter {
    pub addresses: Vec<String>,
    pub asked: usize,
    pub channel: Option<Channel>,
}

impl Submitter {
    /// Submits until it is acknowledged, under one request id.
    pub async fn submit(&mut self, spec: &v1::JobSpec) -> String {
        let request_id = uuid::Uuid::new_v4().to_string();
        let request = v1::CreateJobRequest { spec: Some(spec.clone()), request_id, ..Default::default() };
        let create = |mut client: Client| {
            let request = request.clone();
            async move { client.create_job(request).await }
        };
        let answer = self.ask(create).await;
        answer.job.expect("the job is in the answer").id
    }

    /// Waits until a job is over.
    async fn wait_for(&mut self, job_id: &str) {
        let request = v1::GetJobRequest { job_id: job_id.to_owned() };
        let get = |mut client: Client| {
            let request = request.clone();
            async move { client.get_job(request).await }
        };
        loop {
            let answer = self.ask(get).await;
            if answer.job.expect("the job is in the answer").state().is_terminal() {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks whoever leads until there is an answer.
    async fn ask<T, Answer>(&mut self, question: impl Fn(Client) -> Answer) -> T
    where
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        loop {
            if let Some(channel) = self.channel().await {
                match timeout(CALL_LIMIT, question(Client::new(channel.clone()))).await {
                    Ok(Ok(answer)) => {
                        self.channel = Some(channel);
                        return answer.into_inner();
                    }
                    Ok(Err(status)) => self.note(&status),
                    Err(_) => {}
                }
            }
            sleep(RETRY).await;
        }
    }

    async fn channel(&mut self) -> Option<Channel> {
        if let Some(channel) = self.channel.take() {
            return Some(channel);
        }
        let connected = connect(&self.addresses[self.asked]).await.ok();
        if connected.is_none() {
            self.asked = (self.asked + 1) % self.addresses.len();
        }
        connected
    }

    /// Whom to ask next.
    fn note(&mut self, status: &Status) {
        if std::error::Error::source(status).is_some() {
            // The connection broke; whoever listens there now says more.
            return;
        }
        let failure = failure::from_status(status);
        assert_eq!(failure.kind(), Kind::Retryable, "{failure}");
        let named = failure.leader().and_then(|leader| self.addresses.iter().position(|it| it == leader));
        self.asked = named.unwrap_or((self.asked + 1) % self.addresses.len());
    }
}

/// A job of one rank that does what the script says (`worker/agent/examples/fake_rank.rs`).
pub fn spec(name: &str, script: &str) -> v1::JobSpec {
    let text = include_str!("../../deploy/jobs/sce-fashion-mnist.yaml");
    let overrides =
        [format!("name={name}"), "ranks=1".to_owned(), "recipe.training.global_batch=256".to_owned()];
    let mut spec = job_spec::from_yaml(text, &overrides).expect("the published job is valid");
    spec.labels.insert("script".to_owned(), script.to_owned());
    spec
}
