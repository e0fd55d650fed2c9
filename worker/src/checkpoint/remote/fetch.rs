//! From a store onto this disk.

use std::path::{Component, Path, PathBuf};

use kindred_proto::ids::{CheckpointId, Step};
use kindred_store::Store;

use super::MAX_MANIFEST_BYTES;
use crate::checkpoint::{
    Error, MANIFEST_FILE, Manifest,
    files::{create_folder, remove_folder, sync_folder, write_synced},
    read::Opened,
    retention::{order_by_step, parse, staging_name},
};

/// A checkpoint in a store, as the coordinator recorded it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its name.
    pub id: CheckpointId,
    /// The store in which it lies: the folder of all checkpoints of its job.
    pub checkpoints: Store,
    /// BLAKE3 of its manifest.
    pub manifest_digest: String,
}

/// Takes a recorded checkpoint from its store into a folder of checkpoints. Where it is gone or not what its manifest says, an older
/// one of the same job does that has more steps than `beyond`: what is not recorded, and newer, is never taken. Returns what it
/// took, if anything was sound.
///
/// # Errors
/// When the store is away or refuses, or this disk fails.
pub async fn fetch_newest(
    recorded: &Recorded,
    beyond: Option<Step>,
    into: &Path,
) -> Result<Option<CheckpointId>, Error> {
    let first = take(recorded, &recorded.id, Some(&recorded.manifest_digest), into).await;
    if passes_over(first)?.is_some() {
        return Ok(Some(recorded.id.clone()));
    }
    let Some(beyond) = beyond else { return Ok(None) };
    let keys = recorded.checkpoints.list().await?;
    let sealed = keys.iter().filter_map(|key| key.strip_suffix(MANIFEST_FILE)?.strip_suffix('/'));
    let is_older = |name: &String| {
        parse(name) < parse(recorded.id.as_str()) && parse(name).is_some_and(|(step, _)| step > beyond)
    };
    let names = order_by_step(sealed.map(str::to_owned).collect());
    for id in names.into_iter().filter(is_older).map(CheckpointId::new) {
        if passes_over(take(recorded, &id, None, into).await)?.is_some() {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// None, and a line in the log, where a checkpoint is gone or not what it should be.
fn passes_over(taken: Result<(), Error>) -> Result<Option<()>, Error> {
    use kindred_store::Error as Fault;
    match taken {
        Ok(()) => Ok(Some(())),
        Err(
            error @ (Error::Unreadable { .. } | Error::Store(Fault::Missing { .. } | Fault::Damaged { .. })),
        ) => {
            tracing::warn!(%error, "checkpoint in the store unreadable, trying the one before");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Takes one checkpoint: beside the others first, then into place, as if it had been written here.
async fn take(
    recorded: &Recorded,
    id: &CheckpointId,
    manifest_digest: Option<&str>,
    into: &Path,
) -> Result<(), Error> {
    let there = recorded.checkpoints.below(id.as_str());
    let url = there.url_of(MANIFEST_FILE);
    let unreadable = |why: String| Error::unreadable(Path::new(&url), why);
    let json = there.get(MANIFEST_FILE, MAX_MANIFEST_BYTES).await?;
    let json = json.ok_or_else(|| unreadable("it is gone".into()))?;
    if manifest_digest.is_some_and(|digest| blake3::hash(&json).to_hex().as_str() != digest) {
        return Err(unreadable("digest differs from the one that was recorded".into()));
    }
    let manifest: Manifest = serde_json::from_slice(&json).map_err(|error| unreadable(error.to_string()))?;
    if manifest.id() != *id {
        return Err(unreadable(format!("it is that of {}", manifest.id())));
    }
    let staging = Staging(into.join(staging_name(id)));
    remove_folder(&staging.0)?;
    create_folder(&staging.0)?;
    for file in &manifest.files {
        if !is_plain(&file.name) {
            return Err(unreadable(format!("it names a file {:?}", file.name)));
        }
        let digest = there.get_file(&file.name, file.size_bytes, &staging.0.join(&file.name)).await?;
        if digest != file.digest {
            let path = there.url_of(&file.name);
            return Err(Error::unreadable(Path::new(&path), "digest differs from the manifest's"));
        }
    }
    write_synced(&staging.0.join(MANIFEST_FILE), &json)?;
    sync_folder(&staging.0)?;
    put_in_place(&staging.0, &into.join(id.as_str()))?;
    sync_folder(into)
}

/// Renames a folder; what is there already stays where it is sound, and gives way where it is not.
fn put_in_place(staging: &Path, target: &Path) -> Result<(), Error> {
    if target.exists() {
        if Opened::read(target.to_path_buf()).is_ok() {
            return Ok(());
        }
        remove_folder(target)?;
    }
    std::fs::rename(staging, target).map_err(|error| Error::io(target, error))
}

fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(Component::Normal(part)) if part == name) && parts.next().is_none()
}

/// A folder that goes away unless it is renamed.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the job's next process.
        let _ = remove_folder(&self.0);
    }
}
