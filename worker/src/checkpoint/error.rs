//! What can go wrong with a checkpoint.

use std::{io, path::Path, path::PathBuf};

/// Why a checkpoint was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk is full; somebody must make room.
    #[error("no space left to write {}", path.display())]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// Any other fault of the file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The fault.
        source: io::Error,
    },
    /// A file is not what its manifest says.
    #[error("checkpoint file {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The checkpoint is sound, and of something else.
    #[error("checkpoint {} belongs to another {what}: its digest is {found}, this job's is {expected}", path.display())]
    Foreign {
        /// The checkpoint's folder.
        path: PathBuf,
        /// `recipe` or `data set`.
        what: &'static str,
        /// Digest of the job's.
        expected: String,
        /// Digest in the manifest.
        found: String,
    },
    /// The object store.
    #[error(transparent)]
    Store(kindred_store::Error),
    /// A tensor could not be copied.
    #[error("tensor {name}: {source}")]
    Tensor {
        /// Its name.
        name: String,
        /// libtorch's words.
        source: tch::TchError,
    },
}

impl Error {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { path, source },
        }
    }

    pub(super) fn unreadable(path: &Path, why: impl ToString) -> Self {
        Self::Unreadable { path: path.to_path_buf(), why: why.to_string() }
    }

    /// Whether it only says that the object store was away or busy.
    pub fn is_about_an_absent_store(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_away())
    }

    /// The file or folder that this is about, if any.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::DiskFull { path }
            | Self::Io { path, .. }
            | Self::Unreadable { path, .. }
            | Self::Foreign { path, .. } => Some(path),
            Self::Store(_) | Self::Tensor { .. } => None,
        }
    }
}

impl From<kindred_store::Error> for Error {
    /// A fault of this machine's disk is one whoever meets it.
    fn from(error: kindred_store::Error) -> Self {
        match error {
            kindred_store::Error::File { path, source } => Self::io(&path, source),
            other => Self::Store(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_full_while_something_is_fetched_is_full() {
        let (path, source) = (PathBuf::from("/jobs/state"), io::ErrorKind::StorageFull.into());
        let error = Error::from(kindred_store::Error::File { path: path.clone(), source });
        assert!(matches!(&error, Error::DiskFull { path: full } if *full == path), "{error}");
    }
}
