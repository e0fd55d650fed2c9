//! A coordinator with its clients, and an agent that does what a test says.

use std::{net::SocketAddr, time::Duration};

use kindred_coordinator::{api, config::Config, engine, journal, telemetry::Telemetry};
use kindred_proto::{
    failure::{self, Failure, Reason},
    job_spec,
    v1::{
        self, agent_service_client::AgentServiceClient, job_service_client::JobServiceClient,
        node_service_client::NodeServiceClient,
    },
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};

/// Longest wait of any test for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A coordinator of a test's own.
pub struct Coordinator {
    pub address: SocketAddr,
    pub channel: Channel,
    pub shutdown: CancellationToken,
    pub served: JoinHandle<Result<(), api::Error>>,
    stop_engine: CancellationToken,
    _state: TempDir,
}

impl Coordinator {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// One with other settings than the defaults.
    pub async fn start_with(edit: impl FnOnce(&mut Config)) -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config::new(state.path());
        edit(&mut config);
        let telemetry = Telemetry::open(config.telemetry_file(), 1000).await.expect("a new file");
        let (handle, engine) =
            engine::start(&config, journal::Memory::default(), telemetry).await.expect("an empty journal");
        let stop_engine = CancellationToken::new();
        tokio::spawn(engine.run(stop_engine.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(api::serve(handle, listener, shutdown.clone()));
        let channel = Channel::builder(format!("http://{address}").parse().expect("an address"))
            .connect()
            .await
            .expect("it listens");
        Self { address, channel, shutdown, served, stop_engine, _state: state }
    }

    pub fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
    }

    pub fn nodes(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel.clone())
    }

    pub fn agents(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.channel.clone())
    }

    /// Submits a job of so many ranks.
    pub async fn submit(&self, ranks: u32) -> v1::Job {
        let request = v1::CreateJobRequest { spec: Some(spec(ranks)), ..Default::default() };
        let answer = self.jobs().create_job(request).await.expect("a valid job");
        answer.into_inner().job.expect("the job is in the answer")
    }

    /// A job of one rank that runs on the agent's device, and the orders for it.
    pub async fn running(&self, agent: &mut FakeAgent) -> (v1::Job, v1::AgentOrders) {
        let job = self.submit(1).await;
        let orders = agent.orders_when(|orders| orders.ranks.len() == 1).await;
        agent.say_all_are(&orders, v1::RankState::Training).await;
        let job = self.job_when(&job.id, |job| job.state() == v1::JobState::Running).await;
        (job, orders)
    }

    /// Watches until the job is as wanted.
    pub async fn job_when(&self, job_id: &str, is_wanted: impl Fn(&v1::Job) -> bool) -> v1::Job {
        let request = v1::WatchJobRequest { job_id: job_id.to_owned(), ..Default::default() };
        let mut jobs = self.jobs().watch_job(request).await.expect("the job exists").into_inner();
        let wanted = async {
            loop {
                let answer = jobs.message().await.expect("the stream holds").expect("the job has not ended");
                let job = answer.job.expect("the job is in the answer");
                if is_wanted(&job) {
                    return job;
                }
            }
        };
        timeout(PATIENCE, wanted).await.expect("the job gets there in time")
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.stop_engine.cancel();
    }
}

/// A small valid job.
pub fn spec(ranks: u32) -> v1::JobSpec {
    let text = include_str!("../../../deploy/jobs/sce-fashion-mnist.yaml");
    let overrides = [format!("ranks={ranks}"), "recipe.training.global_batch=256".to_owned()];
    job_spec::from_yaml(text, &overrides).expect("the published job is valid")
}

/// What a refused call says.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> Failure {
    failure::from_status(&answer.expect_err("the call is refused"))
}

/// An agent without ranks: it reports what a test tells it to.
pub struct FakeAgent {
    pub report: v1::AgentReport,
    pub orders: Streaming<v1::AgentOrders>,
    reports: mpsc::Sender<v1::AgentReport>,
}

impl FakeAgent {
    /// Joins with so many processors to compute on.
    pub async fn join(coordinator: &Coordinator, name: &str, n_devices: u32) -> Self {
        let device = |index| v1::Device { index, kind: v1::DeviceKind::Cpu.into(), ..Default::default() };
        let report = v1::AgentReport {
            protocol_version: 1,
            node_id: name.to_owned(),
            incarnation: format!("{name}-life-1"),
            node_name: name.to_owned(),
            agent_version: "test".to_owned(),
            data_address: "127.0.0.1".to_owned(),
            devices: (0..n_devices).map(device).collect(),
            ..Default::default()
        };
        Self::connect(coordinator, report).await
    }

    /// Opens a stream that starts with this report.
    pub async fn connect(coordinator: &Coordinator, report: v1::AgentReport) -> Self {
        let (reports, receiver) = mpsc::channel(8);
        reports.send(report.clone()).await.expect("there is room");
        let orders = coordinator.agents().connect(ReceiverStream::new(receiver)).await.expect("it listens");
        Self { report, orders: orders.into_inner(), reports }
    }

    /// Says what the agent observes now.
    pub async fn say(&mut self) {
        self.reports.send(self.report.clone()).await.expect("the stream is open");
    }

    /// Reports every ordered rank in this state.
    pub async fn say_all_are(&mut self, orders: &v1::AgentOrders, state: v1::RankState) {
        self.observe(orders, state);
        self.say().await;
    }

    /// Reports every ordered rank as failed for this reason.
    pub async fn say_all_failed(&mut self, orders: &v1::AgentOrders, reason: Reason) {
        self.observe(orders, v1::RankState::Failed);
        let failure = Failure::new(reason, "the test says so");
        for rank in &mut self.report.ranks {
            rank.failure = Some((&failure).into());
        }
        self.say().await;
    }

    fn observe(&mut self, orders: &v1::AgentOrders, state: v1::RankState) {
        self.report.ranks = orders.ranks.iter().map(|order| observed(order, state)).collect();
    }

    /// Reads orders until some are as wanted.
    pub async fn orders_when(&mut self, is_wanted: impl Fn(&v1::AgentOrders) -> bool) -> v1::AgentOrders {
        let wanted = async {
            loop {
                let orders = self.orders.message().await.expect("the stream holds").expect("it stays open");
                if is_wanted(&orders) {
                    return orders;
                }
            }
        };
        timeout(PATIENCE, wanted).await.expect("the orders come in time")
    }
}

fn observed(order: &v1::OrderedRank, state: v1::RankState) -> v1::ObservedRank {
    let is_first = order.rank == 0;
    let result = v1::JobResult {
        metrics: [("knn_accuracy_percent".to_owned(), 84.5)].into(),
        encoder_path: "/jobs/encoder.safetensors".to_owned(),
        ..Default::default()
    };
    let progress = v1::Progress { step: 3, total_steps: 4, loss: 5.5, ..Default::default() };
    v1::ObservedRank {
        job_id: order.job_id.clone(),
        generation: order.generation,
        rank: order.rank,
        state: state.into(),
        progress: Some(progress),
        began_at_step: (!matches!(state, v1::RankState::Starting | v1::RankState::Meeting)).then_some(0),
        result: (is_first && state == v1::RankState::Finished).then_some(result),
        ..Default::default()
    }
}
