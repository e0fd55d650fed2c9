//! Until when what this node does counts.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Runs from the moment at which the newest answered report was sent, by this node's own clock.
///
/// The coordinator counts from the moment at which it read that report, which is later, and for longer: it never takes a
/// node for lost while the node itself believes in its lease, or a rank still acts on it.
#[derive(Debug, Default)]
pub struct Lease {
    /// When the reports of this stream were sent that no orders have answered yet.
    unanswered: VecDeque<Instant>,
    /// How many reports of this stream came before those.
    n_answered: u64,
    valid_until: Option<Instant>,
}

impl Lease {
    /// Notes that a new stream begins, whose reports count from one again.
    pub fn stream_opened(&mut self) {
        self.unanswered.clear();
        self.n_answered = 0;
    }

    /// Notes that a report is handed to the stream.
    pub fn report_sent(&mut self, now: Instant) {
        self.unanswered.push_back(now);
    }

    /// Notes orders that were made after `n_seen` reports of this stream had been read.
    pub fn answered(&mut self, n_seen: u64, length: Duration) {
        let mut newest = None;
        while self.n_answered < n_seen
            && let Some(sent_at) = self.unanswered.pop_front()
        {
            newest = Some(sent_at);
            self.n_answered += 1;
        }
        if let Some(sent_at) = newest {
            self.valid_until = self.valid_until.max(Some(sent_at + length));
        }
    }

    /// Whether every report of this stream has been answered.
    pub fn is_settled(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// How long durable work may be done from now on; `None` when it may not.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.valid_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    #[test]
    fn it_runs_from_the_sending_of_the_newest_answered_report() {
        let start = Instant::now();
        let mut lease = Lease::default();
        assert_eq!(lease.left(start), None);
        lease.stream_opened();
        for second in 0..3 {
            lease.report_sent(start + Duration::from_secs(second));
        }
        lease.answered(2, LENGTH);
        assert!(!lease.is_settled());
        assert_eq!(lease.left(start + Duration::from_millis(10_999)), Some(Duration::from_millis(1)));
        assert_eq!(lease.left(start + Duration::from_secs(11)), None);
    }

    #[test]
    fn orders_that_answer_nothing_new_do_not_prolong_it() {
        let start = Instant::now();
        let mut lease = Lease::default();
        lease.report_sent(start);
        lease.answered(1, LENGTH);
        lease.report_sent(start + Duration::from_secs(9));
        lease.answered(1, LENGTH);
        assert_eq!(lease.left(start + LENGTH), None);
        lease.answered(7, LENGTH);
        assert!(lease.is_settled());
        assert_eq!(lease.left(start + LENGTH), Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_new_stream_counts_its_own_reports_and_keeps_the_lease() {
        let start = Instant::now();
        let mut lease = Lease::default();
        lease.report_sent(start);
        lease.answered(1, LENGTH);
        lease.report_sent(start + Duration::from_secs(1));
        lease.stream_opened();
        assert_eq!(lease.left(start + Duration::from_secs(9)), Some(Duration::from_secs(1)));
        lease.report_sent(start + Duration::from_secs(5));
        lease.answered(1, LENGTH);
        assert_eq!(lease.left(start + Duration::from_secs(14)), Some(Duration::from_secs(1)));
    }
}
