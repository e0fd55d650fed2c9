//! Checkpoints in an object store.
//!
//! A checkpoint lies below `PREFIX/JOB-CREATED/checkpoints/step-…-gN` as the same two files as on a disk. The state goes first; the
//! manifest, which is created and never replaced, is the commit: a state without one does not exist. What is removed loses its
//! manifest first. A job's number alone is not its folder's name, since another coordinator that is given the same prefix counts
//! its jobs from one, too.
//!
//! Non-goals: when something is put there, and with whose permission (`train::saving`).

mod fetch;
mod retention;

#[cfg(test)]
mod tests;

use std::{path::Path, time::Duration};

use kindred_proto::ids::{CheckpointId, JobId};
use kindred_store::Store;

use super::{Error, MANIFEST_FILE, STATE_FILE};

pub use fetch::{Recorded, fetch_newest};

/// The longest manifest that is read.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// The checkpoints of a job in a store; clones are the same.
#[derive(Clone, Debug)]
pub struct Remote {
    checkpoints: Store,
}

impl Remote {
    /// The place of a job that the coordinator took in at a time, in milliseconds since the Unix epoch.
    pub fn new(store: &Store, job_id: &JobId, created_unix_ms: i64) -> Self {
        Self { checkpoints: store.below(&format!("{job_id}-{created_unix_ms}/checkpoints")) }
    }

    /// The URL of a checkpoint.
    pub fn url_of(&self, id: &CheckpointId) -> String {
        self.checkpoints.url_of(id.as_str())
    }

    /// How long each request may take.
    pub fn patience(&self) -> Duration {
        self.checkpoints.patience()
    }

    /// Puts the state of a checkpoint that lies in a folder into the store. There is no checkpoint there before [`Remote::seal`].
    ///
    /// # Errors
    /// When the store is away or refuses, or the file cannot be read.
    pub async fn upload(&self, id: &CheckpointId, folder: &Path) -> Result<(), Error> {
        let key = format!("{id}/{STATE_FILE}");
        Ok(self.checkpoints.put_file(&key, &folder.join(STATE_FILE)).await?)
    }

    /// Creates the manifest of a checkpoint that lies in a folder, within a time: the commit.
    ///
    /// # Errors
    /// When another manifest is there, the store refuses, or the time is over: then it may be there or not.
    pub async fn seal(&self, id: &CheckpointId, folder: &Path, limit: Duration) -> Result<(), Error> {
        let path = folder.join(MANIFEST_FILE);
        let manifest = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
        Ok(self.checkpoints.create(&format!("{id}/{MANIFEST_FILE}"), &manifest, limit).await?)
    }
}
