//! The engine's clock: told the date once, then counts on its own, so that it never goes back.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::model::Timestamp;

/// A clock that follows tokio's, paused or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
    date: Timestamp,
}

impl Clock {
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), date: Timestamp::default().plus(since_epoch) }
    }

    pub fn now(&self) -> Timestamp {
        self.date.plus(self.started.elapsed())
    }
}
