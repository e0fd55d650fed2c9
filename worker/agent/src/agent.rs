//! The task that owns everything an agent knows, and the events that move it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use kindred_ipc::{Start, Wire};
use kindred_proto::{
    failure::{Failure, Reason},
    ids::{Generation, JobId, WorldSize},
    v1::{self, RankState},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Error, commits,
    config::FAREWELL_TIMEOUT,
    host::{Host, Machine},
    identity::Identity,
    known::{self, Ears, Known},
    link,
    orders::{Limits, checked, device, stop, threads_per_rank},
    rank::{self, Launch, Outcome, Stop, Wires},
    reconcile::{self, Action, Device, Order, RankKey},
    route::Route,
    sockets::Sockets,
    store::Store,
    uplink::{News, Uplink},
};

/// The protocol that this agent speaks.
const PROTOCOL_VERSION: u32 = 1;

/// Events of ranks that may wait for the agent; then the ranks wait.
const RANK_EVENTS: usize = 1024;

const LINK_EVENTS: usize = 16;

/// Far enough to mean never.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Runs an agent until `shutdown`, or until the coordinator refuses it. On the way out ranks are asked to write a
/// checkpoint and stop, and killed when they do not within the grace period.
///
/// Cancel safety: dropping the future kills all ranks.
///
/// # Errors
/// When the state folder or the address cannot be used, or the coordinator refuses the agent.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    run_on(Arc::new(Machine), config, shutdown).await
}

/// As [`run`], on any machine.
///
/// # Errors
/// As for [`run`].
pub async fn run_on(host: Arc<dyn Host>, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let identity = Identity::claim(&config.state_dir)?.with_jobs_folder(&config.jobs_dir);
    let route = Route::new(config.coordinators.clone(), host.clone());
    let store = Store::new(route.clone(), identity.node_id.clone())?;
    let (link_events, from_link) = mpsc::channel(LINK_EVENTS);
    let mut link = JoinSet::new();
    link.spawn(link::run(route, identity.node_id.clone(), link_events));
    let (rank_events, from_ranks) = mpsc::channel(RANK_EVENTS);
    tracing::info!(node_id = %identity.node_id, name = config.node_name, n_devices = config.devices.len(), "agent starts");
    let agent = Agent {
        sockets: Sockets::new().map_err(Error::Sockets)?,
        host,
        config,
        identity,
        store,
        data_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        orders: BTreeMap::new(),
        limits: Limits::default(),
        newest: BTreeMap::new(),
        ranks: BTreeMap::new(),
        joined: BTreeMap::new(),
        uplink: Uplink::new(),
        supervisors: JoinSet::new(),
        rank_events,
        leaving: None,
    };
    agent.run(from_link, from_ranks, shutdown).await
}

/// How an agent that leaves gets out.
#[derive(Debug, Default)]
struct Leaving {
    /// Set when the coordinator refused the agent.
    refusal: Option<Failure>,
    /// Until when it waits for the last answer; set once no rank is left.
    deadline: Option<Instant>,
}

struct Agent {
    host: Arc<dyn Host>,
    config: Config,
    identity: Identity,
    sockets: Sockets,
    store: Store,
    data_address: IpAddr,
    /// The newest orders.
    orders: BTreeMap<RankKey, v1::OrderedRank>,
    /// As they came with those.
    limits: Limits,
    /// The newest generation ordered of each job that is ordered or held.
    newest: BTreeMap<JobId, Generation>,
    ranks: BTreeMap<RankKey, Known>,
    /// What processes are now that have joined a newer generation, by what they were started as.
    joined: BTreeMap<RankKey, RankKey>,
    uplink: Uplink,
    /// One task per process; dropped with the agent, and the processes with them.
    supervisors: JoinSet<()>,
    rank_events: mpsc::Sender<(RankKey, rank::Event)>,
    leaving: Option<Leaving>,
}

