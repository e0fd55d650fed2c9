//! How many log lines a job may have in a second: a rank that prints without end must not fill the disk that all share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kindred_proto::v1;
use tokio::time::Instant;

/// On average; a step every 10 ms that says a line on each of eight ranks stays below.
const LINES_PER_SECOND: u32 = 1_000;
/// At once, after a quiet time: what agents kept while the coordinator was away.
const BURST: u32 = 20_000;
/// Jobs that are remembered; beyond that those that have been quiet are let go.
const MAX_JOBS: usize = 1_000;

/// What jobs have logged lately. A clone is another handle to the same.
#[derive(Clone, Debug, Default)]
pub(super) struct LineLimit {
    /// For each job, when all its lines are paid for at the average rate.
    paid_at: Arc<Mutex<HashMap<String, Instant>>>,
}

impl LineLimit {
    /// Drops the lines of a batch that are too many, and says in a line of its own how many.
    pub fn apply(&self, batch: &mut v1::TelemetryBatch) {
        let n_given = batch.lines.len();
        let n_kept = self.room_for(&batch.job_id, n_given);
        let Some(first_dropped) = batch.lines.get(n_kept) else { return };
        let notice = v1::LogLine {
            level: v1::LogLevel::Warn.into(),
            message: format!(
                "{} lines were dropped: a job may log {LINES_PER_SECOND} a second, and {BURST} at once",
                n_given - n_kept
            ),
            fields: HashMap::new(),
            ..first_dropped.clone()
        };
        batch.lines.truncate(n_kept);
        batch.lines.push(notice);
    }

    /// How many of `n_lines` more lines there is room for; these are counted.
    fn room_for(&self, job_id: &str, n_lines: usize) -> usize {
        if n_lines == 0 {
            return 0;
        }
        let now = Instant::now();
        let price = Duration::from_secs(1) / LINES_PER_SECOND;
        let mut jobs = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= MAX_JOBS {
            jobs.retain(|_, paid_at| *paid_at > now);
        }
        let paid_at = jobs.entry(job_id.to_owned()).or_insert(now);
        let credit = (now + price * BURST).saturating_duration_since((*paid_at).max(now));
        let room = usize::try_from(credit.as_nanos() / price.as_nanos()).unwrap_or(usize::MAX);
        let n_kept = n_lines.min(room);
        *paid_at = (*paid_at).max(now) + price * u32::try_from(n_kept).unwrap_or(u32::MAX);
        n_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(n_lines: usize) -> v1::TelemetryBatch {
        let line = v1::LogLine { message: "step".to_owned(), rank: Some(3), ..Default::default() };
        v1::TelemetryBatch { job_id: "job-1".to_owned(), lines: vec![line; n_lines], ..Default::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_beyond_the_limit_are_dropped_and_counted() {
        let limit = LineLimit::default();
        let mut first = batch(BURST as usize + 5);
        limit.apply(&mut first);
        assert_eq!(first.lines.len(), BURST as usize + 1);
        let notice = first.lines.last().expect("there are some");
        assert!(notice.message.starts_with("5 lines were dropped") && notice.rank == Some(3), "{notice:?}");
        let mut quiet = batch(0);
        limit.apply(&mut quiet);
        assert_eq!(quiet.lines, []);
        tokio::time::advance(Duration::from_secs(2)).await;
        let mut later = batch(2 * LINES_PER_SECOND as usize);
        limit.apply(&mut later);
        assert_eq!(later, batch(2 * LINES_PER_SECOND as usize), "two seconds pay for them");
        let mut other = v1::TelemetryBatch { job_id: "job-2".to_owned(), ..batch(3) };
        limit.apply(&mut other);
        assert_eq!(other.lines.len(), 3, "each job has a limit of its own");
    }
}
