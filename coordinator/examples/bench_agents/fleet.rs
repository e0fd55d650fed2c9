//! Agents without nodes: they join, renew their leases, and say that their ranks train.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use kindred_proto::v1;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::DEVICES_PER_NODE;

const RENEWAL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);

/// Connections that are being opened at a time.
const N_OPENING: usize = 64;

/// What a simulated agent reads of its orders: real ones need the rest to start ranks.
#[derive(Clone, PartialEq, prost::Message)]
struct Orders {
    #[prost(message, repeated, tag = "2")]
    ranks: Vec<Ordered>,
    #[prost(uint32, tag = "3")]
    lease_ms: u32,
    #[prost(message, optional, tag = "6")]
    refusal: Option<v1::Failure>,
    #[prost(uint64, tag = "7")]
    reports_seen: u64,
}

/// What it reads of a rank's.
#[derive(Clone, PartialEq, prost::Message)]
struct Ordered {
    #[prost(string, tag = "1")]
    job_id: String,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(uint32, tag = "3")]
    rank: u32,
}

/// All agents.
pub struct Fleet {
    shared: Arc<Shared>,
    _agents: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    n_ranks: AtomicU32,
    renewals: Mutex<Renewals>,
}

/// The renewals of a while.
#[derive(Clone, Debug, Default)]
pub struct Renewals {
    /// From each report to the orders that answer it.
    pub answered_after: Vec<Duration>,
    /// What was left of the lease when it was renewed, at worst.
    pub least_left: Option<Duration>,
    /// Leases that had ended.
    pub n_late: u32,
    /// Streams that ended.
    pub n_ended: u32,
}

