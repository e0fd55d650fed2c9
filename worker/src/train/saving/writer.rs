//! The thread that makes checkpoints while steps go on.
//!
//! Training copies its state, hands the copy over and goes on. This thread looks at the copy, writes and syncs the files,
//! and, once the ranks have compared what they hold, asks for the permission to commit, which may take as long as the
//! coordinator is away. There is one copy: whoever hands over the next one while this one is still on its way to the disk
//! waits for that, so that memory is bounded and every checkpoint that was due is made, however slow the disk. What was
//! written and waits for its permission is on disk and holds nobody up. Where there is an object store, the rank that tells
//! others of checkpoints takes them there: the state before it asks, the manifest when it may. That holds nobody up either.
//!
//! Training reaches the thread by messages only. A fault waits for [`Writer::check`], on which training ends as it would
//! have, had it written the files itself.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use kindred_proto::{
    ids::{CheckpointId, NodeId},
    v1,
};
use tch::Tensor;

use super::{desk::Desk, shipping::Outlet};
use crate::{
    checkpoint::{self, Manifest, Snapshot},
    train::{Error, link::Answer},
};

/// Messages that may wait for the thread: a few of training, and one answer for each checkpoint that waits.
const QUEUE_LEN: usize = 16;

/// Who gives the permission to commit, and hears of what was committed.
pub trait Gate: Send + 'static {
    /// Asks for the permission; the answer comes through a [`Mailbox`].
    fn ask(&self, checkpoint: &CheckpointId);

    /// A checkpoint that others should hear of is in place.
    fn committed(&self, checkpoint: v1::Checkpoint);
}

/// Whether the agent lets this generation leave something durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everything that was written is in place.
    Granted,
    /// The generation is over.
    Refused,
}

/// What is to become of a copy of the state.
#[derive(Clone, Debug)]
pub struct Order {
    /// What it is a copy of.
    pub manifest: Manifest,
    /// Whether this rank writes it; another rank of the node does otherwise.
    pub is_written: bool,
    /// Whether ranks compare what they hold before anything is committed.
    pub is_compared: bool,
    /// The node to name when others hear of it; none where another rank tells.
    pub told_by: Option<NodeId>,
}

/// What the thread found in a copy.
pub struct Inspection {
    /// What ranks compare; empty where they do not.
    pub digests: Vec<u8>,
    /// A refusal when a value is not finite.
    pub finite: Result<(), Error>,
}

/// A message to the thread.
pub(super) enum Command {
    /// Look at the copy, and write it.
    Save { order: Order, snapshot: Snapshot, inspected: SyncSender<Result<Inspection, Error>> },
    /// All ranks hold the same as what was handed over last.
    Agreed,
    /// The answer to a question.
    Answer { checkpoint: CheckpointId, answer: Answer },
    /// The job's recorded checkpoints that stay.
    Keep(Vec<CheckpointId>),
    /// The agent wants this rank to stop.
    StopWished,
    /// The state of a checkpoint is in the store, or could not be put there.
    Uploaded { checkpoint: CheckpointId, outcome: Result<(), checkpoint::Error> },
    /// So is its manifest, which was created with this permission.
    Sealed { checkpoint: CheckpointId, answer: Answer, outcome: Result<(), checkpoint::Error> },
    /// What is let go of is removed from the store.
    Pruned { number: u64 },
    /// Say when nothing waits any more; for so long, or without an end until a stop is wished. Who is hasty does not wait for the
    /// store.
    Settle { patience: Option<Duration>, is_hasty: bool, done: SyncSender<Permission> },
    /// Drop what is not committed; a generation begins anew.
    Abandon,
    /// Nobody waits for anything any more.
    End,
}

/// The first fault that the thread met and nobody has taken.
pub(super) type Fault = Arc<Mutex<Option<Error>>>;

/// Training's end of the thread. The thread ends with it.
pub struct Writer {
    commands: SyncSender<Command>,
    fault: Fault,
    /// The copy's memory, unless the thread has it.
    snapshot: Option<Snapshot>,
    returned: Receiver<Snapshot>,
    inspected: Option<Receiver<Result<Inspection, Error>>>,
}

/// Takes the words of an agent to the thread; clones do the same.
#[derive(Clone)]
pub struct Mailbox(SyncSender<Command>);

