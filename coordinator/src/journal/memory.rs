//! A journal in memory, for tests.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{Error, Journal};
use crate::model::Change;

/// Changes in memory. A clone is a handle to the same journal, so that a test can restart an engine on it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    changes: Arc<Mutex<Vec<Change>>>,
    is_failing: Arc<AtomicBool>,
    n_writes: Arc<AtomicUsize>,
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

    /// All stored changes.
    pub fn changes(&self) -> Vec<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Journal for Memory {
    async fn load(&mut self) -> Result<Vec<Change>, Error> {
        Ok(self.changes())
    }

    async fn append(&mut self, changes: &[Change]) -> Result<(), Error> {
        if self.is_failing.load(Ordering::SeqCst) {
            return Err(Error::ToldToFail);
        }
        self.n_writes.fetch_add(1, Ordering::SeqCst);
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(changes);
        Ok(())
    }
}
