//! The engine's clock: follows the date, but never goes back, and notices when the engine was held up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::model::Timestamp;

/// A step of the clock, from turn to turn, that is longer than any turn should take.
const HELD_UP: Duration = Duration::from_secs(1);

/// A clock that counts with tokio's, paused or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
    /// What is added to the time since the start.
    date: Timestamp,
    newest: Timestamp,
}

impl Clock {
    pub fn start() -> Self {
        let date = date();
        Self { started: Instant::now(), date, newest: date }
    }

    pub fn now(&self) -> Timestamp {
        self.date.plus(self.started.elapsed())
    }

    /// The time of the next turn, and how long the engine was held up before it: by a slow disk, by the machine's
    /// sleep, which the date counts and the process does not, or by a date that was put forward.
    pub fn step(&mut self) -> (Timestamp, Option<Duration>) {
        let ahead = date().since(self.now());
        if ahead > HELD_UP {
            self.date = self.date.plus(ahead);
        }
        let now = self.now();
        let step = now.since(self.newest);
        self.newest = now;
        (now, (step > HELD_UP).then_some(step))
    }
}

fn date() -> Timestamp {
    Timestamp::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
