//! The one knob of failure detection, and every time limit that follows from it.

use std::time::Duration;

/// A process takes so long to start and read its data, however fast a loss is noticed.
const SLOWEST_START: Duration = Duration::from_secs(60);

/// Reports are bunched this far apart: less says nothing.
const SHORTEST_GRACE: Duration = Duration::from_secs(1);

/// A busy machine may keep a process from its processor for a while.
const SHORTEST_HANG: Duration = Duration::from_secs(2);

/// When a fault is noticed, and what waits for that. The limits act one after the other; see [`Timing::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A node that is silent for longer is lost.
    pub detection_budget: Duration,
    /// How often an agent reports at least, which renews its lease.
    pub renewal: Duration,
    /// How long an agent may count on its last answered report; without a lease its ranks do nothing durable. It is over
    /// well before the node is taken for lost: a rank that was allowed to commit has the rest of the time to do so.
    pub lease: Duration,
    /// A rank's process that says nothing for longer is hung.
    pub hang_grace: Duration,
    /// How long a rank's lost peer waits for a report that says why it was lost.
    pub cause_grace: Duration,
    /// How long a rank whose peers are gone keeps its state for the next generation.
    pub abort_grace: Duration,
    /// How long the ranks of a generation may take to meet.
    pub meeting_timeout: Duration,
    /// How long one collective operation may take: it notices what nothing before it has.
    pub collective_timeout: Duration,
}

/// Limits that are set apart from the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimingOverrides {
    /// See [`Timing::renewal`].
    pub renewal: Option<Duration>,
    /// See [`Timing::lease`].
    pub lease: Option<Duration>,
    /// See [`Timing::abort_grace`].
    pub abort_grace: Option<Duration>,
    /// See [`Timing::meeting_timeout`].
    pub meeting_timeout: Option<Duration>,
    /// See [`Timing::collective_timeout`].
    pub collective_timeout: Option<Duration>,
}

/// Limits that do not act in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{small} {small_value:?} must be at most {large} {large_value:?}: {why}")]
pub struct OutOfOrder {
    small: &'static str,
    small_value: Duration,
    large: &'static str,
    large_value: Duration,
    why: &'static str,
}

impl Timing {
    /// All limits as they follow from the budget.
    pub fn new(detection_budget: Duration) -> Self {
        Self {
            detection_budget,
            renewal: detection_budget / 5,
            lease: detection_budget * 4 / 5,
            hang_grace: SHORTEST_HANG.max(detection_budget / 5),
            cause_grace: SHORTEST_GRACE,
            abort_grace: detection_budget * 3 / 2 + 2 * SHORTEST_GRACE,
            meeting_timeout: SLOWEST_START.max(detection_budget * 6),
            collective_timeout: SLOWEST_START.max(detection_budget * 6),
        }
    }

    /// As [`Timing::new`], with some limits set apart.
    ///
    /// # Errors
    /// The first inequality that fails.
    pub fn with(detection_budget: Duration, overrides: &TimingOverrides) -> Result<Self, OutOfOrder> {
        let derived = Self::new(detection_budget);
        let lease = overrides.lease.unwrap_or(derived.lease);
        let timing = Self {
            lease,
            renewal: overrides.renewal.unwrap_or(derived.renewal),
            abort_grace: overrides.abort_grace.unwrap_or(derived.abort_grace),
            meeting_timeout: overrides.meeting_timeout.unwrap_or(derived.meeting_timeout),
            collective_timeout: overrides.collective_timeout.unwrap_or(derived.collective_timeout),
            ..derived
        };
        timing.check().map(|()| timing)
    }

    /// Whether the limits act in order: renewals within the lease, the lease before the coordinator gives a node up, that
    /// before ranks give up waiting for the next generation, and time-outs of ranks last.
    ///
    /// # Errors
    /// The first inequality that fails.
    pub fn check(&self) -> Result<(), OutOfOrder> {
        let (budget, half_lease) =
            (("--detection-budget", self.detection_budget), ("half of --lease", self.lease / 2));
        let abort_grace = ("--abort-grace", self.abort_grace);
        let noticed = ("--detection-budget and --renewal together", self.detection_budget + self.renewal);
        let order = [
            (("--renewal", self.renewal), half_lease, "a report that is lost once must not cost the lease"),
            (("--lease", self.lease), budget, "a node must fence itself before others take its place"),
            (
                noticed,
                abort_grace,
                "ranks must outlast the time that the loss of a peer's node takes to be noticed",
            ),
            (
                abort_grace,
                ("--meeting-timeout", self.meeting_timeout),
                "those who meet wait for the last that is told",
            ),
            (
                abort_grace,
                ("--collective-timeout", self.collective_timeout),
                "time-outs only notice what orders have not",
            ),
        ];
        let fails = order.into_iter().find(|(small, large, _)| small.1 > large.1);
        fails.map_or(Ok(()), |((small, small_value), (large, large_value), why)| {
            Err(OutOfOrder { small, small_value, large, large_value, why })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(10);

    fn refusal(overrides: TimingOverrides) -> String {
        Timing::with(BUDGET, &overrides).expect_err("out of order").to_string()
    }

    #[test]
    fn every_budget_gives_limits_in_order() {
        for budget_ms in [100, 500, 1000, 10_000, 60_000, 600_000] {
            Timing::new(Duration::from_millis(budget_ms)).check().expect("in order");
        }
    }

    #[test]
    fn limits_out_of_order_are_refused_with_the_inequality() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let none = TimingOverrides::default();
        let cases = [
            (
                TimingOverrides { renewal: seconds(6), ..none },
                "--renewal 6s must be at most half of --lease 4s: a report that is lost once must not cost the lease",
            ),
            (
                TimingOverrides { lease: seconds(11), ..none },
                "--lease 11s must be at most --detection-budget 10s: a node must fence itself before others take its place",
            ),
            (
                TimingOverrides { abort_grace: seconds(5), ..none },
                "--detection-budget and --renewal together 12s must be at most --abort-grace 5s: ranks must outlast the time \
                 that the loss of a peer's node takes to be noticed",
            ),
            (
                TimingOverrides { meeting_timeout: seconds(15), ..none },
                "--abort-grace 17s must be at most --meeting-timeout 15s: those who meet wait for the last that is told",
            ),
            (
                TimingOverrides { collective_timeout: seconds(3), ..none },
                "--abort-grace 17s must be at most --collective-timeout 3s: time-outs only notice what orders have not",
            ),
        ];
        for (overrides, message) in cases {
            assert_eq!(refusal(overrides), message);
        }
    }

    #[test]
    fn what_is_set_apart_is_kept() {
        let overrides = TimingOverrides { lease: Some(Duration::from_secs(8)), ..Default::default() };
        let timing = Timing::with(BUDGET, &overrides).expect("in order");
        assert_eq!((timing.lease, timing.renewal), (Duration::from_secs(8), Duration::from_secs(2)));
    }
}
