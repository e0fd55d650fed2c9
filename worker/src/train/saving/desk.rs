//! What the thread that makes checkpoints does with each message.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    time::{Duration, Instant},
};

use kindred_proto::{ids::CheckpointId, v1};

use super::writer::{Command, Fault, Gate, Inspection, Order, Permission};
use crate::{
    checkpoint::{Snapshot, Staged, remove_all_but, remove_leftovers, stage},
    train::{
        agreement::{check_finite, digests},
        error::{self, Error},
        report::KNN,
    },
};

/// Checkpoints that may wait for their permission. The oldest is kept, so that one gets through however fast they
/// follow one another, and the newest, for when the coordinator was away.
const MAX_PENDING: usize = 2;

/// How long a permission is waited for once a stop is wished.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The thread's own state.
pub(super) struct Desk {
    folder: PathBuf,
    gate: Box<dyn Gate>,
    returns: SyncSender<Snapshot>,
    fault: Fault,
    /// Written; the ranks have not compared it yet.
    uncompared: Option<Written>,
    /// Asked for, oldest first.
    pending: VecDeque<Written>,
    permission: Permission,
    settling: Option<Settling>,
    is_stop_wished: bool,
    is_clean: bool,
}

/// A checkpoint on disk that is not in place.
struct Written {
    staged: Staged,
    order: Order,
}

/// Somebody waits until nothing waits any more.
struct Settling {
    deadline: Option<Instant>,
    done: SyncSender<Permission>,
}

impl Desk {
    pub fn new(folder: PathBuf, gate: Box<dyn Gate>, returns: SyncSender<Snapshot>, fault: Fault) -> Self {
        Self {
            folder,
            gate,
            returns,
            fault,
            uncompared: None,
            pending: VecDeque::new(),
            permission: Permission::Granted,
            settling: None,
            is_stop_wished: false,
            is_clean: false,
        }
    }

