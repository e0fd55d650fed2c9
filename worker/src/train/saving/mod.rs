//! When checkpoints are written, by whom, and with whose permission.
//!
//! State is equal on all ranks after each step, so one rank per node writes it, and a node that is lost takes no
//! step with it. Training waits for a copy of the state and no more: looking at it, writing and committing are the
//! [`Writer`]'s, on a thread of its own. The ranks compare what they hold at the step boundary after the one that was
//! saved, when the thread has had a step's time to look at it.

mod desk;
mod interval;
mod shipping;
mod writer;
mod written;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kindred_ipc::{FromRank, Wire};
use kindred_proto::{
    ids::{CheckpointId, Generation, Step},
    v1,
};

use super::{
    Error,
    agreement::compare,
    job::Job,
    link::{Link, Word},
    report::unix_ms,
    step::Trainer,
};
use crate::checkpoint::{self, Earlier, Manifest, Remote, set_aside_others};
use interval::Interval;
use kindred_store::{Store, Worker};

pub use shipping::Outlet;
pub use writer::{Gate, Inspection, Mailbox, Order, Permission, Writer};

/// How long a rank that failed waits for what it wrote before.
const FAULT_PATIENCE: Duration = Duration::from_secs(10);

/// How long one that lost a peer does: an agent with a lease answers at once, and others wait for this rank.
const PEER_LOSS_PATIENCE: Duration = Duration::from_secs(1);

/// Sees to it that checkpoints are written when they are due.
pub struct Saver<'a> {
    job: &'a Job,
    writer: &'a mut Writer,
    is_writer: bool,
    interval: Interval,
    /// After which step the newest one was.
    saved: Option<Step>,
    /// What was saved last, until the ranks have compared it.
    uncompared: Option<Uncompared>,
}

struct Uncompared {
    step: Step,
    /// The tensors, in the order of their digests.
    names: Vec<String>,
}

/// The line to the agent gives the permissions.
impl Gate for Link {
    fn ask(&self, checkpoint: &CheckpointId) {
        self.say(FromRank::AskCommit { checkpoint: checkpoint.clone() });
    }

    fn committed(&self, checkpoint: v1::Checkpoint) {
        self.say(FromRank::Committed(Wire(checkpoint)));
    }
}

/// Starts the writer of a rank's checkpoints, which hears the agent's answers.
///
/// # Errors
/// When the system has no thread to give.
pub fn start_writer(job: &Job, link: &Link) -> Result<Writer, Error> {
    let writer = Writer::start(job.checkpoints(), link.clone(), outlet(job)?)?;
    let mailbox = writer.mailbox();
    link.listen(move |word| match word {
        Word::MayCommit { checkpoint, answer } => mailbox.answer(checkpoint, answer),
        Word::Keep(checkpoints) => mailbox.keep(checkpoints),
        Word::Stop => mailbox.stop(),
    });
    Ok(writer)
}

/// The way to the store that the agent names, if it does.
fn outlet(job: &Job) -> Result<Option<Outlet>, Error> {
    let Some(named) = &job.start.checkpoint_store else { return Ok(None) };
    let store = Store::open(&named.url, Duration::from_millis(named.patience_ms));
    let remote =
        Remote::new(&store.map_err(checkpoint::Error::from)?, &job.start.job_id, job.start.created_unix_ms);
    let stop_patience = Duration::from_millis(named.stop_patience_ms);
    Ok(Some(Outlet { remote, worker: Worker::start().map_err(Error::Thread)?, stop_patience }))
}

/// A job's first generation starts from nothing: checkpoints of another job that lie in its folder are moved aside. Its own are
/// those of a newer generation: this process was started long ago, and is of no use any more.
///
/// # Errors
/// When the job has a checkpoint there, or another one's cannot be moved aside.
pub fn begin_anew(job: &Job) -> Result<(), Error> {
    if job.start.generation != Generation(1) {
        return Ok(());
    }
    let Earlier { own, aside } = set_aside_others(&job.checkpoints(), job.start.created_unix_ms)?;
    if let Some(path) = aside {
        tracing::warn!(path = %path.display(), "checkpoints of another job of this name, moved aside");
    }
    own.map_or(Ok(()), |id| Err(Error::Superseded { id }))
}