impl Agent {
    async fn run(
        mut self,
        mut from_link: mpsc::Receiver<link::Event>,
        mut from_ranks: mpsc::Receiver<(RankKey, rank::Event)>,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        loop {
            if self.has_left() {
                return self
                    .leaving
                    .and_then(|leaving| leaving.refusal)
                    .map_or(Ok(()), |why| Err(Error::Refused(why)));
            }
            let now = Instant::now();
            let report_due = self.uplink.due(now).unwrap_or(now + NEVER);
            let farewell = self.leaving.as_ref().and_then(|leaving| leaving.deadline).unwrap_or(now + NEVER);
            tokio::select! {
                // Reports renew the lease: ranks that talk much do not hold them up.
                biased;
                () = shutdown.cancelled(), if self.leaving.is_none() => self.leave(Stop { checkpoint: true }, None),
                () = sleep_until(report_due) => self.report(),
                Some(event) = from_link.recv() => self.on_link(event),
                Some((key, event)) = from_ranks.recv() => self.on_rank(&key, event),
                () = sleep_until(farewell) => {}
            }
        }
    }

    fn on_link(&mut self, event: link::Event) {
        match event {
            link::Event::Up { reports, local_address } => {
                self.data_address = self.config.data_address.unwrap_or(local_address);
                self.uplink.opened(reports);
                self.report();
            }
            link::Event::Down => self.uplink.closed(),
            link::Event::Orders(orders) => self.on_orders(*orders),
        }
    }

    fn on_orders(&mut self, orders: v1::AgentOrders) {
        self.uplink.answered(Instant::now(), &orders);
        if self.leaving.as_ref().is_some_and(|leaving| leaving.refusal.is_some()) {
            return;
        }
        if let Some(refusal) = &orders.refusal {
            let why = Failure::from(refusal);
            self.orders.clear();
            return self.leave(Stop { checkpoint: false }, Some(why));
        }
        self.limits = Limits::of(&orders);
        self.orders = orders.ranks.into_iter().map(|order| (RankKey::of(&order), order)).collect();
        self.reconcile();
        known::pass_on(&mut self.ranks, &self.orders);
        self.answer_questions();
    }

    /// Brings what runs closer to what is ordered.
    fn reconcile(&mut self) {
        let orders: Vec<Order> = self.orders.iter().map(|(key, order)| checked(key, order)).collect();
        let held = self.ranks.iter().map(|(key, known)| (key.clone(), known.held())).collect();
        reconcile::note_generations(&mut self.newest, &orders, &held);
        for action in reconcile::reconcile(&orders, &held, &self.newest) {
            match action {
                Action::Start(_) if self.leaving.is_some() => continue,
                Action::Start(key) => self.start(key),
                Action::Regroup { from, to } => self.regroup(&from, to),
                Action::Stop(key) => self.stop(&key, stop(self.orders.get(&key))),
                Action::NeverStarted(key) => self.never_started(key, Outcome::Stopped),
                Action::Forget(key) => drop(self.ranks.remove(&key)),
            }
            self.uplink.tell(News::State);
        }
    }

    fn start(&mut self, key: RankKey) {
        let Some(order) = self.orders.get(&key).cloned() else { return };
        let device = device(&order);
        if let Err(text) = self.check_device(device) {
            let text = format!("rank {} on {}: {text}", key.rank, self.config.node_name);
            let failure =
                Failure::new(Reason::DeviceUnavailable, text).met_by(self.identity.node_id.clone(), key.rank);
            return self.never_started(key, Outcome::Failed((&failure).into()));
        }
        let launch = self.launch(&key, order);
        let (known, Ears { stop, regroup, kept, doom }) = Known::starting(device);
        let (host, events) = (self.host.clone(), self.rank_events.clone());
        let wires = Wires { host, events, stop, regroup, kept, doom, store: self.store.clone() };
        while self.supervisors.try_join_next().is_some() {}
        self.supervisors.spawn(rank::supervise(launch, wires));
        tracing::info!(job_id = %key.job_id, generation = key.generation.0, rank = key.rank.0, "rank starts");
        self.ranks.insert(key, known);
    }

