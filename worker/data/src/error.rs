//! What can go wrong between a file and a batch.

use std::io;
use std::path::{Path, PathBuf};

/// Why data cannot be read or delivered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file is not there.
    #[error("{}: not found; {advice}", path.display())]
    NotFound {
        /// What was looked for.
        path: PathBuf,
        /// How to get it.
        advice: String,
    },
    /// A folder or file is there, but its content is not what it must be.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The operating system refused to read.
    #[error("{}: cannot read: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// An object store does not give what should be there.
    #[error(transparent)]
    Store(#[from] kindred_store::Error),
    /// The request does not fit the data.
    #[error("{0}")]
    Config(String),
    /// A thread of the loader panicked: a fault of Kindred, not of the data.
    #[error("preparing step {step} panicked: {message}")]
    Panicked {
        /// The step whose batch was being made.
        step: u64,
        /// What the panic said.
        message: String,
    },
    /// The loader gave an error before and is closed.
    #[error("the loader is closed since its last error")]
    Closed,
}

impl Error {
    /// The folder or file that must change, when it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Error::NotFound { path, .. } | Error::Invalid { path, .. } | Error::Io { path, .. } => Some(path),
            Error::Store(_) | Error::Config(_) | Error::Panicked { .. } | Error::Closed => None,
        }
    }

    pub(crate) fn invalid(path: &Path, message: impl Into<String>) -> Error {
        Error::Invalid { path: path.to_owned(), message: message.into() }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Error {
        Error::Io { path: path.to_owned(), source }
    }
}
