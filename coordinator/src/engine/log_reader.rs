//! Follows the log lines of one job.

use std::time::Duration;

use kindred_proto::{failure::Failure, ids::JobId, v1};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::handle::is_terminal;
use crate::telemetry::{LineNumber, Lines, LogQuery, Telemetry};

/// How long lines may be on their way after the job's end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Reads a job's lines, oldest first.
pub(super) struct LogReader {
    telemetry: Telemetry,
    job_id: JobId,
    query: LogQuery,
    job: watch::Receiver<v1::Job>,
    bell: watch::Receiver<LineNumber>,
    after: LineNumber,
    /// Lines that were dropped before the first that is read, not told yet.
    n_dropped: u64,
    /// When to look for the last time; set once the job is over.
    ends_at: Option<Instant>,
}

impl LogReader {
    pub async fn open(
        telemetry: Telemetry,
        job_id: JobId,
        query: LogQuery,
        job: watch::Receiver<v1::Job>,
    ) -> Result<Self, Failure> {
        let (after, n_dropped) = match (query.after, query.tail) {
            (Some(after), _) => (after, 0),
            (None, Some(tail)) => (telemetry.tail(&job_id, query.min_level, tail).await?, 0),
            (None, None) => (LineNumber::default(), telemetry.n_dropped(&job_id).await?),
        };
        let bell = telemetry.newest_line();
        Ok(Self { telemetry, job_id, query, job, bell, after, n_dropped, ends_at: None })
    }

    /// The next lines; none at the end.
    pub async fn next(&mut self) -> Result<Option<Lines>, Failure> {
        if self.n_dropped > 0 {
            let lines = vec![dropped(std::mem::take(&mut self.n_dropped))];
            return Ok(Some(Lines { lines, last: self.after }));
        }
        loop {
            let is_last_look = !self.query.follow || self.ends_at.is_some_and(|at| at <= Instant::now());
            self.bell.mark_unchanged();
            let read = self.telemetry.lines_after(&self.job_id, self.after, self.query.min_level).await?;
            self.after = read.last;
            if !read.lines.is_empty() {
                return Ok(Some(read));
            }
            if is_last_look {
                return Ok(None);
            }
            self.wait().await;
        }
    }

    /// Waits for new lines, the job's end, or the end of the lines.
    async fn wait(&mut self) {
        if self.ends_at.is_none() && is_over(&self.job) {
            self.ends_at = Some(Instant::now() + LAST_LINES);
        }
        tokio::select! {
            Ok(()) = self.bell.changed() => {}
            Ok(()) = self.job.changed(), if self.ends_at.is_none() => {}
            () = sleep_until(self.ends_at.unwrap_or_else(Instant::now)), if self.ends_at.is_some() => {}
            // The engine is gone, and with it everyone who could send lines.
            else => self.ends_at = Some(Instant::now()),
        }
    }
}

/// Says that the first lines are missing.
fn dropped(n_lines: u64) -> v1::LogLine {
    let message = format!("{n_lines} older lines were dropped to keep their number bounded");
    v1::LogLine { level: v1::LogLevel::Warn.into(), message, ..Default::default() }
}

/// True when the job is over, or nobody is left to say that it is not.
fn is_over(job: &watch::Receiver<v1::Job>) -> bool {
    is_terminal(&job.borrow()) || job.has_changed().is_err()
}
