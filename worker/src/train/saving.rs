//! When checkpoints are written, by whom, and with whose permission.
//!
//! State is equal on all ranks after each step, so one rank per node writes it, and a node that is lost takes no
//! step with it. The files are written at once; the commit waits for the agent's permission, which may take as long
//! as the coordinator is away, while steps go on.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use kindred_ipc::{FromRank, Wire};
use kindred_proto::{
    ids::{Generation, Step},
    recipe::CheckpointInterval,
    v1,
};

use super::{
    Error,
    agreement::{check_finite, check_state},
    job::Job,
    link::Link,
    report::{KNN, unix_ms},
    step::Trainer,
};
use crate::checkpoint::{Manifest, Staged, keep_newest, remove_leftovers, set_aside, stage};

/// How long a rank that stops waits for the permission to commit.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long one that failed does: an agent with a lease answers at once, and others wait for this rank's end.
const FAULT_PATIENCE: Duration = Duration::from_secs(1);

/// Checkpoints that may wait for their permission. The oldest is kept, so that one gets through however fast they
/// follow one another, and the newest, for when the coordinator was away.
const MAX_PENDING: usize = 2;

/// Writes checkpoints and sees them committed.
pub struct Saver<'a> {
    job: &'a Job,
    link: &'a Link,
    is_writer: bool,
    /// Oldest first.
    pending: VecDeque<Staged>,
    /// The agent's newest answer.
    permission: Permission,
}

/// Whether the agent lets this generation leave something durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everything that was written is in place.
    Granted,
    /// The generation is over.
    Refused,
}

/// A job's first generation starts from nothing: checkpoints that are there already are not its own.
///
/// # Errors
/// When they cannot be moved aside.
pub fn begin_anew(job: &Job) -> Result<(), Error> {
    if job.start.generation != Generation(1) {
        return Ok(());
    }
    if let Some(path) = set_aside(&job.checkpoints())? {
        tracing::warn!(path = %path.display(), "checkpoints of another job of this name, moved aside");
    }
    Ok(())
}

impl<'a> Saver<'a> {
    /// Starts with no checkpoint waiting; what dead processes left is removed.
    ///
    /// # Errors
    /// When the folder cannot be cleaned.
    pub fn new(job: &'a Job, link: &'a Link, is_writer: bool) -> Result<Self, Error> {
        if is_writer {
            remove_leftovers(&job.checkpoints())?;
        }
        Ok(Self { job, link, is_writer, pending: VecDeque::new(), permission: Permission::Granted })
    }

    /// Whether one is due after so many steps.
    pub fn is_due(&self, taken: Step) -> bool {
        let every = match self.job.spec.recipe.checkpoint.every {
            CheckpointInterval::Steps(n_steps) => n_steps,
            CheckpointInterval::Epochs(n_epochs) => u64::from(n_epochs) * self.job.steps.per_epoch,
        };
        taken.0 == self.job.steps.total || taken.0.is_multiple_of(every)
    }

    /// Writes one, and asks for the permission to commit it. All ranks call this after the same step. Of those that
    /// still wait for theirs, all but the oldest give way to it.
    ///
    /// # Errors
    /// When ranks differ in their state, it is not finite, or the files cannot be written.
    pub fn save(
        &mut self,
        taken: Step,
        trainer: &Trainer,
        metrics: &BTreeMap<String, f64>,
    ) -> Result<(), Error> {
        let state = trainer.state();
        check_state(&state, taken, trainer.collective())?;
        check_finite(&state, taken)?;
        if !self.is_writer {
            return Ok(());
        }
        self.poll()?;
        self.pending.truncate(MAX_PENDING - 1);
        let staged = stage(&self.job.checkpoints(), self.manifest(taken, metrics), &state)?;
        self.link.say(FromRank::AskCommit { checkpoint: staged.manifest().id() });
        self.pending.push_back(staged);
        Ok(())
    }

    /// Commits what is waiting as far as the permissions have come.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn poll(&mut self) -> Result<(), Error> {
        while let Some(staged) = self.pending.front() {
            let Some(is_allowed) = self.link.take_commit(&staged.manifest().id()) else { break };
            self.conclude(is_allowed)?;
        }
        Ok(())
    }

    /// Waits for the permission and commits what is waiting; a wish to stop ends the wait.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn settle(&mut self) -> Result<Permission, Error> {
        self.settle_until(None)
    }

    /// As [`Saver::settle`], for a rank that was asked to stop.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn settle_and_stop(&mut self) -> Result<Permission, Error> {
        self.settle_until(Some(Instant::now() + STOP_PATIENCE))
    }

    /// As [`Saver::settle`], for a rank that failed: what it wrote before is good. The failure is what it will be
    /// remembered for, so that one of the file system is only logged.
    pub fn settle_after_fault(&mut self) {
        if let Err(error) = self.settle_until(Some(Instant::now() + FAULT_PATIENCE)) {
            tracing::warn!(%error, "the newest checkpoint is lost");
        }
    }

    fn settle_until(&mut self, deadline: Option<Instant>) -> Result<Permission, Error> {
        while let Some(staged) = self.pending.front() {
            let is_allowed = self.link.wait_commit(&staged.manifest().id(), deadline);
            self.conclude(is_allowed.unwrap_or(false))?;
        }
        Ok(self.permission)
    }

    fn conclude(&mut self, is_allowed: bool) -> Result<(), Error> {
        let Some(staged) = self.pending.pop_front() else { return Ok(()) };
        self.permission = if is_allowed { Permission::Granted } else { Permission::Refused };
        let (step, checkpoint_id) = (staged.manifest().step, staged.manifest().id());
        if !is_allowed {
            tracing::info!(%step, %checkpoint_id, "checkpoint dropped, this generation may not commit it");
            return Ok(());
        }
        let wire = self.to_wire(&staged);
        staged.commit()?;
        if self.job.is_first_rank() {
            self.link.say(FromRank::Committed(Wire(wire)));
        }
        tracing::info!(%step, %checkpoint_id, "checkpoint committed");
        Ok(keep_newest(&self.job.checkpoints(), self.job.spec.recipe.checkpoint.keep_last as usize)?)
    }

    fn manifest(&self, step: Step, metrics: &BTreeMap<String, f64>) -> Manifest {
        let start = &self.job.start;
        Manifest {
            job_id: start.job_id.clone(),
            generation: start.generation,
            world_size: start.world_size,
            step,
            epoch: self.job.epoch(step),
            recipe_digest: self.job.recipe_digest.clone(),
            dataset_digest: self.job.dataset.digest().to_owned(),
            files: Vec::new(),
            metrics: metrics.clone(),
            time_unix_ms: unix_ms(),
        }
    }

    fn to_wire(&self, staged: &Staged) -> v1::Checkpoint {
        let manifest = staged.manifest();
        v1::Checkpoint {
            id: manifest.id().to_string(),
            job_id: manifest.job_id.to_string(),
            generation: manifest.generation.0,
            step: manifest.step.0,
            epoch: manifest.epoch,
            path: staged.target().display().to_string(),
            node_id: self.job.start.node_id.to_string(),
            size_bytes: staged.size_bytes(),
            manifest_digest: staged.manifest_digest().to_owned(),
            time_unix_ms: manifest.time_unix_ms,
            knn_accuracy_percent: manifest.metrics.get(KNN).copied(),
        }
    }
}
