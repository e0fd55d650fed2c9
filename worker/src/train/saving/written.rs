//! A checkpoint on its way from this rank's disk to where it stays.

use std::{path::PathBuf, time::Instant};

use kindred_proto::{
    ids::{CheckpointId, Step},
    v1,
};
use kindred_store::Task;

use super::{
    shipping::Shipping,
    writer::{Gate, Order},
};
use crate::{
    checkpoint::{self, Staged},
    train::{error::Error, link::Answer, report::KNN},
};

/// A checkpoint on disk that is not in place.
pub(super) struct Written {
    staged: Staged,
    order: Order,
    way: Way,
    is_asked: bool,
    /// Where it lies in the store, or was to lie.
    url: Option<String>,
    /// When its manifest was first sent.
    sealing_since: Option<Instant>,
}

/// How far it is on its way to the store. The state goes before the permission is asked for, the manifest after it is given.
enum Way {
    /// It goes nowhere else: there is no store, or it did not answer.
    Here,
    /// Its turn has not come.
    Due,
    /// The state is on its way.
    Uploading { _task: Task },
    /// The state is there.
    Uploaded,
    /// The manifest is on its way, with this permission.
    Sealing { _task: Task, answer: Answer },
    /// All of it is there.
    Sealed,
}

impl Written {
    pub fn new(staged: Staged, order: Order, shipping: &Shipping) -> Self {
        // The rank that tells others of checkpoints takes them to the store.
        let url = order.told_by.as_ref().and_then(|_| shipping.url_of(&staged.manifest().id()));
        let way = if url.is_some() { Way::Due } else { Way::Here };
        Self { staged, order, way, is_asked: false, url, sealing_since: None }
    }

    pub fn id(&self) -> CheckpointId {
        self.staged.manifest().id()
    }

    pub fn step(&self) -> Step {
        self.staged.manifest().step
    }

    /// The folder that it is in.
    pub fn folder(&self) -> PathBuf {
        self.staged.folder().to_path_buf()
    }

    /// Whether ranks compare what they hold before anything is committed.
    pub fn is_compared(&self) -> bool {
        self.order.is_compared
    }

    pub fn is_uploading(&self) -> bool {
        matches!(self.way, Way::Uploading { .. })
    }

    /// Whether something of it is still to be done in the store.
    pub fn is_on_its_way(&self) -> bool {
        !matches!(self.way, Way::Here | Way::Sealed)
    }

    /// Begins to upload the state, if that is what comes next.
    pub fn upload(&mut self, shipping: &Shipping) -> bool {
        if !matches!(self.way, Way::Due) {
            return false;
        }
        self.way = match shipping.upload(self.id(), self.folder()) {
            Some(task) => Way::Uploading { _task: task },
            None => Way::Here,
        };
        self.is_uploading()
    }

    /// The upload has ended.
    pub fn uploaded(&mut self, outcome: Result<(), checkpoint::Error>) {
        if !self.is_uploading() {
            return;
        }
        match outcome {
            Ok(()) => self.way = Way::Uploaded,
            Err(error) => self.stays_here(&error.to_string()),
        }
    }

    /// Asks for the permission, once, when nothing comes before it.
    pub fn ask_once(&mut self, gate: &dyn Gate) {
        if !self.is_asked && !matches!(self.way, Way::Due | Way::Uploading { .. }) {
            self.is_asked = true;
            gate.ask(&self.id());
        }
    }

    /// Begins to create the manifest in the store, for as long as the permission lasts. False where that is not what comes next.
    pub fn seal(&mut self, shipping: &Shipping, answer: Answer) -> bool {
        match self.way {
            Way::Here | Way::Sealed => return false,
            Way::Due | Way::Uploading { .. } | Way::Sealing { .. } => return true,
            Way::Uploaded => {}
        }
        self.sealing_since.get_or_insert_with(Instant::now);
        self.way = match shipping.seal(self.id(), self.folder(), answer) {
            Some(task) => Way::Sealing { _task: task, answer },
            None => Way::Here,
        };
        !matches!(self.way, Way::Here)
    }

    /// The manifest is there, or could not be created. True when the permission is to be looked at again.
    pub fn sealed(&mut self, shipping: &Shipping, outcome: Result<(), checkpoint::Error>) -> bool {
        if !matches!(self.way, Way::Sealing { .. }) {
            return false;
        }
        let has_time = self.sealing_since.is_some_and(|since| since.elapsed() < shipping.patience());
        match outcome {
            Ok(()) => self.way = Way::Sealed,
            // The permission was over before the store had answered: with the next one it is tried again.
            Err(error) if error.is_about_an_absent_store() && has_time => self.way = Way::Uploaded,
            Err(error) => self.stays_here(&error.to_string()),
        }
        true
    }

    /// Gives up the store, if it is not there yet. Gives back a permission that it has.
    pub fn keep_here(&mut self) -> Option<(CheckpointId, Answer)> {
        if !self.is_on_its_way() {
            return None;
        }
        let answer = match &self.way {
            Way::Sealing { answer, .. } => Some(*answer),
            _ => None,
        };
        self.stays_here("nobody waits any longer");
        answer.map(|answer| (self.id(), answer))
    }

    fn stays_here(&mut self, error: &str) {
        let (step, checkpoint_id, url) = (self.step(), self.id(), self.url.as_deref().unwrap_or_default());
        tracing::warn!(%step, %checkpoint_id, url, error, "checkpoint is not in the store, only on this node");
        self.way = Way::Here;
    }

    /// Puts it in place, and tells others.
    pub fn commit(self, gate: &dyn Gate) -> Result<(), Error> {
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
        let is_in_store = matches!(self.way, Way::Sealed);
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
            url: self.url.clone().filter(|_| is_in_store).unwrap_or_default(),
        })
    }
}
