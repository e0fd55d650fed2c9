//! What the simulation knows and no program does: all processes, groups and disks, and what is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use kindred_ipc::Start;
use kindred_proto::ids::{Generation, JobId};
use tokio::time::Instant;

use crate::{
    collective::Groups,
    disk::{Disks, Manifest},
    process::{Pid, Processes},
    record::{Record, Violation},
    schedule::Schedule,
};

/// Something wrong that the simulation itself does, to show that it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// Nothing.
    #[default]
    None,
    /// Ranks put manifests in place whatever their agent says.
    Unfenced,
    /// The journal says that changes are stored before they are.
    Forgetful,
    /// A checkpoint's files are not those that its manifest names.
    Torn,
}

/// How much happened, to see that a schedule reaches what it is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub faults: u64,
    /// Processes that began, and those that went on in another generation.
    pub started: u64,
    pub regrouped: u64,
    pub commits: u64,
    /// Commits that an agent did not allow.
    pub refused: u64,
    /// Checkpoints that were read.
    pub loaded: u64,
    /// Jobs that gave way to others, or left a node that was drained.
    pub given_way: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.started += other.started;
        self.regrouped += other.regrouped;
        self.commits += other.commits;
        self.refused += other.refused;
        self.loaded += other.loaded;
        self.given_way += other.given_way;
    }
}

/// Cheap handle to the truth.
#[derive(Clone)]
pub struct World(Arc<Mutex<Truth>>);

/// Everything.
pub struct Truth {
    pub rng: Rng,
    pub plant: Plant,
    pub processes: Processes,
    pub groups: Groups,
    pub disks: Disks,
    pub record: Record,
    /// Nodes that no other node reaches.
    pub islands: BTreeSet<usize>,
    /// Until when the journal takes nothing.
    pub journal_fails_until: Option<Instant>,
    /// What happened, with its time.
    pub trace: Vec<String>,
    pub violation: Option<Violation>,
    pub counts: Counts,
    /// The newest generation of each job that an agent started a rank of.
    started: BTreeMap<(usize, String, JobId), Generation>,
    start: Instant,
}

impl World {
    pub fn new(schedule: &Schedule, plant: Plant) -> Self {
        Self(Arc::new(Mutex::new(Truth {
            rng: schedule.rng("world"),
            plant,
            processes: Processes::default(),
            groups: Groups::default(),
            disks: Disks::new(schedule.shares_disk),
            record: Record::new(schedule.budget),
            islands: BTreeSet::new(),
            journal_fails_until: None,
            trace: vec![],
            violation: None,
            counts: Counts::default(),
            started: BTreeMap::new(),
            start: Instant::now(),
        })))
    }

    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends a process, as the system does it.
    pub fn end(&self, pid: Pid, status: i32) {
        let mut truth = self.truth();
        if truth.processes.end(pid, status) {
            truth.note(format!("process {pid} ends with status {status}"));
            truth.groups.ring();
        }
    }
}

impl Truth {
    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn note(&mut self, text: impl AsRef<str>) {
        let line = format!("{:>9.3}  {}", self.elapsed().as_secs_f64(), text.as_ref());
        self.trace.push(line);
    }

    /// Keeps the first violation.
    pub fn check(&mut self, outcome: Result<(), Violation>) {
        if let Err(violation) = outcome {
            self.note(format!("VIOLATION {violation}"));
            self.violation.get_or_insert(violation);
        }
    }

    /// A rank is through with loading, or goes on in another generation: J3.
    pub fn rank_starts(&mut self, pid: Pid, node: usize, start: &Start) {
        let Start { job_id, generation, rank, .. } = start;
        self.note(format!(
            "process {pid} is rank {rank} of generation {generation} of {job_id} on node-{node}"
        ));
        self.check(self.record.check_placed(start));
    }

    /// An agent starts a process, or one takes up another generation: J2.
    pub fn takes_up(&mut self, node: usize, start: &Start) {
        let Start { job_id, generation, .. } = start;
        let life = (node, start.node_id.to_string(), job_id.clone());
        let newest = self.started.insert(life, *generation).unwrap_or_default();
        if *generation < newest {
            self.check(Err(format!(
                "J2: node-{node} starts generation {generation} of {job_id} after {newest}"
            )));
        }
    }

    /// A manifest is put in place: W1, C1.
    pub fn commit(&mut self, pid: Pid, start: &Start, mut manifest: Manifest, n_kept: usize) {
        let node = self.processes.get(pid).node;
        self.counts.commits += 1;
        self.note(format!("process {pid} commits {} of {}", manifest.id(), manifest.job_id));
        self.check(self.record.check_fence(start));
        if self.plant == Plant::Torn && self.rng.u32(0..4) == 0 {
            manifest.digest = "half of it".to_owned();
        }
        self.disks.commit(node, manifest, n_kept);
    }

    /// The newest checkpoint on a node, with its digests verified: C1.
    pub fn load(&mut self, node: usize, job_id: &JobId) -> Option<Manifest> {
        let manifest = self.disks.newest(node, job_id)?;
        self.counts.loaded += 1;
        if manifest.digest != manifest.lineage.digest() {
            self.check(Err(format!("C1: digests of {} of {job_id} do not hold", manifest.id())));
        }
        Some(manifest)
    }

    /// An agent of a node is gone: W1.
    pub fn agent_is_gone(&mut self, node: usize) {
        let orphans: Vec<Pid> =
            self.processes.alive().filter(|(_, it)| it.node == node).map(|(pid, _)| pid).collect();
        if !orphans.is_empty() {
            self.check(Err(format!("W1: processes {orphans:?} outlive the agent of node-{node}")));
        }
    }
}
