//! When state is written.

use crate::{
    scope::{Scope, positive_to},
    v1,
};

/// When state is written.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointPolicy {
    /// When one is due. Default: after every epoch.
    pub every: CheckpointInterval,
    /// How many stay. Default 3.
    pub keep_last: u32,
    /// How many stay beside those, for the best kNN accuracy. Default 1.
    pub keep_best: u32,
    /// Steps between two comparisons of what the ranks hold; none where only what is saved is compared. Default 500.
    pub compare_every_steps: Option<u64>,
}

/// When a checkpoint is due; the last step always is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CheckpointInterval {
    /// After every so many steps.
    Steps(u64),
    /// After every so many epochs.
    Epochs(u32),
    /// As often as is worth what they cost.
    Derived {
        /// Hours until the first loss that are assumed before any was met. Default 24.
        hours_between_losses: f64,
    },
}

impl CheckpointPolicy {
    pub(super) fn check(wire: Option<v1::CheckpointPolicy>, at: &Scope) -> Self {
        let wire = wire.unwrap_or_default();
        if wire.every_steps.is_some() && wire.every_epochs.is_some() {
            at.violate("every_epochs", "has no meaning beside `every_steps`: leave one of the two out");
        }
        if wire.derived.is_some() && (wire.every_steps.is_some() || wire.every_epochs.is_some()) {
            at.violate("derived", "has no meaning beside `every_steps` or `every_epochs`: leave those out");
        }
        let compare = at.number("compare_every_steps", wire.compare_every_steps, 500, 0..);
        Self {
            every: interval(&wire, at),
            compare_every_steps: Some(compare).filter(|n_steps| *n_steps > 0),
            keep_last: at.number("keep_last", wire.keep_last, 3, 1..=10_000),
            keep_best: at.number("keep_best", wire.keep_best, 1, 0..=10_000),
        }
    }

    pub(super) fn to_wire(&self) -> v1::CheckpointPolicy {
        let mut wire = v1::CheckpointPolicy {
            keep_last: Some(self.keep_last),
            keep_best: Some(self.keep_best),
            compare_every_steps: Some(self.compare_every_steps.unwrap_or(0)),
            ..Default::default()
        };
        match self.every {
            CheckpointInterval::Steps(steps) => wire.every_steps = Some(steps),
            CheckpointInterval::Epochs(epochs) => wire.every_epochs = Some(epochs),
            CheckpointInterval::Derived { hours_between_losses } => {
                let hours_between_losses = Some(hours_between_losses);
                wire.derived = Some(v1::DerivedInterval { hours_between_losses });
            }
        }
        wire
    }
}

fn interval(wire: &v1::CheckpointPolicy, at: &Scope) -> CheckpointInterval {
    if let Some(derived) = &wire.derived {
        let at = at.field("derived");
        let hours = at.number("hours_between_losses", derived.hours_between_losses, 24.0, positive_to(1e6));
        return CheckpointInterval::Derived { hours_between_losses: hours };
    }
    let epochs = at.number("every_epochs", wire.every_epochs, 1, 1..);
    let steps = at.optional("every_steps", wire.every_steps, 1..);
    steps.map_or(CheckpointInterval::Epochs(epochs), CheckpointInterval::Steps)
}