    /// The process of a rank goes on as that of a newer generation.
    fn regroup(&mut self, from: &RankKey, to: RankKey) {
        let Some(order) = self.orders.get(&to).cloned() else { return };
        let start = self.start_of(&to, order);
        let Some(mut known) = self.ranks.remove(from) else { return };
        tracing::info!(job_id = %to.job_id, generation = to.generation.0, rank = to.rank.0, "rank goes on in a newer generation");
        known.regroup(start);
        for current in self.joined.values_mut().filter(|current| *current == from) {
            current.clone_from(&to);
        }
        self.joined.entry(from.clone()).or_insert_with(|| to.clone());
        self.ranks.insert(to, known);
    }

    fn check_device(&self, device: Device) -> Result<(), String> {
        let mut offered = self.config.devices.iter();
        if offered.any(|offer| offer.kind() == device.kind && offer.index == device.index) {
            return Ok(());
        }
        Err(format!("no device {} {} on this node", device.kind.as_str_name(), device.index))
    }

    fn launch(&mut self, key: &RankKey, order: v1::OrderedRank) -> Launch {
        Launch {
            key: key.clone(),
            node_name: self.config.node_name.clone(),
            program: self.config.rank_program.clone(),
            socket: self.sockets.another(),
            n_threads: order.spec.as_ref().and_then(threads_per_rank).unwrap_or(1),
            grace: self.config.grace,
            hang_grace: self.limits.hang_grace(),
            start: self.start_of(key, order),
        }
    }

