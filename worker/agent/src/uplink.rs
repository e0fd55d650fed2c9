//! The agent's end of the stream: when a report is due, and what has been answered.

use std::time::Duration;

use kindred_proto::v1;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};

use crate::{
    config::{REPORT_INTERVAL, REPORT_SPACING, RESEND_AFTER, TELEMETRY_SPACING},
    lease::Lease,
    telemetry::Telemetry,
};

/// What must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Nothing.
    None,
    /// Progress; it can wait a little.
    Progress,
    /// A rank's state, or the agent's own.
    State,
}

/// Reports that go up, and what came back for them.
#[derive(Debug)]
pub struct Uplink {
    /// Points and lines of jobs.
    pub telemetry: Telemetry,
    /// Until when durable work counts.
    pub lease: Lease,
    reports: Option<mpsc::Sender<v1::AgentReport>>,
    news: News,
    interval: Duration,
    /// When the last report went onto this stream, or found it full.
    last: Option<Instant>,
    /// Since when sent telemetry waits for its acknowledgement.
    waits_since: Option<Instant>,
}

impl Uplink {
    /// No stream yet.
    pub fn new() -> Self {
        Self {
            telemetry: Telemetry::default(),
            lease: Lease::default(),
            reports: None,
            news: News::State,
            interval: REPORT_INTERVAL,
            last: None,
            waits_since: None,
        }
    }

    /// Takes a new stream, on which everything is told again.
    pub fn opened(&mut self, reports: mpsc::Sender<v1::AgentReport>) {
        self.reports = Some(reports);
        self.lease.stream_opened();
        self.telemetry.rewind();
        (self.last, self.waits_since) = (None, None);
    }

    /// Lets the stream go.
    pub fn closed(&mut self) {
        self.reports = None;
    }

    /// Notes that there is something to tell.
    pub fn tell(&mut self, news: News) {
        self.news = self.news.max(news);
    }

    /// When the next report is due; `None` without a stream.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.reports.as_ref()?;
        let Some(last) = self.last else { return Some(now) };
        let spacing = match self.news {
            News::State => REPORT_SPACING,
            News::Progress => TELEMETRY_SPACING,
            News::None if self.telemetry.has_unsent() => TELEMETRY_SPACING,
            News::None => self.interval,
        };
        Some(last + spacing.min(self.interval))
    }

    /// Puts one report onto the stream. When that is full the report is not made, and due again a little later.
    pub fn send(&mut self, now: Instant, report: impl FnOnce(Vec<v1::TelemetryBatch>) -> v1::AgentReport) {
        let Some(reports) = self.reports.clone() else { return };
        self.last = Some(now);
        let permit = match reports.try_reserve() {
            Ok(permit) => permit,
            Err(TrySendError::Full(())) => return,
            Err(TrySendError::Closed(())) => return self.closed(),
        };
        if self.waits_since.is_some_and(|since| now >= since + RESEND_AFTER) {
            self.telemetry.rewind();
            self.waits_since = None;
        }
        permit.send(report(self.telemetry.next_batches()));
        self.lease.report_sent(now);
        self.news = News::None;
        if self.telemetry.has_unacknowledged() {
            self.waits_since.get_or_insert(now);
        }
    }

    /// Takes what orders say about reports, lease and telemetry.
    pub fn answered(&mut self, now: Instant, orders: &v1::AgentOrders) {
        self.lease.answered(orders.reports_seen, Duration::from_millis(orders.lease_ms.into()));
        if orders.report_interval_ms > 0 {
            self.interval = Duration::from_millis(orders.report_interval_ms.into());
        }
        if self.telemetry.acknowledge(orders.telemetry_acknowledged) {
            self.waits_since = self.telemetry.has_unacknowledged().then_some(now);
        }
    }

    /// Whether the coordinator has heard and stored everything, as far as it can be told.
    pub fn is_settled(&self) -> bool {
        let is_told = self.news == News::None && !self.telemetry.has_unsent();
        is_told && self.lease.is_settled() && !self.telemetry.has_unacknowledged()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(telemetry: Vec<v1::TelemetryBatch>) -> v1::AgentReport {
        v1::AgentReport { telemetry, ..Default::default() }
    }

    fn answer(reports_seen: u64, telemetry_acknowledged: u64) -> v1::AgentOrders {
        v1::AgentOrders {
            reports_seen,
            telemetry_acknowledged,
            lease_ms: 10_000,
            report_interval_ms: 2_000,
            ..Default::default()
        }
    }

    #[test]
    fn a_report_is_due_at_once_then_by_what_there_is_to_tell() {
        let now = Instant::now();
        let mut uplink = Uplink::new();
        assert_eq!(uplink.due(now), None);
        let (sender, mut reports) = mpsc::channel(4);
        uplink.opened(sender);
        assert_eq!(uplink.due(now), Some(now));
        uplink.send(now, report);
        uplink.answered(now, &answer(1, 0));
        assert_eq!(uplink.due(now), Some(now + Duration::from_secs(2)));
        uplink.tell(News::Progress);
        assert_eq!(uplink.due(now), Some(now + TELEMETRY_SPACING));
        uplink.tell(News::State);
        assert_eq!(uplink.due(now), Some(now + REPORT_SPACING));
        uplink.send(now, report);
        assert_eq!(uplink.due(now), Some(now + Duration::from_secs(2)));
        assert!(reports.try_recv().is_ok() && reports.try_recv().is_ok() && reports.try_recv().is_err());
    }

    #[test]
    fn telemetry_without_an_acknowledgement_is_sent_again() {
        let now = Instant::now();
        let mut uplink = Uplink::new();
        let (sender, mut reports) = mpsc::channel(4);
        uplink.opened(sender);
        uplink.telemetry.add_line("job-1", v1::LogLine::default());
        let n_batches = |reports: &mut mpsc::Receiver<v1::AgentReport>| {
            reports.try_recv().map(|report| report.telemetry.len()).expect("a report")
        };
        uplink.send(now, report);
        assert_eq!(n_batches(&mut reports), 1);
        uplink.send(now + RESEND_AFTER / 2, report);
        assert_eq!(n_batches(&mut reports), 0);
        uplink.send(now + RESEND_AFTER, report);
        assert_eq!(n_batches(&mut reports), 1);
        assert!(!uplink.is_settled());
        uplink.answered(now + RESEND_AFTER, &answer(3, 1));
        assert!(uplink.is_settled());
    }

    #[test]
    fn a_full_stream_loses_nothing() {
        let now = Instant::now();
        let mut uplink = Uplink::new();
        let (sender, mut reports) = mpsc::channel(1);
        uplink.opened(sender);
        uplink.send(now, report);
        uplink.telemetry.add_line("job-1", v1::LogLine::default());
        uplink.tell(News::State);
        uplink.send(now, report);
        assert!(reports.try_recv().expect("the first report").telemetry.is_empty());
        assert_eq!(uplink.due(now), Some(now + REPORT_SPACING));
        uplink.send(now, report);
        assert_eq!(reports.try_recv().expect("the next report").telemetry.len(), 1);
        drop(reports);
        uplink.send(now, report);
        assert_eq!(uplink.due(now), None);
    }
}
