//! One run: a cluster, what happens to it, and how it comes to rest.

use std::{collections::BTreeMap, time::Duration};

use kindred_coordinator::{
    config::Config,
    engine::{Handle, JobQuery},
    model::{Job, JobState},
    telemetry::Telemetry,
    timing::Timing,
};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    agents::{Agent, Standing},
    coordinator::Coordinator,
    network::{Network, Way},
    process::{KILLED, Pid},
    schedule::{FAULTS_END, Fault, Schedule},
    users::Users,
    world::{Counts, Plant, World},
};

/// Between two looks at what users see.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// An agent that ended by itself is started again after so long, as systemd does it.
const RESTART_AFTER: Duration = Duration::from_secs(2);

/// By now every job is over, or waits for devices that are not there.
const LIMIT: Duration = Duration::from_secs(1800);

/// What became of a run.
#[derive(Default)]
pub struct Report {
    /// The invariant that did not hold.
    pub violation: Option<String>,
    /// What happened.
    pub trace: Vec<String>,
    /// How the jobs ended.
    pub states: Vec<JobState>,
    pub counts: Counts,
}

/// What happens at a time.
enum Act {
    Fault(Fault),
    StartAgent(usize),
    StartCoordinator,
    Connect(usize),
    Thaw(Pid),
    Uncordon(usize),
    /// All faults are over.
    Heal,
}

struct Cluster {
    started: Instant,
    world: World,
    network: Network,
    coordinator: Coordinator,
    handle: watch::Receiver<Option<Handle>>,
    agents: Vec<Agent>,
    /// Devices of the nodes that are not gone for good; none for the others.
    devices: Vec<Option<u32>>,
    users: Users,
    acts: BTreeMap<(Instant, usize), Act>,
    n_acts: usize,
}

/// Runs a schedule. Telemetry is not part of it: whatever is stored there fails.
pub async fn run(schedule: &Schedule, plant: Plant, telemetry: Telemetry) -> Report {
    let folder = TempDir::with_prefix("kindred-simulation-").expect("a folder");
    let mut cluster = Cluster::new(schedule, plant, telemetry, &folder);
    cluster.begin(schedule).await;
    cluster.go_on().await;
    let world = cluster.world.clone();
    drop(cluster);
    let truth = &mut *world.truth();
    Report {
        violation: truth.violation.take(),
        trace: std::mem::take(&mut truth.trace),
        states: truth.record.state().jobs_before(None).map(|job| job.state).collect(),
        counts: Counts { given_way: truth.record.n_given_way, ..truth.counts },
    }
}

impl Cluster {
    fn new(schedule: &Schedule, plant: Plant, telemetry: Telemetry, folder: &TempDir) -> Self {
        let world = World::new(schedule, plant);
        let network = Network::new(schedule.nodes.len(), schedule.weather, schedule.rng("network"));
        let config = Config {
            timing: Timing::new(schedule.budget),
            scheduling: schedule.scheduling.clone(),
            // Restarts then begin with a snapshot.
            snapshot_every: 20,
            ..Config::new(folder.path().join("coordinator"))
        };
        let coordinator = Coordinator::new(&world, &network, config, telemetry);
        let handle = coordinator.handle();
        let agent =
            |(node, n_devices): (usize, &u32)| Agent::new(&world, &network, folder.path(), node, *n_devices);
        Self {
            started: Instant::now(),
            agents: schedule.nodes.iter().enumerate().map(agent).collect(),
            devices: schedule.nodes.iter().copied().map(Some).collect(),
            users: Users::new(&world, handle.clone()),
            handle,
            coordinator,
            network,
            world,
            acts: BTreeMap::new(),
            n_acts: 0,
        }
    }

    async fn begin(&mut self, schedule: &Schedule) {
        self.world.truth().note(format!("{schedule:?}"));
        self.coordinator.start().await;
        for agent in &mut self.agents {
            agent.start();
        }
        for (number, job) in schedule.jobs.iter().enumerate() {
            self.users.submit(number, job);
        }
        for (at, fault) in &schedule.faults {
            self.act_at(self.started + *at, Act::Fault(fault.clone()));
        }
        let end = if schedule.faults.is_empty() { Duration::ZERO } else { FAULTS_END };
        self.act_at(self.started + end, Act::Heal);
    }

    /// Lets things happen until a violation, or until all is at rest.
    async fn go_on(&mut self) {
        let mut look_at = self.started;
        loop {
            let act_at = self.acts.first_key_value().map(|((at, _), _)| *at);
            sleep_until(act_at.map_or(look_at, |at| at.min(look_at))).await;
            if let Some(act) = self.due_act() {
                self.perform(act).await;
            } else {
                self.look().await;
                look_at = Instant::now() + LOOK_EVERY;
                if self.is_at_rest() {
                    return;
                }
            }
            if self.world.truth().violation.is_some() {
                return;
            }
            if self.started.elapsed() > LIMIT {
                return self.complain();
            }
        }
    }

    fn due_act(&mut self) -> Option<Act> {
        let first = self.acts.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }

    fn act_at(&mut self, at: Instant, act: Act) {
        self.n_acts += 1;
        self.acts.insert((at, self.n_acts), act);
    }

    fn act_in(&mut self, after: Duration, act: Act) {
        self.act_at(Instant::now() + after, act);
    }

    async fn perform(&mut self, act: Act) {
        match act {
            Act::Fault(fault) => self.strike(fault).await,
            Act::StartAgent(node) => {
                self.look_at_agent(node).await;
                if self.devices[node].is_some() && !self.agents[node].start() {
                    self.act_in(RESTART_AFTER, Act::StartAgent(node));
                }
            }
            Act::StartCoordinator => self.coordinator.start().await,
            Act::Connect(node) => self.connect(node),
            Act::Thaw(pid) => self.world.truth().processes.freeze(pid, false),
            Act::Uncordon(node) => self.users.uncordon(node),
            Act::Heal => self.heal().await,
        }
    }

