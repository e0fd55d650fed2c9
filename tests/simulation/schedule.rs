//! What a seed decides: the cluster, its weather, the jobs, and the faults with their times.

use std::time::Duration;

use fastrand::Rng;
use kindred_coordinator::model::SchedulingRules;
use kindred_proto::failure::Reason;

use crate::network::{Way, Weather};

/// Faults begin and end within this time; what was taken away comes back at its end.
pub const FAULTS_END: Duration = Duration::from_secs(50);

/// A simulated run.
#[derive(Debug)]
pub struct Schedule {
    pub seed: u64,
    /// The detection budget of the coordinator.
    pub budget: Duration,
    /// Devices of each node.
    pub nodes: Vec<u32>,
    /// Whether all nodes share one disk.
    pub shares_disk: bool,
    pub weather: Weather,
    pub jobs: Vec<Submitted>,
    pub scheduling: SchedulingRules,
    /// By time.
    pub faults: Vec<(Duration, Fault)>,
}

/// A job, and when it is submitted.
#[derive(Clone, Debug)]
pub struct Submitted {
    pub at: Duration,
    pub n_ranks: u32,
    pub n_steps: u64,
    pub checkpoint_every: u64,
    pub n_kept: u32,
    pub priority: i32,
}

/// Something that goes wrong. Numbers choose among what there is then.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A rank's process is killed.
    KillRank { nth: usize },
    /// A rank's process is stopped, and goes on later.
    FreezeRank { nth: usize, length: Duration },
    /// A rank meets a fault and says so.
    FailRank { nth: usize, reason: Reason },
    /// An agent is killed, and its ranks with it; it comes back later.
    KillAgent { node: usize, away: Duration },
    /// An agent is asked to stop; it comes back later.
    StopAgent { node: usize, away: Duration },
    /// The coordinator is killed, and comes back later.
    KillCoordinator { away: Duration },
    /// The coordinator is asked to stop, and comes back later.
    StopCoordinator { away: Duration },
    /// A node and the coordinator do not reach each other.
    Partition { node: usize, way: Way, length: Duration },
    /// Nobody reaches a node.
    Isolate { node: usize, length: Duration },
    /// A node's power is gone for good.
    Vanish { node: usize },
    /// The journal's disk is full.
    FailJournal { length: Duration },
    /// A user cancels a job.
    Cancel { job: usize },
    /// An operator drains a node, and takes it back later.
    Drain { node: usize, length: Duration },
}

impl Schedule {
    /// The run that a seed stands for.
    pub fn of(seed: u64) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let nodes: Vec<u32> = (0..rng.usize(2..=4)).map(|_| rng.u32(1..=2)).collect();
        let n_devices = nodes.iter().sum();
        let jobs = (0..rng.usize(1..=4)).map(|number| job(rng, number, n_devices)).collect();
        let n_faults = *rng.choice([1, 3, 6, 10]).as_ref().expect("there is one");
        let mut schedule = Self {
            seed,
            budget: Duration::from_secs(*rng.choice([2, 5, 10]).as_ref().expect("there is one")),
            shares_disk: rng.bool(),
            weather: weather(rng),
            jobs,
            faults: (0..n_faults).map(|_| (within(rng, 1_000, 40_000), fault(rng, nodes.len()))).collect(),
            scheduling: SchedulingRules::default(),
            nodes,
        };
        schedule.vanish_at_most_once();
        schedule.add_operators();
        schedule.faults.sort_by_key(|(at, _)| *at);
        schedule
    }

    /// The same without a fault.
    pub fn without_faults(self) -> Self {
        let weather = Weather { late_permille: 0, ..self.weather };
        Self { faults: vec![], weather, ..self }
    }

    /// Random numbers of its own for each part of the simulation.
    pub fn rng(&self, part: &str) -> Rng {
        let hash =
            part.bytes().fold(self.seed, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
        Rng::with_seed(hash)
    }

    /// What operators do, and what priorities jobs have; its own random numbers leave the rest of a seed as it was.
    fn add_operators(&mut self) {
        let rng = &mut self.rng("operators");
        for job in &mut self.jobs {
            job.priority = rng.i32(-1..=1);
        }
        self.scheduling.min_run_s = *rng.choice(&[0, 2, 10]).expect("there is one");
        self.scheduling.quarantine.after_faults = *rng.choice(&[0, 2, 10]).expect("there is one");
        self.scheduling.quarantine.for_s = rng.u64(5..60);
        for _ in 0..rng.usize(0..=2) {
            let (node, length) = (rng.usize(0..self.nodes.len()), within(rng, 500, 20_000));
            self.faults.push((within(rng, 1_000, 40_000), Fault::Drain { node, length }));
        }
    }

    fn vanish_at_most_once(&mut self) {
        let mut n_vanished = 0;
        self.faults.retain(|(_, fault)| {
            n_vanished += usize::from(matches!(fault, Fault::Vanish { .. }));
            n_vanished <= 1 || !matches!(fault, Fault::Vanish { .. })
        });
    }
}

fn job(rng: &mut Rng, number: usize, n_devices: u32) -> Submitted {
    let at = if number < 2 { within(rng, 0, 2_000) } else { within(rng, 5_000, 35_000) };
    Submitted {
        at,
        n_ranks: rng.u32(1..=n_devices.min(4)),
        n_steps: rng.u64(30..=250),
        checkpoint_every: rng.u64(2..=20),
        n_kept: rng.u32(1..=3),
        priority: 0,
    }
}

fn weather(rng: &mut Rng) -> Weather {
    let late_permille = *rng.choice([0, 5, 40]).as_ref().expect("there is one");
    let latency = Duration::from_millis(*rng.choice([2, 10, 60]).as_ref().expect("there is one"));
    Weather { latency, late_permille, lateness: Duration::from_millis(2500) }
}

fn fault(rng: &mut Rng, n_nodes: usize) -> Fault {
    let (nth, node) = (rng.usize(0..8), rng.usize(0..n_nodes));
    match rng.u32(0..100) {
        0..22 => Fault::KillRank { nth },
        22..28 => Fault::FreezeRank { nth, length: within(rng, 500, 90_000) },
        28..34 => Fault::FailRank { nth, reason: reason(rng) },
        34..46 => Fault::KillAgent { node, away: within(rng, 0, 20_000) },
        46..51 => Fault::StopAgent { node, away: within(rng, 0, 20_000) },
        51..61 => Fault::KillCoordinator { away: within(rng, 0, 20_000) },
        61..64 => Fault::StopCoordinator { away: within(rng, 0, 10_000) },
        64..80 => Fault::Partition { node, way: way(rng), length: within(rng, 200, 40_000) },
        80..88 => Fault::Isolate { node, length: within(rng, 200, 40_000) },
        88..92 => Fault::Vanish { node },
        92..96 => Fault::FailJournal { length: within(rng, 100, 15_000) },
        _ => Fault::Cancel { job: rng.usize(0..4) },
    }
}

fn reason(rng: &mut Rng) -> Reason {
    let reasons = [Reason::OutOfMemory, Reason::DeviceUnavailable, Reason::DiskFull, Reason::RankExited];
    *rng.choice(&reasons).expect("there is one")
}

fn way(rng: &mut Rng) -> Way {
    let ways = [Way::CUT, Way { up: false, down: true }, Way { up: true, down: false }];
    *rng.choice(&ways).expect("there is one")
}

fn within(rng: &mut Rng, least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_millis(rng.u64(least_ms..=most_ms))
}
