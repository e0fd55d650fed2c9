//! How long the engine's work takes, for those who ask the log: `KINDRED_LOG=info,kindred_coordinator::engine::load=debug`.

use std::time::{Duration, Instant};

use tracing::debug;

/// How often it is told.
const EVERY: Duration = Duration::from_secs(5);

/// What was measured since it was last told.
#[derive(Debug)]
pub(super) struct Load {
    since: Instant,
    n_reports: u64,
    turns: Times,
    passes: Times,
}

/// How long something took, each time.
#[derive(Debug, Default)]
struct Times {
    /// By powers of two of microseconds, in quarters.
    counts: Vec<u64>,
    most: Duration,
    total: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self { since: Instant::now(), n_reports: 0, turns: Times::default(), passes: Times::default() }
    }
}

impl Load {
    /// Agents have reported.
    pub fn report(&mut self) {
        self.n_reports += 1;
    }

    /// A turn, from its first command to its last answer.
    pub fn turn(&mut self, duration: Duration) {
        self.turns.note(duration);
    }

    /// A scheduling pass: who gets devices.
    pub fn pass(&mut self, duration: Duration) {
        self.passes.note(duration);
    }

    /// Tells it now and then, and begins anew.
    pub fn tell(&mut self) {
        let elapsed = self.since.elapsed();
        if elapsed < EVERY {
            return;
        }
        let Self { n_reports, turns, passes, .. } = std::mem::take(self);
        debug!(
            elapsed_ms = elapsed.as_millis(),
            n_reports,
            n_turns = turns.count(),
            turn_median_us = turns.median().as_micros(),
            turn_most_us = turns.most.as_micros(),
            turns_total_ms = turns.total.as_millis(),
            n_passes = passes.count(),
            pass_median_us = passes.median().as_micros(),
            pass_most_us = passes.most.as_micros(),
            "load"
        );
    }
}

impl Times {
    fn note(&mut self, duration: Duration) {
        let place = place_of(duration);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
        self.most = self.most.max(duration);
        self.total += duration;
    }

    fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// At most a fifth above the median.
    fn median(&self) -> Duration {
        let mut n_left = self.count().div_ceil(2);
        let place = self.counts.iter().position(|count| {
            n_left = n_left.saturating_sub(*count);
            n_left == 0
        });
        place.filter(|_| self.count() > 0).map_or(Duration::ZERO, |place| end_of(place).min(self.most))
    }
}

/// Four places for each doubling.
fn place_of(duration: Duration) -> usize {
    let micros = duration.as_micros().max(1) as f64;
    (micros.log2() * 4.0).ceil() as usize
}

/// The longest duration of a place.
fn end_of(place: usize) -> Duration {
    Duration::from_secs_f64((place as f64 / 4.0).exp2() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_at_most_a_fifth_too_long() {
        let mut times = Times::default();
        assert_eq!(times.median(), Duration::ZERO);
        for micros in [90, 1000, 1_000_000] {
            times.note(Duration::from_micros(micros));
        }
        let median = times.median().as_micros();
        assert!((1000..=1200).contains(&median), "{median}");
        assert_eq!((times.count(), times.most), (3, Duration::from_secs(1)));
    }
}
