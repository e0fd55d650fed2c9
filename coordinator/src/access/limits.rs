//! How much one caller may ask: calls per second, and streams at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Callers of whom something is remembered; beyond that those who have been quiet are let go.
const MAX_CALLERS: usize = 10_000;

/// What one caller may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// On average.
    pub calls_per_second: u32,
    /// At once, after a quiet time.
    pub burst: u32,
    /// At a time.
    pub streams: u32,
}

impl Limits {
    /// Of a user: `kindred watch` makes one call a second at most, a script that submits a thousand jobs waits some seconds.
    pub const USER: Self = Self { calls_per_second: 100, burst: 500, streams: 100 };
    /// Of an address from which nobody has shown who it is.
    pub const NOBODY: Self = Self { calls_per_second: 5, burst: 50, streams: 10 };
    /// Of a node: ranks that meet ask the store some hundred times a second.
    pub const NODE: Self = Self { calls_per_second: 5_000, burst: 20_000, streams: 8 };
}

/// A limit that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Too many calls; the next one may come after so long.
    Calls(Duration),
    /// Too many streams.
    Streams,
}

/// What is counted of all callers.
#[derive(Debug, Default)]
pub struct Counts {
    callers: Mutex<HashMap<String, Count>>,
}

/// What is counted of one caller.
#[derive(Debug)]
struct Count {
    /// When all calls so far are paid for, at the average rate.
    paid_at: Instant,
    streams: Arc<()>,
}

/// A stream that is open until this is dropped.
#[derive(Debug)]
pub struct OpenStream {
    _counted: Arc<()>,
}

impl Counts {
    /// Counts a call.
    ///
    /// # Errors
    /// [`Exceeded::Calls`]; then it is not counted.
    pub fn call(&self, caller: &str, limits: Limits) -> Result<(), Exceeded> {
        let now = Instant::now();
        let price = Duration::from_secs(1) / limits.calls_per_second;
        let mut callers = self.lock(now);
        let count = callers.entry(caller.to_owned()).or_insert_with(|| Count::new(now));
        let credit = price * limits.burst;
        let paid_at = count.paid_at.max(now) + price;
        if paid_at > now + credit {
            return Err(Exceeded::Calls(paid_at - now - credit));
        }
        count.paid_at = paid_at;
        Ok(())
    }

    /// Counts a stream until the answer is dropped.
    ///
    /// # Errors
    /// [`Exceeded::Streams`].
    pub fn stream(&self, caller: &str, limits: Limits) -> Result<OpenStream, Exceeded> {
        let now = Instant::now();
        let mut callers = self.lock(now);
        let count = callers.entry(caller.to_owned()).or_insert_with(|| Count::new(now));
        if Arc::strong_count(&count.streams) > limits.streams as usize {
            return Err(Exceeded::Streams);
        }
        Ok(OpenStream { _counted: count.streams.clone() })
    }

    /// All counts; of those who owe nothing any more when there are too many.
    fn lock(&self, now: Instant) -> MutexGuard<'_, HashMap<String, Count>> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_CALLERS {
            callers.retain(|_, count| count.paid_at > now || Arc::strong_count(&count.streams) > 1);
        }
        callers
    }
}

impl Count {
    fn new(now: Instant) -> Self {
        Self { paid_at: now, streams: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { calls_per_second: 10, burst: 3, streams: 2 };

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_served_and_then_the_average() {
        let counts = Counts::default();
        for _ in 0..3 {
            counts.call("a", LIMITS).expect("within the burst");
        }
        assert_eq!(counts.call("a", LIMITS), Err(Exceeded::Calls(Duration::from_millis(100))));
        counts.call("b", LIMITS).expect("another caller");
        tokio::time::advance(Duration::from_millis(100)).await;
        counts.call("a", LIMITS).expect("it waited");
        counts.call("a", LIMITS).expect_err("one more at a time");
        tokio::time::advance(Duration::from_secs(60)).await;
        for _ in 0..3 {
            counts.call("a", LIMITS).expect("a burst again, and not more");
        }
        counts.call("a", LIMITS).expect_err("one more at a time");
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_counted_while_they_are_open() {
        let counts = Counts::default();
        let first = counts.stream("a", LIMITS).expect("the first");
        let _second = counts.stream("a", LIMITS).expect("the second");
        assert_eq!(counts.stream("a", LIMITS).expect_err("the third"), Exceeded::Streams);
        counts.stream("b", LIMITS).expect("another caller");
        drop(first);
        counts.stream("a", LIMITS).expect("there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_are_quiet_are_let_go() {
        let counts = Counts::default();
        for caller in 0..MAX_CALLERS {
            counts.call(&caller.to_string(), LIMITS).expect("within the burst");
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        counts.call("one more", LIMITS).expect("within the burst");
        assert_eq!(counts.callers.lock().expect("nobody panicked").len(), 1);
    }
}
