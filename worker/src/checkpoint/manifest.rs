//! `manifest.json`: what a checkpoint holds, and of what.

use std::{collections::BTreeMap, path::Path};

use kindred_proto::ids::{CheckpointId, Generation, JobId, Step, WorldSize};
use serde::{Deserialize, Serialize};

use super::Error;

/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// Name of the file with the tensors.
pub const STATE_FILE: &str = "state.safetensors";

/// What a checkpoint holds, and of what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The job.
    pub job_id: JobId,
    /// When the coordinator took the job in, in milliseconds since the Unix epoch: this tells it from others of its number. 0 where
    /// a version wrote it that did not know.
    #[serde(default)]
    pub job_created_unix_ms: i64,
    /// The generation that wrote it.
    pub generation: Generation,
    /// How many ranks that generation had.
    pub world_size: WorldSize,
    /// Steps taken.
    pub step: Step,
    /// The same in passes over the data.
    pub epoch: f64,
    /// BLAKE3 of the recipe's wire form, in hex.
    pub recipe_digest: String,
    /// Digest of the data set's index.
    pub dataset_digest: String,
    /// The files beside this one.
    pub files: Vec<FileEntry>,
    /// Measurements that later results refer to, such as the accuracy of the random encoder.
    pub metrics: BTreeMap<String, f64>,
    /// Milliseconds since the Unix epoch.
    pub time_unix_ms: i64,
}

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name in the checkpoint's folder.
    pub name: String,
    /// Length.
    pub size_bytes: u64,
    /// BLAKE3 in hex.
    pub digest: String,
}

impl Manifest {
    /// The checkpoint's name, unique in its job.
    pub fn id(&self) -> CheckpointId {
        CheckpointId::of(self.step, self.generation)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a manifest has string keys and finite or null numbers")
    }

    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST_FILE);
        let bytes = std::fs::read(&path).map_err(|error| Error::unreadable(&path, error))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::unreadable(&path, error))
    }
}

impl FileEntry {
    pub(super) fn of(name: &str, bytes: &[u8]) -> Self {
        let digest = blake3::hash(bytes).to_hex().to_string();
        Self { name: name.to_owned(), size_bytes: bytes.len() as u64, digest }
    }

    /// Reads the file and checks it against this entry.
    pub(super) fn read_verified(&self, folder: &Path) -> Result<Vec<u8>, Error> {
        let path = folder.join(&self.name);
        let bytes = std::fs::read(&path).map_err(|error| Error::unreadable(&path, error))?;
        let found = Self::of(&self.name, &bytes);
        if found.size_bytes != self.size_bytes {
            let why = format!("{} bytes long, the manifest says {}", found.size_bytes, self.size_bytes);
            return Err(Error::unreadable(&path, why));
        }
        if found.digest != self.digest {
            return Err(Error::unreadable(&path, "digest differs from the manifest's"));
        }
        Ok(bytes)
    }
}
