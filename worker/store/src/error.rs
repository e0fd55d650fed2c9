//! What can go wrong with an object.

use std::{error::Error as _, io, path::PathBuf, time::Duration};

/// Why a file was not put into the store or taken from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL names no store.
    #[error("{url:?} names no store: {why}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it, and the fix.
        why: String,
    },
    /// The object is not there.
    #[error("{url} is not there")]
    Missing {
        /// The object.
        url: String,
        /// The store's words.
        why: String,
    },
    /// The store does not let this program do that: somebody must change what it may do.
    #[error("{url} is not allowed: {why}")]
    Denied {
        /// The object.
        url: String,
        /// The store's words.
        why: String,
    },
    /// The object is there already, and it is another one.
    #[error("{url} holds something else already")]
    Taken {
        /// The object.
        url: String,
    },
    /// The object is not what it should be.
    #[error("{url} is damaged: {why}")]
    Damaged {
        /// The object.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store is away or busy; it was tried again until there was no time left.
    #[error("{url} cannot be reached, tried for up to {patience:?}: {why}")]
    Away {
        /// The object.
        url: String,
        /// How long it was tried at most.
        patience: Duration,
        /// What was heard last.
        why: String,
    },
    /// A file on this machine.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn of(url: String, patience: Duration, error: &object_store::Error) -> Self {
        use object_store::Error as Fault;
        match error {
            Fault::NotFound { .. } => Self::Missing { url, why: chain(error) },
            Fault::AlreadyExists { .. } => Self::Taken { url },
            Fault::PermissionDenied { .. } | Fault::Unauthenticated { .. } => {
                Self::Denied { url, why: chain(error) }
            }
            _ => Self::Away { url, patience, why: chain(error) },
        }
    }

    pub(crate) fn file(path: &std::path::Path, source: io::Error) -> Self {
        Self::File { path: path.to_path_buf(), source }
    }

    /// As it is to somebody who puts an object: what is missing then is the bucket or the folder.
    pub(crate) fn of_put(self) -> Self {
        match self {
            Self::Missing { url, why } => Self::Denied { url, why },
            other => other,
        }
    }

    /// Whether trying again later may help.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// An error's words, with those of what caused it where they say more.
fn chain(error: &object_store::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}
