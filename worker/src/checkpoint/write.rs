//! Writing: first beside, then into place.

use std::path::{Path, PathBuf};

use tch::Tensor;

use super::{
    Error, FileEntry, MANIFEST_FILE, Manifest, STATE_FILE,
    files::{create_folder, remove_folder, sync_folder, write_synced},
    retention::staging_name,
    tensors::encode,
};

/// A checkpoint that is whole and durable, and not in place yet. Dropped without a commit, it is removed.
#[derive(Debug)]
pub struct Staged {
    manifest: Manifest,
    manifest_digest: String,
    size_bytes: u64,
    staging: PathBuf,
    target: PathBuf,
}

/// Writes the tensors and the manifest beside the other checkpoints and syncs them. `manifest.files` is filled in
/// here.
///
/// # Errors
/// When the disk is full or the file system fails; what was written is removed again.
pub fn stage(
    checkpoints: &Path,
    mut manifest: Manifest,
    state: &[(String, Tensor)],
) -> Result<Staged, Error> {
    let bytes = encode(state, &[])?;
    manifest.files = vec![FileEntry::of(STATE_FILE, &bytes)];
    let json = manifest.to_json();
    let id = manifest.id();
    let staged = Staged {
        manifest_digest: blake3::hash(&json).to_hex().to_string(),
        size_bytes: (bytes.len() + json.len()) as u64,
        staging: checkpoints.join(staging_name(&id)),
        target: checkpoints.join(id.as_str()),
        manifest,
    };
    create_folder(&staged.staging)?;
    write_synced(&staged.staging.join(STATE_FILE), &bytes)?;
    write_synced(&staged.staging.join(MANIFEST_FILE), &json)?;
    sync_folder(&staged.staging)?;
    Ok(staged)
}

impl Staged {
    /// Renames the folder into place: the commit.
    ///
    /// # Errors
    /// When the file system fails; the checkpoint then does not exist.
    pub fn commit(self) -> Result<(), Error> {
        let rename = std::fs::rename(&self.staging, &self.target);
        match rename {
            // A node that shares this disk was first with the same state.
            Err(_) if self.target.join(MANIFEST_FILE).exists() => Ok(()),
            Err(error) => Err(Error::io(&self.target, error)),
            Ok(()) => sync_folder(self.target.parent().expect("a checkpoint lies in a folder")),
        }
    }

    /// What it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// BLAKE3 of `manifest.json`, in hex.
    pub fn manifest_digest(&self) -> &str {
        &self.manifest_digest
    }

    /// Length of all its files.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The folder that it is in until then.
    pub fn folder(&self) -> &Path {
        &self.staging
    }

    /// The folder that it is in once it is committed.
    pub fn target(&self) -> &Path {
        &self.target
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit nothing is there; what cannot be removed now is removed by the job's next process.
        let _ = remove_folder(&self.staging);
    }
}
