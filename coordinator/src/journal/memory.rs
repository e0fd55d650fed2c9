//! A journal in memory, for tests.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use kindred_proto::v1;

use super::{Error, Events, Journal, MOST_DROPPED, Sequence, Stored};
use crate::model::{Change, Piece};

/// Changes in memory. A clone is a handle to the same journal, so that a test can restart an engine on it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    kept: Arc<Mutex<Kept>>,
    is_failing: Arc<AtomicBool>,
    n_writes: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Kept {
    changes: BTreeMap<Sequence, Change>,
    newest: Sequence,
    pieces: BTreeMap<(Sequence, u32), Piece>,
    sealed: Sequence,
    events: BTreeMap<u64, v1::Event>,
    events_forgotten_through: u64,
}

impl Memory {
    /// Lets every write fail from now on, or work again.
    pub fn set_failing(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Ordering::SeqCst);
    }

    /// How many times changes were stored.
    pub fn n_writes(&self) -> usize {
        self.n_writes.load(Ordering::SeqCst)
    }

    /// All changes that are still stored.
    pub fn changes(&self) -> Vec<Change> {
        self.kept().changes.values().cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> Result<MutexGuard<'_, Kept>, Error> {
        if self.is_failing.load(Ordering::SeqCst) { Err(Error::ToldToFail) } else { Ok(self.kept()) }
    }
}

impl Journal for Memory {
    async fn load(&mut self) -> Result<Stored, Error> {
        let kept = self.kept();
        let pieces = kept.pieces.iter().filter(|((at, _), _)| *at == kept.sealed);
        let changes = kept.changes.range(kept.sealed.after(1)..);
        Ok(Stored {
            snapshot_at: kept.sealed,
            pieces: pieces.map(|(_, piece)| piece.clone()).collect(),
            changes: changes.map(|(_, change)| change.clone()).collect(),
            events: kept.events.values().cloned().collect(),
            events_forgotten_through: kept.events_forgotten_through,
        })
    }

    async fn append(&mut self, changes: &[Change], events: &Events) -> Result<(), Error> {
        let mut kept = self.writable()?;
        self.n_writes.fetch_add(1, Ordering::SeqCst);
        for change in changes {
            kept.newest = kept.newest.after(1);
            let newest = kept.newest;
            kept.changes.insert(newest, change.clone());
        }
        kept.events.extend(events.news.iter().map(|event| (event.number, event.clone())));
        if let Some(through) = events.forget_through {
            kept.events = kept.events.split_off(&(through + 1));
            kept.events_forgotten_through = through;
        }
        Ok(())
    }

    fn newest(&self) -> Sequence {
        self.kept().newest
    }

    async fn store_piece(&mut self, at: Sequence, number: u32, piece: &Piece) -> Result<(), Error> {
        self.writable()?.pieces.insert((at, number), piece.clone());
        Ok(())
    }

    async fn seal_snapshot(&mut self, at: Sequence, _n_pieces: u32) -> Result<(), Error> {
        self.writable()?.sealed = at;
        Ok(())
    }

    async fn drop_surplus(&mut self) -> Result<bool, Error> {
        let mut kept = self.writable()?;
        let sealed = kept.sealed;
        let (most_changes, most_pieces) = MOST_DROPPED;
        let changes = kept.changes.range(..=sealed).map(|(place, _)| *place);
        let changes: Vec<_> = changes.take(most_changes as usize).collect();
        let pieces = kept.pieces.keys().filter(|(at, _)| *at != sealed).copied();
        let pieces: Vec<_> = pieces.take(most_pieces as usize).collect();
        changes.iter().for_each(|place| drop(kept.changes.remove(place)));
        pieces.iter().for_each(|place| drop(kept.pieces.remove(place)));
        Ok(!changes.is_empty() || !pieces.is_empty())
    }
}