    fn start_of(&self, key: &RankKey, order: v1::OrderedRank) -> Start {
        Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            job_id: key.job_id.clone(),
            generation: key.generation,
            rank: key.rank,
            world_size: WorldSize(order.world_size),
            node_id: self.identity.node_id.clone(),
            device_index: order.device_index,
            spec: Wire(order.spec.unwrap_or_default()),
            job_dir: self.config.jobs_dir.join(key.job_id.as_str()),
            data_root: self.config.data_root.clone(),
            data_address: self.data_address.to_string(),
            resume_from: order.resume_from.map(Wire),
            meeting_timeout_ms: self.limits.meeting_timeout_ms.into(),
            collective_timeout_ms: self.limits.collective_timeout_ms.into(),
            abort_grace_ms: self.limits.abort_grace_ms.into(),
            alive_interval_ms: self.limits.alive_interval_ms(),
            n_losses: order.n_losses,
            trained_ms: order.trained_ms,
            created_unix_ms: order.job_created_unix_ms,
            checkpoint_store: self.config.checkpoint_store.clone(),
            shard_cache: self.config.shard_cache.clone(),
        }
    }

    fn stop(&mut self, key: &RankKey, stop: Stop) {
        if let Some(known) = self.ranks.get_mut(key) {
            tracing::info!(job_id = %key.job_id, generation = key.generation.0, rank = key.rank.0, "rank is to stop");
            known.ask_to_stop(stop);
        }
    }

    fn never_started(&mut self, key: RankKey, outcome: Outcome) {
        let device =
            self.orders.get(&key).map_or(Device { kind: v1::DeviceKind::Unspecified, index: 0 }, device);
        self.ranks.insert(key, Known::never_started(device, outcome));
    }

    /// `started` is what the process was started as.
    fn on_rank(&mut self, started: &RankKey, event: rank::Event) {
        let key = &self.joined.get(started).unwrap_or(started).clone();
        if matches!(event, rank::Event::Ended(_)) {
            self.joined.remove(started);
        }
        let Some(known) = self.ranks.get_mut(key) else { return };
        match event {
            rank::Event::Spawned { pid } => known.pid = pid,
            rank::Event::Meeting => known.reached(RankState::Meeting),
            // Said before the process joined the generation that it is in now.
            rank::Event::Training { generation, .. } if generation != key.generation => return,
            rank::Event::Training { began_at, .. } => known.began(began_at),
            rank::Event::Parted(line) => {
                known.reached(RankState::Parted);
                self.uplink.telemetry.add_line(key.job_id.as_str(), line);
            }
            rank::Event::Stalled(stall) => known.stall = stall,
            rank::Event::Progress(progress) => {
                known.progress = Some(progress);
                return self.uplink.tell(News::Progress);
            }
            rank::Event::Points(points) => {
                return self.uplink.telemetry.add_points(key.job_id.as_str(), points);
            }
            rank::Event::Line(line) => return self.uplink.telemetry.add_line(key.job_id.as_str(), line),
            rank::Event::Committed(checkpoint) => known.committed(checkpoint),
            rank::Event::AskCommit { checkpoint, answer } => {
                tracing::debug!(job_id = %key.job_id, checkpoint_id = %checkpoint, "a rank asks to commit");
                known.asked(checkpoint, answer);
                return self.answer_questions();
            }
            rank::Event::Ended(outcome) => self.ended(key, outcome),
        }
        self.uplink.tell(News::State);
    }

    fn ended(&mut self, key: &RankKey, outcome: Outcome) {
        let (job_id, generation, rank) = (&key.job_id, key.generation.0, key.rank.0);
        match &outcome {
            Outcome::Finished(_) => tracing::info!(%job_id, generation, rank, "rank finished"),
            Outcome::Stopped => tracing::info!(%job_id, generation, rank, "rank stopped"),
            Outcome::Failed(why) => {
                tracing::warn!(%job_id, generation, rank, error = why.message, "rank failed");
            }
        }
        if let Some(known) = self.ranks.get_mut(key) {
            known.ended(outcome);
        }
        self.reconcile();
    }

    /// Answers ranks that want to commit, once there is a lease and for as long as it lasts. Until it is over no newer
    /// generation opens without them.
    fn answer_questions(&mut self) {
        let Some(left) = self.uplink.lease.left(Instant::now()) else { return };
        for (key, known) in &mut self.ranks {
            known.answer(left, |checkpoint| commits::verdict(key, self.orders.get(key), checkpoint));
        }
    }

    fn leave(&mut self, stop: Stop, refusal: Option<Failure>) {
        let live: Vec<RankKey> =
            self.ranks.iter().filter(|(_, known)| known.is_live()).map(|(key, _)| key.clone()).collect();
        tracing::info!(n_ranks = live.len(), "agent leaves");
        for key in &live {
            self.stop(key, stop);
        }
        self.leaving.get_or_insert_default().refusal = refusal;
        self.uplink.tell(News::State);
    }

    /// Whether a leaving agent may go: no rank is left, and the coordinator knows it or does not answer.
    fn has_left(&mut self) -> bool {
        let Some(leaving) = &mut self.leaving else { return false };
        if self.ranks.values().any(Known::is_live) {
            return false;
        }
        let now = Instant::now();
        let deadline = *leaving.deadline.get_or_insert(now + FAREWELL_TIMEOUT);
        self.uplink.due(now).is_none() || self.uplink.is_settled() || now >= deadline
    }

    fn report(&mut self) {
        let n_dropped = self.uplink.telemetry.take_dropped();
        if n_dropped > 0 {
            tracing::warn!(n_dropped, "the oldest points and lines are gone: the coordinator was away long");
        }
        let Self { config, identity, ranks, data_address, leaving, uplink, .. } = self;
        uplink.send(Instant::now(), |telemetry| v1::AgentReport {
            protocol_version: PROTOCOL_VERSION,
            node_id: identity.node_id.to_string(),
            incarnation: identity.incarnation.to_string(),
            node_name: config.node_name.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            data_address: data_address.to_string(),
            devices: config.devices.clone(),
            ranks: ranks.iter().map(|(key, known)| known.observed(key)).collect(),
            telemetry,
            leaving: leaving.is_some(),
            labels: config.labels.clone().into_iter().collect(),
            jobs_folder: identity.jobs_folder.clone(),
        });
    }
}
