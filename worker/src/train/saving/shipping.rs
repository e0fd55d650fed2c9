//! What goes to the object store, if there is one, while the desk does other things.

use std::{path::PathBuf, sync::mpsc::SyncSender, time::Duration};

use kindred_proto::ids::CheckpointId;
use kindred_store::{Task, Worker};

use super::writer::{Command, Order};
use crate::{checkpoint::Remote, train::link::Answer};

/// A store for the job's checkpoints.
#[derive(Debug)]
pub struct Outlet {
    /// Their place there.
    pub remote: Remote,
    /// The thread that speaks with it.
    pub worker: Worker,
    /// How long it is waited for once a stop is wished.
    pub stop_patience: Duration,
}

/// The desk's way to the store.
pub(super) struct Shipping {
    outlet: Option<Outlet>,
    commands: SyncSender<Command>,
    /// Whether this rank tells the others of checkpoints, by its newest order; it alone removes any from the store.
    is_teller: bool,
    pruning: Option<Task>,
    n_prunes: u64,
    /// What is to be removed when that is done.
    next: Option<(Vec<CheckpointId>, Vec<CheckpointId>)>,
}

impl Shipping {
    pub fn new(outlet: Option<Outlet>, commands: SyncSender<Command>) -> Self {
        Self { outlet, commands, is_teller: false, pruning: None, n_prunes: 0, next: None }
    }

    /// Takes note of what this rank is.
    pub fn serves(&mut self, order: &Order) {
        self.is_teller = order.told_by.is_some();
    }

    pub fn url_of(&self, id: &CheckpointId) -> Option<String> {
        self.outlet.as_ref().map(|outlet| outlet.remote.url_of(id))
    }

    /// How long the store is waited for once a stop is wished.
    pub fn stop_patience(&self) -> Duration {
        self.outlet.as_ref().map_or(Duration::ZERO, |outlet| outlet.stop_patience)
    }

    /// How long one thing may take in the store.
    pub fn patience(&self) -> Duration {
        self.outlet.as_ref().map_or(Duration::ZERO, |outlet| outlet.remote.patience())
    }

    /// Begins to upload the state of a checkpoint in a folder; the desk hears of its end.
    pub fn upload(&self, checkpoint: CheckpointId, folder: PathBuf) -> Option<Task> {
        let Outlet { remote, worker, .. } = self.outlet.as_ref()?;
        let (remote, commands, id) = (remote.clone(), self.commands.clone(), checkpoint.clone());
        let work = async move { remote.upload(&id, &folder).await };
        // A desk that is gone does not hear it.
        Some(
            worker.spawn(work, move |outcome| drop(commands.send(Command::Uploaded { checkpoint, outcome }))),
        )
    }

    /// Begins to create the manifest of a checkpoint in a folder, while a permission lasts; the desk hears of its end.
    pub fn seal(&self, checkpoint: CheckpointId, folder: PathBuf, answer: Answer) -> Option<Task> {
        let Outlet { remote, worker, .. } = self.outlet.as_ref()?;
        let (remote, commands, id) = (remote.clone(), self.commands.clone(), checkpoint.clone());
        let work = async move { remote.seal(&id, &folder, answer.left()).await };
        let done = move |outcome| drop(commands.send(Command::Sealed { checkpoint, answer, outcome }));
        Some(worker.spawn(work, done))
    }

    /// Begins to remove what is let go of, or does that next; a fault is for the next time.
    pub fn prune(&mut self, kept: Vec<CheckpointId>, spared: Vec<CheckpointId>) {
        let Some(Outlet { remote, worker, .. }) = self.outlet.as_ref().filter(|_| self.is_teller) else {
            return;
        };
        if self.pruning.is_some() {
            self.next = Some((kept, spared));
            return;
        }
        self.n_prunes += 1;
        let (remote, commands, number) = (remote.clone(), self.commands.clone(), self.n_prunes);
        let work = async move { remote.remove_all_but(&kept, &spared).await };
        self.pruning = Some(worker.spawn(work, move |outcome| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "old checkpoints stay in the store until the next is recorded");
            }
            drop(commands.send(Command::Pruned { number }));
        }));
    }

    /// A removal has ended.
    pub fn pruned(&mut self, number: u64) {
        if number == self.n_prunes {
            self.pruning = None;
            if let Some((kept, spared)) = self.next.take() {
                self.prune(kept, spared);
            }
        }
    }

    pub fn is_pruning(&self) -> bool {
        self.pruning.is_some()
    }

    /// Leaves the rest to the next time.
    pub fn stop_pruning(&mut self) {
        self.pruning = None;
        self.next = None;
    }
}
