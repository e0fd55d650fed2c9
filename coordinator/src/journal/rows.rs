//! What a database holds, before it is decoded.

use kindred_proto::v1;
use tokio::task::spawn_blocking;

use super::{Error, Sequence, Stored, decode};
use crate::model::Wire;

/// The newest snapshot and the changes after it, as they are stored.
pub(super) struct Rows {
    /// The snapshot's place, version and number of pieces; all 0 without one.
    pub at: Sequence,
    pub version: i64,
    pub n_pieces: i64,
    /// Number and body, in order.
    pub pieces: Vec<(i64, String)>,
    /// Place, version and body, in order.
    pub changes: Vec<(i64, i64, String)>,
    /// Number, version and body, in order.
    pub events: Vec<(i64, i64, String)>,
    /// The newest event that is not kept any more.
    pub events_forgotten_through: i64,
}

impl Rows {
    /// Reads them as what they should be, on a thread of its own: there may be very many, and a lease to be renewed meanwhile.
    ///
    /// # Errors
    /// When something is missing, or a newer version wrote it.
    pub async fn decode(self, store: String) -> Result<Stored, Error> {
        let decoded = spawn_blocking(move || self.decode_all(&store)).await;
        decoded.expect("decoding does not panic, and nobody aborts it")
    }

    fn decode_all(self, store: &str) -> Result<Stored, Error> {
        let Self { at, version, n_pieces, pieces, changes, events, events_forgotten_through } = self;
        if usize::try_from(n_pieces) != Ok(pieces.len()) {
            return Err(Error::Torn { store: store.to_owned(), at, n_pieces, n_found: pieces.len() });
        }
        let piece = |(number, body): (i64, String)| {
            let what = || format!("piece {number} of the snapshot after change {}", at.0);
            decode(store, what, version, &body)
        };
        let change = |(sequence, version, body): (i64, i64, String)| {
            decode(store, || format!("change {sequence}"), version, &body)
        };
        let event = |(number, version, body): (i64, i64, String)| {
            let event = decode(store, || format!("event {number}"), version, &body);
            event.map(|Wire(event): Wire<v1::Event>| event)
        };
        Ok(Stored {
            snapshot_at: at,
            pieces: pieces.into_iter().map(piece).collect::<Result<_, _>>()?,
            changes: changes.into_iter().map(change).collect::<Result<_, _>>()?,
            events: events.into_iter().map(event).collect::<Result<_, _>>()?,
            events_forgotten_through: u64::try_from(events_forgotten_through).unwrap_or(0),
        })
    }
}