    async fn strike(&mut self, fault: Fault) {
        self.world.truth().note(format!("{fault:?}"));
        self.world.truth().counts.faults += 1;
        match fault {
            Fault::KillRank { nth } => {
                if let Some(pid) = self.nth_process(nth) {
                    self.world.end(pid, KILLED);
                }
            }
            Fault::FreezeRank { nth, length } => {
                if let Some(pid) = self.nth_process(nth) {
                    self.world.truth().processes.freeze(pid, true);
                    self.act_in(length, Act::Thaw(pid));
                }
            }
            Fault::FailRank { nth, reason } => {
                if let Some(pid) = self.nth_process(nth) {
                    self.world.truth().processes.get(pid).fate.send_replace(Some(reason));
                }
            }
            Fault::KillAgent { node, away } => {
                self.agents[node].kill().await;
                self.act_in(away, Act::StartAgent(node));
            }
            Fault::StopAgent { node, away } => {
                self.agents[node].stop();
                self.act_in(away, Act::StartAgent(node));
            }
            Fault::KillCoordinator { away } => {
                self.coordinator.kill().await;
                self.act_in(away, Act::StartCoordinator);
            }
            Fault::StopCoordinator { away } => {
                self.coordinator.stop().await;
                self.act_in(away, Act::StartCoordinator);
            }
            Fault::Partition { node, way, length } => {
                self.network.set_way(node, way);
                self.act_in(length, Act::Connect(node));
            }
            Fault::Isolate { node, length } => {
                self.network.set_way(node, Way::CUT);
                self.world.truth().islands.insert(node);
                self.act_in(length, Act::Connect(node));
            }
            Fault::Vanish { node } => self.vanish(node).await,
            Fault::FailJournal { length } => {
                self.world.truth().journal_fails_until = Some(Instant::now() + length);
            }
            Fault::Cancel { job } => self.users.cancel(job),
            Fault::Drain { node, length } => {
                self.users.drain(node);
                self.act_in(length, Act::Uncordon(node));
            }
        }
    }

    fn nth_process(&self, nth: usize) -> Option<Pid> {
        let truth = self.world.truth();
        let alive: Vec<Pid> = truth.processes.alive().map(|(pid, _)| pid).collect();
        alive.get(nth % alive.len().max(1)).copied()
    }

    async fn vanish(&mut self, node: usize) {
        self.devices[node] = None;
        self.network.set_way(node, Way::CUT);
        let silenced: Vec<Pid> = {
            let truth = self.world.truth();
            truth.processes.alive().filter(|(_, it)| it.node == node).map(|(pid, _)| pid).collect()
        };
        silenced.into_iter().for_each(|pid| self.world.truth().processes.silence(pid));
        self.agents[node].kill().await;
    }

    fn connect(&mut self, node: usize) {
        if self.devices[node].is_some() {
            self.network.set_way(node, Way::OPEN);
            let mut truth = self.world.truth();
            truth.islands.remove(&node);
            truth.note(format!("node-{node} is connected"));
            truth.groups.ring();
        }
    }

    async fn heal(&mut self) {
        self.world.truth().note("all faults are over");
        self.world.truth().journal_fails_until = None;
        self.coordinator.start().await;
        for node in 0..self.agents.len() {
            self.connect(node);
            self.act_in(Duration::ZERO, Act::StartAgent(node));
            self.users.uncordon(node);
        }
    }

    /// What users see, and agents that ended.
    async fn look(&mut self) {
        for node in 0..self.agents.len() {
            self.look_at_agent(node).await;
        }
        let handle = self.handle.borrow().clone();
        let Some(handle) = handle else { return };
        let query = JobQuery { limit: 100, ..JobQuery::default() };
        // A coordinator that is held up by its disk is asked again.
        let Ok(Ok(page)) = timeout(Duration::from_secs(5), handle.list_jobs(query)).await else { return };
        let mut truth = self.world.truth();
        for job in &page.jobs {
            let outcome = truth.record.check_view(job);
            truth.check(outcome);
        }
    }

    async fn look_at_agent(&mut self, node: usize) {
        if let Standing::Refused(why) = self.agents[node].look().await {
            self.world.truth().note(format!("the agent of node-{node} ended: {why}"));
            self.act_in(RESTART_AFTER, Act::StartAgent(node));
        }
    }

    /// Whether nothing more will happen to any job.
    fn is_at_rest(&mut self) -> bool {
        if !self.users.are_content() {
            return false;
        }
        let n_devices: u32 = self.devices.iter().flatten().sum();
        let is_healed = self.acts.is_empty();
        let truth = self.world.truth();
        let mut jobs = truth.record.state().jobs_before(None);
        jobs.all(|job| is_over(job) || is_healed && waits_for_more(job, n_devices))
    }

    /// Says which jobs did not come to rest.
    fn complain(&mut self) {
        let mut truth = self.world.truth();
        let describe = |job: &Job| format!("{} is {}: {}", job.id, job.state.name(), job.reason);
        let jobs: Vec<_> =
            truth.record.state().jobs_before(None).filter(|job| !is_over(job)).map(describe).collect();
        truth.check(Err(format!("liveness: after {LIMIT:?} {}", jobs.join("; "))));
    }
}

fn is_over(job: &Job) -> bool {
    !job.is_active()
}

/// Whether a job waits for devices that no node has that is left.
fn waits_for_more(job: &Job, n_devices: u32) -> bool {
    job.wants_placement() && job.submission.world_size.0 > n_devices
}
