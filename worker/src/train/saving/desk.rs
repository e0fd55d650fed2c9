//! What the thread that makes checkpoints does with each message.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    time::{Duration, Instant},
};

use kindred_proto::ids::CheckpointId;

use super::{
    shipping::{Outlet, Shipping},
    writer::{Command, Fault, Gate, Inspection, Order, Permission},
    written::Written,
};
use crate::{
    checkpoint::{Snapshot, remove_all_but, remove_leftovers, stage},
    train::{
        agreement::{check_finite, digests},
        error::{self, Error},
        link::Answer,
    },
};

/// Checkpoints that may wait for the store and for their permission. The oldest is kept, so that one gets through however fast
/// they follow one another, and the newest, for when the coordinator was away.
const MAX_PENDING: usize = 2;

/// How long a permission is waited for once a stop is wished.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The thread's own state.
pub(super) struct Desk {
    folder: PathBuf,
    gate: Box<dyn Gate>,
    returns: SyncSender<Snapshot>,
    fault: Fault,
    shipping: Shipping,
    /// Written; the ranks have not compared it yet.
    uncompared: Option<Written>,
    /// On their way to the store, or asked for; oldest first.
    pending: Vec<Written>,
    permission: Permission,
    settling: Option<Settling>,
    is_stop_wished: bool,
    is_clean: bool,
}

/// Somebody waits until nothing waits any more.
struct Settling {
    /// What is still on its way to the store then stays here.
    ship_until: Option<Instant>,
    /// What has no permission then is dropped.
    ask_until: Option<Instant>,
    done: SyncSender<Permission>,
}

impl Desk {
    pub fn new(
        folder: PathBuf,
        gate: Box<dyn Gate>,
        outlet: Option<Outlet>,
        commands: SyncSender<Command>,
        returns: SyncSender<Snapshot>,
        fault: Fault,
    ) -> Self {
        Self {
            folder,
            gate,
            returns,
            fault,
            shipping: Shipping::new(outlet, commands),
            uncompared: None,
            pending: Vec::new(),
            permission: Permission::Granted,
            settling: None,
            is_stop_wished: false,
            is_clean: false,
        }
    }

