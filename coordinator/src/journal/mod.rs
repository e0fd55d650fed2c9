//! The journal: every change is stored here before anyone sees it.
//!
//! It holds changes and nothing else; what they mean is the model's affair. One writer: the engine.

#[cfg(test)]
mod conformance;
mod memory;
mod sqlite;

use std::path::PathBuf;

use kindred_proto::failure::{Failure, Reason};

use crate::{model::Change, sqlite::explain};

pub use memory::Memory;
pub use sqlite::Sqlite;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written, now.
    #[error("journal {}: {}", path.display(), explain(source))]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// A stored change cannot be understood; a newer version may have written it.
    #[error("journal {}: change {sequence} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The change's place.
        sequence: i64,
        /// What the decoder says.
        source: serde_json::Error,
    },
    /// The file is of a newer version.
    #[error("journal {}: change {sequence} is of version {version}, this program reads up to {known}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The change's place.
        sequence: i64,
        /// The version that wrote it.
        version: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A journal in memory that was told to fail.
    #[error("journal in memory: told to fail")]
    ToldToFail,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let file = match &error {
            Error::Unavailable { path, .. } | Error::Unreadable { path, .. } | Error::TooNew { path, .. } => {
                path.display().to_string()
            }
            Error::ToldToFail => String::new(),
        };
        Self::new(Reason::JournalUnavailable, error.to_string()).about(file)
    }
}

/// Where changes are kept.
pub trait Journal: Send + 'static {
    /// All stored changes, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    fn load(&mut self) -> impl Future<Output = Result<Vec<Change>, Error>> + Send;

    /// Stores all of `changes` or none, and returns once they outlast a loss of power.
    ///
    /// # Errors
    /// When they are not stored; the next call may succeed.
    fn append(&mut self, changes: &[Change]) -> impl Future<Output = Result<(), Error>> + Send;
}
