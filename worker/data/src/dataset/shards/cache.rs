//! Shards of an object store on this node's disk, shared by its ranks and bounded.
//!
//! An epoch reads in random order over all shards, so that each is as likely to be needed next as any other: it is filled until it is full,
//! and what fits stays. Room is made only of shards that no rank of this node reads. One rank fetches at a time; when it ends,
//! another one goes on.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::index::Shard;
use crate::ShardCache;

/// What one data set has in the cache.
#[derive(Debug)]
pub(super) struct Cache {
    root: PathBuf,
    max_bytes: u64,
    /// The data set's own folder.
    folder: PathBuf,
    /// By the numbers of the shards; of this name where they are there.
    files: Vec<PathBuf>,
    /// Locked as long as this rank reads the data set.
    _in_use: File,
}

/// The right to change what is in the cache, of one rank of the node.
pub(super) struct Fetching(#[allow(dead_code, reason = "it is there to be dropped")] File);

impl Cache {
    /// The cache for the shards at a URL.
    pub(super) fn open(settings: &ShardCache, url: &str, shards: &[Shard]) -> io::Result<Self> {
        let ShardCache { folder: root, max_bytes } = settings;
        let folder = root.join(&blake3::hash(url.as_bytes()).to_hex()[..16]);
        fs::create_dir_all(&folder)?;
        // For people who wonder what this is.
        fs::write(folder.join("url"), format!("{url}\n"))?;
        let in_use = lock_file(&folder.join("in-use"))?;
        in_use.lock_shared()?;
        in_use.set_modified(SystemTime::now())?;
        let files = shards.iter().map(|shard| folder.join(file_name(shard))).collect();
        Ok(Self { root: root.clone(), max_bytes: *max_bytes, folder, files, _in_use: in_use })
    }

    /// The folder of this data set.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a shard, whether or not it is there.
    pub(super) fn file(&self, shard: u32) -> &Path {
        &self.files[shard as usize]
    }

    /// Where a shard is written before it is complete.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished")
    }

    /// The right to fetch, unless another rank has it.
    pub(super) fn try_fetch(&self) -> io::Result<Option<Fetching>> {
        let file = lock_file(&self.root.join("fetching"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Fetching(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for the right to fetch.
    pub(super) fn fetch(&self) -> io::Result<Fetching> {
        let file = lock_file(&self.root.join("fetching"))?;
        file.lock()?;
        Ok(Fetching(file))
    }

    /// Whether a shard of so many bytes fits, once others that nobody reads are removed for it.
    pub(super) fn make_room(&self, size_bytes: u64, _: &Fetching) -> io::Result<bool> {
        let mut kept = self.kept()?;
        let mut n_bytes: u64 = kept.iter().map(|file| file.size_bytes).sum();
        kept.sort_unstable_by_key(|file| file.last_used);
        for file in kept {
            if n_bytes + size_bytes <= self.max_bytes {
                break;
            }
            if !file.is_in_use {
                fs::remove_file(&file.path)?;
                n_bytes -= file.size_bytes;
            }
        }
        Ok(n_bytes + size_bytes <= self.max_bytes)
    }

    /// All shards of all data sets.
    fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut kept = vec![];
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?.path();
            if !folder.is_dir() {
                continue;
            }
            let in_use = lock_file(&folder.join("in-use"))?;
            let last_used = in_use.metadata()?.modified()?;
            let is_in_use = folder == self.folder || in_use.try_lock().is_err();
            for file in fs::read_dir(&folder)? {
                let path = file?.path();
                if path.extension().is_some_and(|extension| extension == "tar") {
                    let size_bytes = fs::metadata(&path)?.len();
                    kept.push(Kept { path, size_bytes, last_used, is_in_use });
                }
            }
        }
        Ok(kept)
    }
}

/// A shard in the cache.
struct Kept {
    path: PathBuf,
    size_bytes: u64,
    last_used: SystemTime,
    is_in_use: bool,
}

fn lock_file(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

/// A name that no other shard has, nor this one once it has changed.
fn file_name(shard: &Shard) -> String {
    let identity = format!("{}\n{}\n{}", super::shown(&shard.path), shard.size_bytes, shard.version);
    format!("{}.tar", &blake3::hash(identity.as_bytes()).to_hex()[..32])
}
