//! Whether this rank waits for others now.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Counts the operations that a rank is inside of; clones count the same.
#[derive(Clone, Default)]
pub struct Waiting(Arc<AtomicU32>);

/// An operation that goes on.
pub(super) struct Operation<'a>(&'a Waiting);

impl Waiting {
    /// Whether it is inside of one, on whatever thread. The reduction of gradients, which overlaps the backward pass, is none.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    pub(super) fn begin(&self) -> Operation<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Operation(self)
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