    /// Serves until nobody can send anything any more.
    pub fn serve(mut self, queue: &Receiver<Command>) {
        loop {
            let deadline = self.settling.as_ref().and_then(|settling| settling.deadline);
            let received = match deadline {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => queue.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match received {
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => self.refuse_all(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.report_settled();
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Save { order, snapshot, inspected } => self.save(order, snapshot, &inspected),
            Command::Agreed => {
                if let Some(written) = self.uncompared.take() {
                    self.ask(written);
                }
            }
            Command::Answer { checkpoint, answer } => match answer.now() {
                Some(is_allowed) => self.conclude(&checkpoint, is_allowed),
                // The permission is over: a newer generation may have begun.
                None => self.gate.ask(&checkpoint),
            },
            Command::Keep(kept) => {
                if let Err(error) = remove_all_but(&self.folder, &kept) {
                    self.fail(error.into());
                }
            }
            Command::StopWished => {
                self.is_stop_wished = true;
                if let Some(settling) = &mut self.settling {
                    settling.deadline.get_or_insert_with(|| Instant::now() + STOP_PATIENCE);
                }
            }
            Command::Settle { patience, done } => {
                // What ranks were to compare and have not: a peer was lost in between.
                self.uncompared = None;
                let patience = patience.or(self.is_stop_wished.then_some(STOP_PATIENCE));
                let deadline = patience.map(|patience| Instant::now() + patience);
                self.settling = Some(Settling { deadline, done });
            }
            Command::Abandon => self.abandon(),
        }
    }

    fn abandon(&mut self) {
        self.uncompared = None;
        self.pending.clear();
        self.permission = Permission::Granted;
    }

    /// Looks at a copy, tells what was found, and writes it where that is this rank's part.
    fn save(&mut self, order: Order, snapshot: Snapshot, inspected: &SyncSender<Result<Inspection, Error>>) {
        let inspection = error::catch(|| inspect(&order, &snapshot));
        let is_sound = inspection.as_ref().is_ok_and(|inspection| inspection.finite.is_ok());
        // Training that is gone does not read it.
        let _ = inspected.send(inspection);
        let written = match is_sound && order.is_written {
            true => error::catch(|| self.write(order, &snapshot).map(Some)),
            false => Ok(None),
        };
        match written {
            Ok(Some(written)) if written.order.is_compared => self.uncompared = Some(written),
            Ok(Some(written)) => self.ask(written),
            Ok(None) => {}
            Err(error) => self.fail(error),
        }
        let _ = self.returns.send(snapshot);
    }

    fn write(&mut self, order: Order, snapshot: &Snapshot) -> Result<Written, Error> {
        if !self.is_clean {
            remove_leftovers(&self.folder)?;
            self.is_clean = true;
        }
        let staged = stage(&self.folder, order.manifest.clone(), snapshot.tensors())?;
        Ok(Written { staged, order })
    }

    /// Asks for the permission. Of those that still wait for theirs, all but the oldest give way.
    fn ask(&mut self, written: Written) {
        self.pending.truncate(MAX_PENDING - 1);
        self.gate.ask(&written.staged.manifest().id());
        self.pending.push_back(written);
    }

    fn conclude(&mut self, checkpoint: &CheckpointId, is_allowed: bool) {
        let position = self.pending.iter().position(|written| written.staged.manifest().id() == *checkpoint);
        let Some(written) = position.and_then(|position| self.pending.remove(position)) else { return };
        self.permission = if is_allowed { Permission::Granted } else { Permission::Refused };
        let (step, checkpoint_id) = (written.staged.manifest().step, checkpoint);
        if !is_allowed {
            tracing::info!(%step, %checkpoint_id, "checkpoint dropped, this generation may not commit it");
            return;
        }
        match error::catch(|| written.commit(self.gate.as_ref())) {
            Ok(()) => tracing::info!(%step, %checkpoint_id, "checkpoint committed"),
            Err(error) => self.fail(error),
        }
    }

    fn refuse_all(&mut self) {
        while let Some(written) = self.pending.front() {
            let checkpoint = written.staged.manifest().id();
            self.conclude(&checkpoint, false);
        }
    }

    /// Keeps the first fault for training; nothing that waits is of use then.
    fn fail(&mut self, error: Error) {
        self.abandon();
        self.fault.lock().expect("nothing panics while it holds this lock").get_or_insert(error);
    }

    fn report_settled(&mut self) {
        if self.pending.is_empty()
            && let Some(settling) = self.settling.take()
        {
            // Whoever was in a hurry does not wait any more.
            let _ = settling.done.try_send(self.permission);
        }
    }
}

fn inspect(order: &Order, snapshot: &Snapshot) -> Result<Inspection, Error> {
    let state = snapshot.tensors();
    Ok(Inspection {
        digests: if order.is_compared { digests(state) } else { Vec::new() },
        finite: check_finite(state, order.manifest.step),
    })
}

impl Written {
    fn commit(self, gate: &dyn Gate) -> Result<(), Error> {
        let wire = self.to_wire();
        self.staged.commit()?;
        if let Some(wire) = wire {
            gate.committed(wire);
        }
        Ok(())
    }

    /// What others are told of it, where they are.
    fn to_wire(&self) -> Option<v1::Checkpoint> {
        let manifest = self.staged.manifest();
        Some(v1::Checkpoint {
            id: manifest.id().to_string(),
            job_id: manifest.job_id.to_string(),
            generation: manifest.generation.0,
            step: manifest.step.0,
            epoch: manifest.epoch,
            path: self.staged.target().display().to_string(),
            node_id: self.order.told_by.as_ref()?.to_string(),
            size_bytes: self.staged.size_bytes(),
            manifest_digest: self.staged.manifest_digest().to_owned(),
            time_unix_ms: manifest.time_unix_ms,
            knn_accuracy_percent: manifest.metrics.get(KNN).copied(),
            pinned: false,
        })
    }
}