impl Fleet {
    /// Lets all agents join.
    pub async fn start(endpoint: &Endpoint, n_agents: u32) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (opening, (joined, mut joins)) = (Arc::new(Semaphore::new(N_OPENING)), mpsc::channel(1024));
        let mut agents = JoinSet::new();
        for number in 0..n_agents {
            let (endpoint, opening) = (endpoint.clone(), opening.clone());
            let (joined, shared) = (joined.clone(), shared.clone());
            let phase = RENEWAL.mul_f64(f64::from(number) / f64::from(n_agents));
            agents.spawn(async move {
                let permit = opening.acquire().await;
                let agent = Agent::join(&endpoint, number).await;
                drop(permit);
                let is_well =
                    joined.send(agent.as_ref().map(drop).map_err(ToString::to_string)).await.is_ok();
                if let (true, Ok(agent)) = (is_well, agent) {
                    // Whatever ends the stream counts as its end.
                    let _ = agent.live(&shared, phase).await;
                    shared.renewals.lock().expect("nobody panics with it").n_ended += 1;
                }
            });
        }
        for _ in 0..n_agents {
            match joins.recv().await {
                Some(Ok(())) => {}
                Some(Err(error)) => bail!("an agent could not join: {error}"),
                None => bail!("agents are gone"),
            }
        }
        Ok(Self { shared, _agents: agents })
    }

    /// Waits until so many ranks train.
    pub async fn wait_for_ranks(&self, n_ranks: u32) -> Result<()> {
        let started = Instant::now();
        while self.shared.n_ranks.load(Ordering::Relaxed) < n_ranks {
            let n_there = self.shared.n_ranks.load(Ordering::Relaxed);
            ensure!(started.elapsed() < PATIENCE, "{n_there} of {n_ranks} ranks train");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// From now on renewals are counted.
    pub fn begin(&self) {
        self.end();
    }

    /// The renewals since then.
    pub fn end(&self) -> Renewals {
        std::mem::take(&mut *self.shared.renewals.lock().expect("nobody panics with it"))
    }
}

/// An agent of a node that nothing runs on.
pub struct Agent {
    report: v1::AgentReport,
    reports: mpsc::Sender<v1::AgentReport>,
    orders: Streaming<Orders>,
    /// When the reports were sent that are not answered, and how many were sent.
    unanswered: VecDeque<Instant>,
    n_sent: u64,
    /// When the newest one that is answered was sent.
    renewed: Instant,
}

impl Agent {
    pub async fn join(endpoint: &Endpoint, number: u32) -> Result<Self> {
        let mut client: Grpc<Channel> = Grpc::new(endpoint.connect().await?);
        client.ready().await?;
        let (reports, receiver) = mpsc::channel(4);
        let (report, now) = (report(number), Instant::now());
        reports.send(report.clone()).await?;
        let path = PathAndQuery::from_static("/kindred.v1.AgentService/Connect");
        let codec = ProstCodec::<v1::AgentReport, Orders>::default();
        let request = Request::new(ReceiverStream::new(receiver));
        let orders = client.streaming(request, path, codec).await?.into_inner();
        Ok(Self { report, reports, orders, unanswered: [now].into(), n_sent: 1, renewed: now })
    }

    /// Renews the lease and waits for the answer.
    pub async fn renew(&mut self) -> Result<()> {
        self.n_sent += 1;
        self.reports.send(self.report.clone()).await?;
        while let Some(orders) = self.orders.message().await? {
            if orders.reports_seen >= self.n_sent {
                return Ok(());
            }
        }
        bail!("the stream is over")
    }

    async fn live(mut self, shared: &Shared, phase: Duration) -> Result<()> {
        let mut renewals = interval_at(Instant::now() + phase, RENEWAL);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = renewals.tick() => {
                    self.train();
                    self.unanswered.push_back(Instant::now());
                    self.n_sent += 1;
                    self.reports.send(self.report.clone()).await?;
                }
                orders = self.orders.message() => match orders? {
                    Some(orders) => self.obey(&orders, shared)?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn obey(&mut self, orders: &Orders, shared: &Shared) -> Result<()> {
        ensure!(orders.refusal.is_none(), "refused: {:?}", orders.refusal);
        let (now, lease) = (Instant::now(), Duration::from_millis(orders.lease_ms.into()));
        let n_left = self.n_sent.saturating_sub(orders.reports_seen);
        let mut renewals = shared.renewals.lock().expect("nobody panics with it");
        while self.unanswered.len() as u64 > n_left {
            let Some(sent) = self.unanswered.pop_front() else { break };
            let left = (self.renewed + lease).checked_duration_since(now);
            renewals.n_late += u32::from(left.is_none());
            let left = left.unwrap_or_default();
            renewals.least_left = Some(renewals.least_left.map_or(left, |least| least.min(left)));
            renewals.answered_after.push(now - sent);
            self.renewed = sent;
        }
        drop(renewals);
        let is_known = |order: &Ordered| self.report.ranks.iter().any(|rank| is_same(rank, order));
        if orders.ranks.len() != self.report.ranks.len() || !orders.ranks.iter().all(is_known) {
            let (before, after) = (self.report.ranks.len() as u32, orders.ranks.len() as u32);
            shared.n_ranks.fetch_sub(before, Ordering::Relaxed);
            self.report.ranks = orders.ranks.iter().map(started).collect();
            shared.n_ranks.fetch_add(after, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Some steps are taken.
    fn train(&mut self) {
        for rank in &mut self.report.ranks {
            rank.set_state(v1::RankState::Training);
            rank.began_at_step = Some(0);
            let progress = rank.progress.get_or_insert_default();
            progress.step += 4;
            progress.loss = 5.0 + 1.0 / progress.step as f64;
        }
    }
}

fn is_same(rank: &v1::ObservedRank, order: &Ordered) -> bool {
    (&rank.job_id, rank.generation, rank.rank) == (&order.job_id, order.generation, order.rank)
}

fn started(order: &Ordered) -> v1::ObservedRank {
    v1::ObservedRank {
        job_id: order.job_id.clone(),
        generation: order.generation,
        rank: order.rank,
        state: v1::RankState::Starting.into(),
        pid: 1 + order.rank,
        progress: Some(v1::Progress { total_steps: 1_000_000, ..Default::default() }),
        ..Default::default()
    }
}

fn report(number: u32) -> v1::AgentReport {
    let device = |index| v1::Device {
        index,
        kind: v1::DeviceKind::Cuda.into(),
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        memory_bytes: 80 << 30,
        ..Default::default()
    };
    let labels = [("rack", number / 32), ("zone", number / 1250)];
    v1::AgentReport {
        protocol_version: 1,
        node_id: format!("0192d3c4-5f6a-7b8c-9d0e-{number:012}"),
        incarnation: format!("0192d3c4-0000-7b8c-9d0e-{number:012}"),
        node_name: format!("node-{number}"),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        data_address: format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255),
        devices: (0..DEVICES_PER_NODE).map(device).collect(),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_string())).into(),
        ..Default::default()
    }
}