impl<'a> Saver<'a> {
    /// Starts after so many steps, with no checkpoint waiting: those of an earlier generation are dropped.
    ///
    /// # Errors
    /// When the writer is gone.
    pub fn new(job: &'a Job, writer: &'a mut Writer, is_writer: bool, taken: Step) -> Result<Self, Error> {
        writer.abandon()?;
        Ok(Self {
            job,
            writer,
            is_writer,
            interval: Interval::new(job, taken),
            saved: None,
            uncompared: None,
        })
    }

    /// Whether one is due after so many steps.
    pub fn is_due(&self, taken: Step) -> bool {
        self.interval.is_due(taken)
    }

    /// Whether this generation has saved after so many steps.
    pub fn has_saved(&self, taken: Step) -> bool {
        self.saved == Some(taken)
    }

    /// Copies the state for the writer. All ranks call this after the same step.
    ///
    /// # Errors
    /// When the one before could not be written, memory runs out, or as [`Saver::compare`].
    pub fn save(
        &mut self,
        taken: Step,
        trainer: &Trainer,
        metrics: &BTreeMap<String, f64>,
    ) -> Result<(), Error> {
        self.compare(trainer)?;
        let since = Instant::now();
        let state = trainer.state();
        self.writer.save(&state, self.order(taken, metrics))?;
        self.interval.saved(taken, since.elapsed());
        self.saved = Some(taken);
        self.uncompared =
            Some(Uncompared { step: taken, names: state.into_iter().map(|(name, _)| name).collect() });
        Ok(())
    }

    /// Compares what the ranks saved last; what they agree on may be committed. All ranks call this after the same step.
    ///
    /// # Errors
    /// When ranks differ in their state, it is not finite, or a peer is lost.
    pub fn compare(&mut self, trainer: &Trainer) -> Result<(), Error> {
        let Some(Uncompared { step, names }) = self.uncompared.take() else { return Ok(()) };
        let inspection = self.writer.inspection()?.expect("what was saved is looked at once");
        compare(&inspection.digests, &names, step, trainer.collective())?;
        inspection.finite?;
        self.interval.agree(trainer.collective())?;
        self.writer.agreed()
    }

    /// Gives the fault that the writer has met, if it has.
    ///
    /// # Errors
    /// That fault: a checkpoint could not be written or committed.
    pub fn check(&self) -> Result<(), Error> {
        self.writer.check()
    }

    /// Waits until what was saved is written, and for the permissions; a wish to stop ends that wait soon. All ranks call this
    /// after the same step.
    ///
    /// # Errors
    /// As [`Saver::compare`], and when the file system fails.
    pub fn settle(&mut self, trainer: &Trainer) -> Result<Permission, Error> {
        self.compare(trainer)?;
        self.writer.settle(None)
    }

    /// As [`Saver::settle`], for a rank that was asked to stop.
    ///
    /// # Errors
    /// As [`Saver::settle`].
    pub fn settle_and_stop(&mut self, trainer: &Trainer) -> Result<Permission, Error> {
        self.compare(trainer)?;
        self.writer.settle(Some(desk::STOP_PATIENCE))
    }

    /// As [`Saver::settle`], for a rank that failed: what it wrote before is good. The failure is what it will be
    /// remembered for, so that one of the file system is only logged.
    pub fn settle_after_fault(&mut self, fault: &Error) {
        let patience = if fault.is_about_peers() { PEER_LOSS_PATIENCE } else { FAULT_PATIENCE };
        if let Err(error) = self.writer.settle_within(patience) {
            tracing::warn!(%error, "the newest checkpoint is lost");
        }
    }

    fn order(&self, step: Step, metrics: &BTreeMap<String, f64>) -> Order {
        let start = &self.job.start;
        Order {
            manifest: self.manifest(step, metrics),
            is_written: self.is_writer,
            is_compared: start.world_size.0 > 1,
            told_by: self.job.is_first_rank().then(|| start.node_id.clone()),
        }
    }

    fn manifest(&self, step: Step, metrics: &BTreeMap<String, f64>) -> Manifest {
        let start = &self.job.start;
        Manifest {
            job_id: start.job_id.clone(),
            job_created_unix_ms: start.created_unix_ms,
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
}