    /// Serves until the writer is gone.
    pub fn serve(mut self, queue: &Receiver<Command>) {
        loop {
            let received = match self.settling.as_ref().and_then(Settling::next) {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => queue.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match received {
                Ok(Command::End) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => self.run_out_of_time(),
            }
            self.report_settled();
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Save { order, snapshot, inspected } => self.save(order, snapshot, &inspected),
            Command::Agreed => {
                if let Some(written) = self.uncompared.take() {
                    self.take_in(written);
                }
            }
            Command::Answer { checkpoint, answer } => self.answered(&checkpoint, answer),
            Command::Uploaded { checkpoint, outcome } => {
                let mut pending = self.pending.iter_mut();
                if let Some(written) = pending.find(|written| written.id() == checkpoint) {
                    written.uploaded(outcome);
                }
                self.advance();
            }
            Command::Sealed { checkpoint, answer, outcome } => {
                let mut pending = self.pending.iter_mut();
                if let Some(written) = pending.find(|written| written.id() == checkpoint)
                    && written.sealed(&self.shipping, outcome)
                {
                    self.answered(&checkpoint, answer);
                }
            }
            Command::Pruned { number } => self.shipping.pruned(number),
            Command::Keep(kept) => self.keep(&kept),
            Command::StopWished => {
                self.is_stop_wished = true;
                let (ship_until, ask_until) = self.deadlines(self.shipping.stop_patience(), STOP_PATIENCE);
                if let Some(settling) = &mut self.settling
                    && settling.ask_until.is_none()
                {
                    (settling.ship_until, settling.ask_until) = (Some(ship_until), Some(ask_until));
                }
            }
            Command::Settle { patience, is_hasty, done } => self.settle(patience, is_hasty, done),
            Command::Abandon => self.abandon(),
            Command::End => {}
        }
    }

    fn settle(&mut self, patience: Option<Duration>, is_hasty: bool, done: SyncSender<Permission>) {
        // What ranks were to compare and have not: a peer was lost in between.
        self.uncompared = None;
        let patience = patience.or(self.is_stop_wished.then_some(STOP_PATIENCE));
        let ship = if is_hasty { Duration::ZERO } else { self.shipping.stop_patience() };
        let (ship_until, ask_until) = match patience {
            Some(patience) => {
                let (ship_until, ask_until) = self.deadlines(ship, patience);
                (Some(ship_until), Some(ask_until))
            }
            None => (None, None),
        };
        self.settling = Some(Settling { ship_until, ask_until, done });
    }

    /// Until when to wait for the store, and after that for permissions.
    fn deadlines(&self, ship: Duration, ask: Duration) -> (Instant, Instant) {
        let is_shipping = self.pending.iter().any(Written::is_on_its_way);
        let ship_until = Instant::now() + if is_shipping { ship } else { Duration::ZERO };
        (ship_until, ship_until + ask)
    }

    fn run_out_of_time(&mut self) {
        let Some(settling) = &mut self.settling else { return };
        if settling.ship_until.take().is_some() {
            self.shipping.stop_pruning();
            self.keep_here();
        } else {
            self.refuse_all();
        }
    }

    fn abandon(&mut self) {
        self.uncompared = None;
        self.pending.clear();
        self.permission = Permission::Granted;
    }

    /// Looks at a copy, tells what was found, and writes it where that is this rank's part.
    fn save(&mut self, order: Order, snapshot: Snapshot, inspected: &SyncSender<Result<Inspection, Error>>) {
        self.shipping.serves(&order);
        let inspection = error::catch(|| inspect(&order, &snapshot));
        let is_sound = inspection.as_ref().is_ok_and(|inspection| inspection.finite.is_ok());
        // Training that is gone does not read it.
        let _ = inspected.send(inspection);
        let written = match is_sound && order.is_written {
            true => error::catch(|| self.write(order, &snapshot).map(Some)),
            false => Ok(None),
        };
        match written {
            Ok(Some(written)) if written.is_compared() => self.uncompared = Some(written),
            Ok(Some(written)) => self.take_in(written),
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
        Ok(Written::new(staged, order, &self.shipping))
    }

    /// Of those that wait for the store or for their permission, all but the oldest give way.
    fn take_in(&mut self, written: Written) {
        for older in self.pending.drain(self.pending.len().min(MAX_PENDING - 1)..) {
            tracing::info!(checkpoint_id = %older.id(), "checkpoint dropped, a newer one takes its place");
        }
        self.pending.push(written);
        self.advance();
    }

    /// Begins what can be begun: one upload at a time, and a question for each that waits for nothing else.
    fn advance(&mut self) {
        let mut is_uploading = self.pending.iter().any(Written::is_uploading);
        for written in &mut self.pending {
            if !is_uploading {
                is_uploading = written.upload(&self.shipping);
            }
            written.ask_once(self.gate.as_ref());
        }
    }

    fn answered(&mut self, checkpoint: &CheckpointId, answer: Answer) {
        match answer.now() {
            Some(false) => self.conclude(checkpoint, false),
            Some(true) => {
                let shipping = &self.shipping;
                let mut pending = self.pending.iter_mut();
                let written = pending.find(|written| written.id() == *checkpoint);
                // One whose manifest goes to the store first is concluded when that is heard of.
                if written.is_some_and(|written| !written.seal(shipping, answer)) {
                    self.conclude(checkpoint, true);
                }
            }
            // The permission is over: a newer generation may have begun.
            None => self.gate.ask(checkpoint),
        }
    }

    fn conclude(&mut self, checkpoint: &CheckpointId, is_allowed: bool) {
        let position = self.pending.iter().position(|written| written.id() == *checkpoint);
        let Some(written) = position.map(|position| self.pending.remove(position)) else { return };
        self.permission = if is_allowed { Permission::Granted } else { Permission::Refused };
        let (step, checkpoint_id) = (written.step(), checkpoint);
        if !is_allowed {
            tracing::info!(%step, %checkpoint_id, "checkpoint dropped, this generation may not commit it");
            return;
        }
        match error::catch(|| written.commit(self.gate.as_ref())) {
            Ok(()) => tracing::info!(%step, %checkpoint_id, "checkpoint committed"),
            Err(error) => self.fail(error),
        }
    }

    /// Nobody waits for the store any longer.
    fn keep_here(&mut self) {
        let permitted: Vec<_> = self.pending.iter_mut().filter_map(Written::keep_here).collect();
        self.advance();
        for (checkpoint, answer) in permitted {
            self.answered(&checkpoint, answer);
        }
    }

    fn refuse_all(&mut self) {
        while let Some(written) = self.pending.first() {
            let checkpoint = written.id();
            self.conclude(&checkpoint, false);
        }
    }

    /// Removes what is let go of, here and, where this rank tells the others of checkpoints, in the store.
    fn keep(&mut self, kept: &[CheckpointId]) {
        if let Err(error) = remove_all_but(&self.folder, kept) {
            self.fail(error.into());
        }
        let on_their_way = self.pending.iter().map(Written::id).collect();
        self.shipping.prune(kept.to_vec(), on_their_way);
    }

    /// Keeps the first fault for training; nothing that waits is of use then.
    fn fail(&mut self, error: Error) {
        self.abandon();
        self.fault.lock().expect("nothing panics while it holds this lock").get_or_insert(error);
    }

    fn report_settled(&mut self) {
        if self.pending.is_empty()
            && !self.shipping.is_pruning()
            && let Some(settling) = self.settling.take()
        {
            // Whoever was in a hurry does not wait any more.
            let _ = settling.done.try_send(self.permission);
        }
    }
}

impl Settling {
    fn next(&self) -> Option<Instant> {
        self.ship_until.or(self.ask_until)
    }
}

fn inspect(order: &Order, snapshot: &Snapshot) -> Result<Inspection, Error> {
    let state = snapshot.tensors();
    Ok(Inspection {
        digests: if order.is_compared { digests(state) } else { Vec::new() },
        finite: check_finite(state, order.manifest.step),
    })
}
