//! When state is written.

use crate::{scope::Scope, v1};

/// When state is written.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointPolicy {
    /// When one is due. Default: after every epoch.
    pub every: CheckpointInterval,
    /// How many stay. Default 3.
    pub keep_last: u32,
    /// How many stay beside those, for the best kNN accuracy. Default 1.
    pub keep_best: u32,
}

/// When a checkpoint is due; the last step always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointInterval {
    /// After every so many steps.
    Steps(u64),
    /// After every so many epochs.
    Epochs(u32),
}

impl CheckpointPolicy {
    pub(super) fn check(wire: Option<v1::CheckpointPolicy>, at: &Scope) -> Self {
        let wire = wire.unwrap_or_default();
        if wire.every_steps.is_some() && wire.every_epochs.is_some() {
            at.violate("every_epochs", "has no meaning beside `every_steps`: leave one of the two out");
        }
        let steps = at.optional("every_steps", wire.every_steps, 1..);
        let epochs = at.number("every_epochs", wire.every_epochs, 1, 1..);
        Self {
            every: steps.map_or(CheckpointInterval::Epochs(epochs), CheckpointInterval::Steps),
            keep_last: at.number("keep_last", wire.keep_last, 3, 1..=10_000),
            keep_best: at.number("keep_best", wire.keep_best, 1, 0..=10_000),
        }
    }

    pub(super) fn to_wire(&self) -> v1::CheckpointPolicy {
        let (every_steps, every_epochs) = match self.every {
            CheckpointInterval::Steps(steps) => (Some(steps), None),
            CheckpointInterval::Epochs(epochs) => (None, Some(epochs)),
        };
        let (keep_last, keep_best) = (Some(self.keep_last), Some(self.keep_best));
        v1::CheckpointPolicy { every_steps, every_epochs, keep_last, keep_best }
    }
}