impl Mailbox {
    /// The answer to [`Gate::ask`].
    pub fn answer(&self, checkpoint: CheckpointId, answer: Answer) {
        // A thread that is gone has nothing that waits for an answer.
        let _ = self.0.send(Command::Answer { checkpoint, answer });
    }

    /// The job's recorded checkpoints that stay: what is let go of is removed.
    pub fn keep(&self, checkpoints: Vec<CheckpointId>) {
        let _ = self.0.send(Command::Keep(checkpoints));
    }

    /// The agent wants this rank to stop: nobody waits for an answer without an end.
    pub fn stop(&self) {
        let _ = self.0.send(Command::StopWished);
    }
}

impl Writer {
    /// Starts the thread, for the checkpoints in a folder and, if there is one, in a store.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn start(folder: PathBuf, gate: impl Gate, outlet: Option<Outlet>) -> Result<Self, Error> {
        let (commands, queue) = sync_channel(QUEUE_LEN);
        let (returns, returned) = sync_channel(1);
        let fault = Fault::default();
        let desk = Desk::new(folder, Box::new(gate), outlet, commands.clone(), returns, fault.clone());
        let thread = thread::Builder::new().name("checkpoint-writer".into());
        thread.spawn(move || desk.serve(&queue)).map_err(Error::Thread)?;
        Ok(Self { commands, fault, snapshot: Some(Snapshot::default()), returned, inspected: None })
    }

    /// Where the agent's words go.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox(self.commands.clone())
    }

    /// Copies the state and hands the copy over; waits while the one before is on its way to the disk.
    ///
    /// # Errors
    /// When the one before could not be written, or the state cannot be copied.
    pub fn save(&mut self, state: &[(String, Tensor)], order: Order) -> Result<(), Error> {
        let mut snapshot = match self.snapshot.take() {
            Some(snapshot) => snapshot,
            None => self.returned.recv().map_err(|_| gone())?,
        };
        let copied = self.check().and_then(|()| Ok(snapshot.take(state)?));
        if let Err(error) = copied {
            self.snapshot = Some(snapshot);
            return Err(error);
        }
        let (inspected, inspection) = sync_channel(1);
        self.inspected = Some(inspection);
        self.send(Command::Save { order, snapshot, inspected })
    }

    /// What was found in the copy that was handed over last, once: waits for it.
    ///
    /// # Errors
    /// When the thread could not look at it.
    pub fn inspection(&mut self) -> Result<Option<Inspection>, Error> {
        let Some(inspected) = self.inspected.take() else { return Ok(None) };
        inspected.recv().map_err(|_| gone())?.map(Some)
    }

    /// All ranks hold the same: what was handed over last may be committed.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn agreed(&self) -> Result<(), Error> {
        self.send(Command::Agreed)
    }

    /// Gives the fault that the thread has met, if it has.
    ///
    /// # Errors
    /// That fault.
    pub fn check(&self) -> Result<(), Error> {
        let fault = self.fault.lock().expect("nothing panics while it holds this lock").take();
        fault.map_or(Ok(()), Err)
    }

    /// Waits until everything that was handed over is written and concluded. For each permission it waits so long, or, without
    /// `patience`, until a stop is wished.
    ///
    /// # Errors
    /// When a checkpoint could not be written or committed.
    pub fn settle(&mut self, patience: Option<Duration>) -> Result<Permission, Error> {
        let (done, permission) = sync_channel(1);
        self.send(Command::Settle { patience, is_hasty: false, done })?;
        let permission = permission.recv().map_err(|_| gone())?;
        self.check()?;
        Ok(permission)
    }

    /// As [`Writer::settle`], for at most so long altogether and not for the store; what is not committed then is dropped.
    ///
    /// # Errors
    /// As [`Writer::settle`].
    pub fn settle_within(&mut self, patience: Duration) -> Result<(), Error> {
        let (done, permission) = sync_channel(1);
        self.send(Command::Settle { patience: Some(patience), is_hasty: true, done })?;
        if permission.recv_timeout(patience).is_err() {
            self.abandon()?;
        }
        self.check()
    }

    /// Drops what is not committed: its generation is over.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn abandon(&mut self) -> Result<(), Error> {
        self.inspected = None;
        self.send(Command::Abandon)
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).map_err(|_| gone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A thread that is gone needs no end.
        let _ = self.commands.send(Command::End);
    }
}

/// The thread catches what goes wrong in it, and ends only with its [`Writer`].
fn gone() -> Error {
    Error::Panicked("the thread that writes checkpoints is gone".into())
}
