//! Until when what this node does counts.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Runs from the moment at which the newest answered report was sent, by this node's own clock.
///
/// The coordinator counts from the moment at which it read that report, which is later: it never takes a node for
/// lost while the node itself believes in its lease.
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

    /// Whether durable work may be done now.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.valid_until.is_some_and(|end| now < end)
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
        assert!(!lease.is_valid(start));
        lease.stream_opened();
        for second in 0..3 {
            lease.report_sent(start + Duration::from_secs(second));
        }
        lease.answered(2, LENGTH);
        assert!(!lease.is_settled());
        assert!(lease.is_valid(start + Duration::from_millis(10_999)));
        assert!(!lease.is_valid(start + Duration::from_secs(11)));
    }

    #[test]
    fn orders_that_answer_nothing_new_do_not_prolong_it() {
        let start = Instant::now();
        let mut lease = Lease::default();
        lease.report_sent(start);
        lease.answered(1, LENGTH);
        lease.report_sent(start + Duration::from_secs(9));
        lease.answered(1, LENGTH);
        assert!(!lease.is_valid(start + LENGTH));
        lease.answered(7, LENGTH);
        assert!(lease.is_settled());
        assert!(lease.is_valid(start + LENGTH));
    }

    #[test]
    fn a_new_stream_counts_its_own_reports_and_keeps_the_lease() {
        let start = Instant::now();
        let mut lease = Lease::default();
        lease.report_sent(start);
        lease.answered(1, LENGTH);
        lease.report_sent(start + Duration::from_secs(1));
        lease.stream_opened();
        assert!(lease.is_valid(start + Duration::from_secs(9)));
        lease.report_sent(start + Duration::from_secs(5));
        lease.answered(1, LENGTH);
        assert!(lease.is_valid(start + Duration::from_secs(14)));
    }
}
