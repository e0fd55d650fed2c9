//! A coordinator that says what the test wants, an agent, and gates at which its ranks wait.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use kindred_agent::{Config, Error};
use kindred_proto::{
    failure::{Failure, Reason},
    v1::{
        self, RankState,
        agent_service_server::{AgentService, AgentServiceServer},
        store_request::Operation,
    },
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    runtime::Runtime,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Every wait of a test ends after so long, with a panic.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at what cannot be waited for.
const POLL: Duration = Duration::from_millis(10);

/// A coordinator on a runtime of its own, so that it can die with all its connections.
pub struct Coordinator {
    pub address: SocketAddr,
    pub orders: watch::Sender<v1::AgentOrders>,
    reports: watch::Receiver<Vec<v1::AgentReport>>,
    is_mute: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

impl Coordinator {
    pub async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (orders, _) = watch::channel(v1::AgentOrders {
            lease_ms: 10_000,
            report_interval_ms: 100,
            abort_grace_ms: 5_000,
            meeting_timeout_ms: 60_000,
            collective_timeout_ms: 60_000,
            ..Default::default()
        });
        let (seen, reports) = watch::channel(Vec::new());
        let (is_mute, _) = watch::channel(false);
        let service = Service {
            orders: orders.clone(),
            seen: Arc::new(seen),
            is_mute: is_mute.clone(),
            store: Arc::default(),
        };
        let serve = runtime.spawn(async move {
            let listener = timeout(DEADLINE, bind(address)).await.expect("the address becomes free");
            let address = listener.local_addr().expect("is bound");
            let server = tonic::transport::Server::builder().add_service(AgentServiceServer::new(service));
            tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
            address
        });
        let address = serve.await.expect("it listens");
        Self { address, orders, reports, is_mute, runtime: Some(runtime) }
    }

    /// Dies at once, connections and all.
    pub fn kill(mut self) -> SocketAddr {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.address
    }

    /// Orders these ranks and no others.
    pub fn order(&self, ranks: Vec<v1::OrderedRank>) {
        self.orders.send_modify(|orders| orders.ranks = ranks);
    }

    /// Whether reports are read but not answered.
    pub fn mute(&self, is_mute: bool) {
        self.is_mute.send_replace(is_mute);
    }

    /// Reports seen so far.
    pub fn n_seen(&self) -> usize {
        self.reports.borrow().len()
    }

    /// The first report from the n-th on that is as wanted.
    pub async fn report_after(
        &self,
        n: usize,
        is_wanted: impl Fn(&v1::AgentReport) -> bool,
    ) -> v1::AgentReport {
        let mut reports = self.reports.clone();
        let find =
            |reports: &Vec<v1::AgentReport>| reports.iter().skip(n).find(|report| is_wanted(report)).cloned();
        let found = timeout(DEADLINE, reports.wait_for(|reports| find(reports).is_some())).await;
        match found {
            Ok(Ok(reports)) => find(&reports).expect("it was there"),
            _ => panic!("no such report; the last one is {:#?}", self.reports.borrow().last()),
        }
    }

    pub async fn report(&self, is_wanted: impl Fn(&v1::AgentReport) -> bool) -> v1::AgentReport {
        self.report_after(0, is_wanted).await
    }

    /// The rank of this generation once it is in this state.
    pub async fn rank(&self, generation: u64, state: RankState) -> v1::ObservedRank {
        let is_it = |rank: &&v1::ObservedRank| rank.generation == generation && rank.state() == state;
        let report = self.report(|report| report.ranks.iter().any(|rank| is_it(&rank))).await;
        report.ranks.iter().find(is_it).expect("it is there").clone()
    }

    /// All telemetry so far, each batch once, in the order of its numbers.
    fn batches(reports: &[v1::AgentReport]) -> Vec<v1::TelemetryBatch> {
        let all = reports.iter().flat_map(|report| &report.telemetry);
        let unique: BTreeMap<_, _> = all.map(|batch| (batch.sequence, batch.clone())).collect();
        unique.into_values().collect()
    }

    /// Step and generation of two points, once they are there.
    pub async fn points(&self) -> Vec<(u64, u64)> {
        let mut reports = self.reports.clone();
        let find = |reports: &[v1::AgentReport]| -> Vec<(u64, u64)> {
            let points = Self::batches(reports).into_iter().flat_map(|batch| batch.points);
            points.map(|point| (point.step, point.generation)).collect()
        };
        let found = timeout(DEADLINE, reports.wait_for(|reports| find(reports).len() > 1)).await;
        find(&found.expect("the points come in time").expect("reports go on"))
    }

    pub fn steps(&self) -> Vec<u64> {
        let batches = Self::batches(&self.reports.borrow());
        batches.iter().flat_map(|batch| &batch.points).map(|point| point.step).collect()
    }

    /// The line with this text once it is there.
    pub async fn line(&self, text: &str) -> v1::LogLine {
        let mut reports = self.reports.clone();
        let find = |reports: &Vec<v1::AgentReport>| {
            let lines = Self::batches(reports).into_iter().flat_map(|batch| batch.lines);
            lines.into_iter().find(|line| line.message.contains(text))
        };
        let found = timeout(DEADLINE, reports.wait_for(|reports| find(reports).is_some())).await;
        match found {
            Ok(Ok(reports)) => find(&reports).expect("it was there"),
            _ => panic!("no line {text:?} in {:#?}", Self::batches(&self.reports.borrow())),
        }
    }
}

/// Listens, once a coordinator that was killed has let go of the address.
async fn bind(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse => tokio::time::sleep(POLL).await,
            Err(error) => panic!("cannot listen on {address}: {error}"),
        }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Service {
    orders: watch::Sender<v1::AgentOrders>,
    seen: Arc<watch::Sender<Vec<v1::AgentReport>>>,
    is_mute: watch::Sender<bool>,
    store: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

#[tonic::async_trait]
impl AgentService for Service {
    type ConnectStream = ReceiverStream<Result<v1::AgentOrders, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentReport>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (answers, outgoing) = mpsc::channel(8);
        let (mut orders, mut is_mute, seen) =
            (self.orders.subscribe(), self.is_mute.subscribe(), self.seen.clone());
        let mut reports = request.into_inner();
        tokio::spawn(async move {
            let mut n_seen = 0;
            loop {
                tokio::select! {
                    report = reports.next() => match report {
                        Some(Ok(report)) => {
                            n_seen += 1;
                            seen.send_modify(|seen| seen.push(report));
                        }
                        _ => return,
                    },
                    _ = orders.changed() => {}
                    _ = is_mute.changed() => {}
                }
                if !*is_mute.borrow() {
                    let answer =
                        v1::AgentOrders { reports_seen: n_seen, ..orders.borrow_and_update().clone() };
                    let _ = answers.send(Ok(answer)).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn store(&self, request: Request<v1::StoreRequest>) -> Result<Response<v1::StoreResponse>, Status> {
        let mut store = self.store.lock().expect("no test panics with it");
        let mut response = v1::StoreResponse::default();
        match request.into_inner().operation.expect("an operation") {
            Operation::Set(set) => drop(store.insert(set.key, set.value)),
            Operation::Get(get) => match store.get(&get.key) {
                Some(value) => response.value = value.clone(),
                None => return Err(Failure::new(Reason::StoreTimeout, "no such key").into()),
            },
            Operation::Check(check) => response.found = check.keys.iter().all(|key| store.contains_key(key)),
            _ => return Err(Failure::new(Reason::StaleGeneration, "generation 2 is live").into()),
        }
        Ok(Response::new(response))
    }
}

/// An agent whose rank is `examples/fake_rank.rs`.
pub struct Node {
    pub config: Config,
    pub folder: TempDir,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<Result<(), Error>>,
}

impl Node {
    pub fn start(coordinator: SocketAddr) -> Self {
        Self::start_with(coordinator, |_| {})
    }

    pub fn start_with(coordinator: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let cpu = |index| v1::Device { index, kind: v1::DeviceKind::Cpu.into(), ..Default::default() };
        let mut config = Config {
            coordinators: coordinator.to_string().parse().expect("an address"),
            node_name: "node-a".into(),
            state_dir: folder.path().join("state"),
            data_root: folder.path().join("data"),
            jobs_dir: folder.path().join("jobs"),
            data_address: None,
            devices: vec![cpu(0), cpu(1)],
            checkpoint_store: None,
            shard_cache: None,
            labels: std::collections::BTreeMap::new(),
            rank_program: fake_rank(),
            grace: Duration::from_secs(20),
        };
        change(&mut config);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(kindred_agent::run(config.clone(), shutdown.clone()));
        Self { config, folder, shutdown, task }
    }

    /// A gate at which a rank of this node can wait.
    pub fn gate(&self, name: &str) -> Gate {
        let path = self.folder.path().join(name);
        Gate { listener: UnixListener::bind(&path).expect("a short path"), path }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Cargo builds examples with the tests, next to their folder.
fn fake_rank() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let target = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let path = target.join("examples/fake_rank");
    let how = "run all of `cargo test -p kindred-agent`, or `cargo build -p kindred-agent --example fake_rank` first";
    assert!(path.is_file(), "{} is not there: {how}", path.display());
    path
}

/// A rank with `gate:PATH` in its script waits there until the test opens it.
pub struct Gate {
    listener: UnixListener,
    path: PathBuf,
}

impl Gate {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until a rank is at the gate; it goes on when the returned value is dropped.
    pub async fn reached(&self) -> UnixStream {
        let accepted = timeout(DEADLINE, self.listener.accept()).await.expect("a rank comes to the gate");
        accepted.expect("accepts").0
    }
}

/// An order to run rank 0 with this script on this device.
pub fn run(generation: u64, device_index: u32, script: impl Into<String>) -> v1::OrderedRank {
    let spec = v1::JobSpec {
        device: v1::DeviceKind::Cpu.into(),
        labels: [("script".to_owned(), script.into())].into(),
        recipe: Some(v1::Recipe {
            training: Some(v1::Training { threads_per_rank: Some(3), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    v1::OrderedRank {
        job_id: "job-1".into(),
        generation,
        rank: 0,
        world_size: 1,
        device_index,
        spec: Some(spec),
        action: v1::ordered_rank::Action::Run.into(),
        ..Default::default()
    }
}

/// The same rank, to be stopped.
pub fn stop(order: v1::OrderedRank) -> v1::OrderedRank {
    v1::OrderedRank { action: v1::ordered_rank::Action::Stop.into(), ..order }
}

/// Waits until a process is gone, or only waits to be reaped.
pub async fn gone(pid: u32) {
    let is_gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    };
    let poll = async {
        while !is_gone() {
            tokio::time::sleep(POLL).await;
        }
    };
    timeout(DEADLINE, poll).await.unwrap_or_else(|_| panic!("process {pid} is still there"));
}
