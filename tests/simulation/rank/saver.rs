//! When a simulated rank writes checkpoints, and with whose permission (`worker/src/train/saving.rs`).

use std::{collections::VecDeque, time::Duration};

use kindred_ipc::{FromRank, Start, Wire};
use kindred_proto::v1;
use tokio::time::{Instant, sleep};

use super::{line::Line, lineage::Lineage};
use crate::{
    disk::Manifest,
    process::Pid,
    world::{Plant, World},
};

/// How long the commit may wait for the agent when the job stops, and after a fault.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const FAULT_PATIENCE: Duration = Duration::from_secs(1);

/// Checkpoints that wait for permission.
const MAX_PENDING: usize = 2;

/// How long the files take.
const WRITING: Duration = Duration::from_millis(20);

/// Writes checkpoints of one generation.
pub struct Saver {
    world: World,
    line: Line,
    pid: Pid,
    start: Start,
    is_writer: bool,
    pending: VecDeque<Manifest>,
    is_granted: bool,
}

impl Saver {
    pub fn new(world: &World, line: &Line, pid: Pid, start: &Start, is_writer: bool) -> Self {
        let (world, line, start) = (world.clone(), line.clone(), start.clone());
        Self { world, line, pid, start, is_writer, pending: VecDeque::new(), is_granted: true }
    }

    pub fn total_steps(&self) -> u64 {
        let training = self.start.spec.0.recipe.as_ref().and_then(|recipe| recipe.training.as_ref());
        training.and_then(|training| training.max_steps).unwrap_or(1)
    }

    pub fn is_due(&self, taken: u64) -> bool {
        let every = self.policy().every_steps.unwrap_or(1);
        taken == self.total_steps() || (taken > 0 && taken.is_multiple_of(every))
    }

    /// Writes a checkpoint and asks to commit it.
    pub async fn save(&mut self, lineage: Lineage) {
        if !self.is_writer {
            return;
        }
        self.poll().await;
        self.pending.truncate(MAX_PENDING - 1);
        sleep(WRITING).await;
        let manifest = Manifest::new(self.start.job_id.clone(), self.start.generation, lineage);
        self.line.say(FromRank::AskCommit { checkpoint: manifest.id() }).await;
        self.pending.push_back(manifest);
        if self.world.truth().plant == Plant::Unfenced {
            self.conclude(true).await;
        }
    }

    /// Commits what is answered.
    pub async fn poll(&mut self) {
        while let Some(manifest) = self.pending.front() {
            let Some(is_allowed) = self.line.take_commit(&manifest.id()).await else { break };
            self.conclude(is_allowed).await;
        }
    }

    /// Waits for all answers, or until the deadline; whether the last one was yes.
    pub async fn settle(&mut self, deadline: Option<Instant>) -> bool {
        while let Some(manifest) = self.pending.front() {
            let is_allowed = self.line.wait_commit(&manifest.id(), deadline).await;
            self.conclude(is_allowed.unwrap_or(false)).await;
        }
        self.is_granted
    }

    pub async fn settle_and_stop(&mut self) {
        self.settle(Some(Instant::now() + STOP_PATIENCE)).await;
    }

    pub async fn settle_after_fault(&mut self) {
        self.settle(Some(Instant::now() + FAULT_PATIENCE)).await;
    }

    async fn conclude(&mut self, is_allowed: bool) {
        let Some(manifest) = self.pending.pop_front() else { return };
        self.is_granted = is_allowed;
        if !is_allowed {
            self.world.truth().counts.refused += 1;
            return;
        }
        let checkpoint = self.to_wire(&manifest);
        let n_kept = self.policy().keep_last.unwrap_or(1) as usize;
        self.world.truth().commit(self.pid, &self.start, manifest, n_kept);
        if self.start.rank.0 == 0 {
            self.line.say(FromRank::Committed(Wire(checkpoint))).await;
        }
    }

    fn policy(&self) -> v1::CheckpointPolicy {
        self.start.spec.0.recipe.as_ref().and_then(|recipe| recipe.checkpoint).unwrap_or_default()
    }

    fn to_wire(&self, manifest: &Manifest) -> v1::Checkpoint {
        v1::Checkpoint {
            id: manifest.id().to_string(),
            job_id: manifest.job_id.to_string(),
            generation: manifest.generation.0,
            step: manifest.step().0,
            node_id: self.start.node_id.to_string(),
            manifest_digest: manifest.own_digest(),
            ..Default::default()
        }
    }
}
