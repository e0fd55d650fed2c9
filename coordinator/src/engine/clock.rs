//! The engine's clock: follows the date, but never goes back, and notices when the engine was held up.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::model::Timestamp;

/// A step of the clock, from turn to turn, that is longer than any turn should take.
const HELD_UP: Duration = Duration::from_secs(1);

/// A clock that counts with tokio's, paused or not.
#[derive(Clone)]
pub struct Clock {
    /// The date, as this machine has it.
    calendar: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    started: Instant,
    /// What is added to the time since the start.
    date: Timestamp,
    newest: Timestamp,
}

impl Clock {
    /// Starts by the system's date.
    pub fn start() -> Self {
        Self::start_by(SystemTime::now)
    }

    /// Starts by another date, such as one that counts with tokio's paused time.
    pub fn start_by(calendar: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let date = timestamp(calendar());
        Self { calendar: Arc::new(calendar), started: Instant::now(), date, newest: date }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.date.plus(self.started.elapsed())
    }

    /// The time of the next turn, and how long the engine was held up before it: by a slow disk, by the machine's
    /// sleep, which the date counts and the process does not, or by a date that was put forward.
    pub(super) fn step(&mut self) -> (Timestamp, Option<Duration>) {
        let ahead = timestamp((self.calendar)()).since(self.now());
        if ahead > HELD_UP {
            self.date = self.date.plus(ahead);
        }
        let now = self.now();
        let step = now.since(self.newest);
        self.newest = now;
        (now, (step > HELD_UP).then_some(step))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish_non_exhaustive()
    }
}

fn timestamp(date: SystemTime) -> Timestamp {
    Timestamp::default().plus(date.duration_since(UNIX_EPOCH).unwrap_or_default())
}
