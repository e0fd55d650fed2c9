//! The node that data are read on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kindred_store::PATIENCE;

/// What a data set must know of the node that it is read on.
#[derive(Clone, Debug)]
pub struct Site {
    /// Relative paths are below this folder.
    pub data_root: PathBuf,
    /// Where shards of object stores are kept; without it each image is asked for by itself.
    pub shard_cache: Option<ShardCache>,
    /// How long an object store may take to answer.
    pub patience: Duration,
}

/// A folder for shards of object stores, which all ranks of a node share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardCache {
    /// The folder; made when there is something to keep.
    pub folder: PathBuf,
    /// All shards in it together are no larger.
    pub max_bytes: u64,
}

impl From<&Path> for Site {
    /// A node without a cache.
    fn from(data_root: &Path) -> Self {
        Self { data_root: data_root.to_owned(), shard_cache: None, patience: PATIENCE }
    }
}

impl From<&PathBuf> for Site {
    fn from(data_root: &PathBuf) -> Self {
        Self::from(data_root.as_path())
    }
}

impl From<&Site> for Site {
    fn from(site: &Site) -> Self {
        site.clone()
    }
}
