//! The journal: every change is stored here before anyone sees it.
//!
//! It holds changes and, so that it neither grows for ever nor is replayed from the start, a snapshot: the state after one of
//! them, in pieces. What they mean is the model's affair. One writer: the engine.
//!
//! A snapshot counts once it is sealed; until then, and for what it makes superfluous afterwards, each call does a little, so
//! that changes never wait for long.

#[cfg(test)]
mod conformance;
mod memory;
mod postgres;
mod rows;
mod sqlite;

use kindred_proto::{
    failure::{Failure, Reason},
    v1,
};

use crate::{
    model::{Change, Piece, State, Wire},
    postgres as database,
    sql::explain,
};

pub use memory::Memory;
pub use postgres::Postgres;
pub use sqlite::Sqlite;

/// The version of the encoding of changes and pieces that this program writes.
const VERSION: i64 = 1;

/// Most changes, and most pieces, that one call of [`Journal::drop_surplus`] removes.
const MOST_DROPPED: (i64, i64) = (1000, 16);

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written, now.
    #[error("journal {store}: {}", explain(source))]
    Unavailable {
        /// The file, or the database without its password.
        store: String,
        /// What the database says.
        source: sqlx::Error,
    },
    /// Something that is stored cannot be understood; a newer version may have written it.
    #[error("journal {store}: {what} cannot be read: {source}")]
    Unreadable {
        /// The file, or the database.
        store: String,
        /// The change or the piece of a snapshot, with its place.
        what: String,
        /// What the decoder says.
        source: serde_json::Error,
    },
    /// It is of a newer version.
    #[error("journal {store}: {what} is of version {version}, this program reads up to {VERSION}")]
    TooNew {
        /// The file, or the database.
        store: String,
        /// The change or the snapshot, with its place.
        what: String,
        /// The version that wrote it.
        version: i64,
    },
    /// A snapshot lacks a piece.
    #[error("journal {store}: the snapshot after change {} has {n_found} of {n_pieces} pieces", at.0)]
    Torn {
        /// The file, or the database.
        store: String,
        /// The snapshot's place.
        at: Sequence,
        /// How many pieces it was made of.
        n_pieces: i64,
        /// How many are there.
        n_found: usize,
    },
    /// The database of several coordinators cannot be reached, now.
    #[error("journal: {0}")]
    Database(#[from] database::Error),
    /// Another coordinator leads: nothing was stored, and nothing will be.
    #[error("journal {store}: another coordinator leads")]
    Superseded {
        /// The database.
        store: String,
    },
    /// A journal in memory that was told to fail.
    #[error("journal in memory: told to fail")]
    ToldToFail,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let store = match &error {
            // Whom to ask instead is known to the one who leads.
            Error::Superseded { .. } => return Self::new(Reason::NotLeader, error.to_string()),
            Error::Database(_) => String::new(),
            Error::Unavailable { store, .. }
            | Error::Unreadable { store, .. }
            | Error::TooNew { store, .. }
            | Error::Torn { store, .. } => store.clone(),
            Error::ToldToFail => String::new(),
        };
        Self::new(Reason::JournalUnavailable, error.to_string()).about(store)
    }
}

/// A change's place: the first one's is 1, and 0 stands before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub i64);

impl Sequence {
    /// The place so many changes later.
    #[must_use]
    pub fn after(self, n_changes: usize) -> Self {
        Self(self.0.saturating_add(i64::try_from(n_changes).unwrap_or(i64::MAX)))
    }
}

/// Everything that is stored: a state, and what happened since.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Where the snapshot stands; 0 where there is none.
    pub snapshot_at: Sequence,
    /// The snapshot.
    pub pieces: Vec<Piece>,
    /// All changes after it, in order.
    pub changes: Vec<Change>,
    /// The events that are kept, in order.
    pub events: Vec<v1::Event>,
    /// The newest event that is not kept any more; 0 where all are.
    pub events_forgotten_through: u64,
}

/// What people are told of a batch of changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events {
    /// New ones, each with the number that the place of its change is.
    pub news: Vec<v1::Event>,
    /// All up to this one are not kept any longer.
    pub forget_through: Option<u64>,
}

impl Stored {
    /// The state that all of it leads to, and the changes since the snapshot.
    pub fn replay(self) -> (State, Vec<Change>) {
        let mut state = State::restore(self.pieces);
        self.changes.iter().for_each(|change| state.evolve(change));
        (state, self.changes)
    }
}

/// Where changes are kept.
pub trait Journal: Send + 'static {
    /// The newest snapshot and all changes after it.
    ///
    /// # Errors
    /// When they cannot be read.
    fn load(&mut self) -> impl Future<Output = Result<Stored, Error>> + Send;

    /// Stores all of `changes` or none, with the events that tell of them, and returns once they outlast a loss of power.
    ///
    /// # Errors
    /// When they are not stored; the next call may succeed.
    fn append(
        &mut self,
        changes: &[Change],
        events: &Events,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The newest change that is stored.
    fn newest(&self) -> Sequence;

    /// Stores one piece of the state after the change `at`; the same piece again takes its place.
    ///
    /// # Errors
    /// When it is not stored; the next call may succeed.
    fn store_piece(
        &mut self,
        at: Sequence,
        number: u32,
        piece: &Piece,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Says that all pieces of the snapshot are stored: from now on it is where replay begins.
    ///
    /// # Errors
    /// When that is not stored; the next call may succeed.
    fn seal_snapshot(
        &mut self,
        at: Sequence,
        n_pieces: u32,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a little of what the newest snapshot makes superfluous, and of snapshots that were never sealed; false once
    /// nothing is left of it. Not while a snapshot is being stored.
    ///
    /// # Errors
    /// When nothing was removed; the next call may succeed.
    fn drop_surplus(&mut self) -> impl Future<Output = Result<bool, Error>> + Send;

    /// False once another coordinator may decide: from then on nothing is decided or said any more.
    fn may_decide(&self) -> bool {
        true
    }
}

fn encode(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("changes and pieces have string keys only and write to memory")
}

/// Number and body of each.
fn encode_events(events: &[v1::Event]) -> Vec<(i64, String)> {
    let number = |event: &v1::Event| i64::try_from(event.number).expect("the place of a change");
    events.iter().map(|event| (number(event), encode(&Wire(event.clone())))).collect()
}

/// Reads what a program of `version` wrote.
fn decode<T: serde::de::DeserializeOwned>(
    store: &str,
    what: impl Fn() -> String,
    version: i64,
    body: &str,
) -> Result<T, Error> {
    let store = store.to_owned();
    if version > VERSION {
        return Err(Error::TooNew { store, what: what(), version });
    }
    serde_json::from_str(body).map_err(|source| Error::Unreadable { store, what: what(), source })
}
