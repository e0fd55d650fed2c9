//! Points and log lines of jobs, kept until the coordinator says that it stored them.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::{SystemTime, UNIX_EPOCH},
};

use kindred_proto::v1;
use prost::Message;

/// Log lines that are kept; beyond it the oldest go.
const MAX_LINES: usize = 20_000;

/// Points that are kept; beyond it the oldest go.
const MAX_POINTS: usize = 200_000;

/// Items in one batch.
const BATCH_ITEMS: usize = 500;

/// Encoded size of the batches that one report carries at most (one batch always fits).
const REPORT_BYTES: usize = 512 << 10;

/// Bytes of one log line's message; the rest is cut.
pub const LINE_BYTES: usize = 8 << 10;

/// What one job said since the last batch was made.
#[derive(Debug, Default)]
struct Open {
    points: VecDeque<v1::MetricPoint>,
    lines: VecDeque<v1::LogLine>,
}

/// The buffer between the ranks and the stream.
#[derive(Debug, Default)]
pub struct Telemetry {
    open: BTreeMap<String, Open>,
    /// Batches that have their number, oldest first.
    sealed: VecDeque<v1::TelemetryBatch>,
    /// The number of the newest sealed batch.
    sequence: u64,
    /// The newest batch that was put on the present stream.
    sent: u64,
    n_lines: usize,
    n_points: usize,
    n_dropped: u64,
}

impl Telemetry {
    /// Keeps points of a job's series.
    pub fn add_points(&mut self, job_id: &str, points: impl IntoIterator<Item = v1::MetricPoint>) {
        let kept = &mut self.open.entry(job_id.to_owned()).or_default().points;
        let n_before = kept.len();
        kept.extend(points);
        self.n_points += kept.len() - n_before;
        while self.n_points > MAX_POINTS
            && self.drop_oldest(|batch| &mut batch.points, |open| &mut open.points)
        {
            self.n_points -= 1;
        }
    }

    /// Keeps one line of a job's log.
    pub fn add_line(&mut self, job_id: &str, mut line: v1::LogLine) {
        cut(&mut line.message, LINE_BYTES);
        self.open.entry(job_id.to_owned()).or_default().lines.push_back(line);
        self.n_lines += 1;
        while self.n_lines > MAX_LINES && self.drop_oldest(|batch| &mut batch.lines, |open| &mut open.lines) {
            self.n_lines -= 1;
        }
    }

    /// How many points and lines were dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        mem::take(&mut self.n_dropped)
    }

    /// What the next report on this stream carries, oldest first.
    pub fn next_batches(&mut self) -> Vec<v1::TelemetryBatch> {
        self.seal();
        let mut size_bytes = 0;
        let mut batches = Vec::new();
        for batch in self.sealed.iter().filter(|batch| batch.sequence > self.sent) {
            size_bytes += batch.encoded_len();
            if size_bytes > REPORT_BYTES && !batches.is_empty() {
                break;
            }
            batches.push(batch.clone());
        }
        self.sent = batches.last().map_or(self.sent, |batch| batch.sequence);
        batches
    }

    /// Sends everything again that is not acknowledged.
    pub fn rewind(&mut self) {
        self.sent = self.sealed.front().map_or(self.sequence, |batch| batch.sequence - 1);
    }

    /// Lets go of what the coordinator has stored; says whether that was anything.
    pub fn acknowledge(&mut self, sequence: u64) -> bool {
        let n_before = self.sealed.len();
        while let Some(batch) = self.sealed.pop_front_if(|batch| batch.sequence <= sequence) {
            self.n_points -= batch.points.len();
            self.n_lines -= batch.lines.len();
        }
        self.sealed.len() < n_before
    }

    /// Whether something has not been put on the present stream.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.sequence || !self.open.is_empty()
    }

    /// Whether something that was put on the present stream is not acknowledged.
    pub fn has_unacknowledged(&self) -> bool {
        self.sealed.front().is_some_and(|batch| batch.sequence <= self.sent)
    }

    /// Gives everything that is open its place in the sequence.
    fn seal(&mut self) {
        for (job_id, mut open) in mem::take(&mut self.open) {
            while !open.points.is_empty() || !open.lines.is_empty() {
                let n_points = open.points.len().min(BATCH_ITEMS);
                let n_lines = open.lines.len().min((BATCH_ITEMS - n_points).min(lines_that_fit(&open.lines)));
                self.sequence += 1;
                self.sealed.push_back(v1::TelemetryBatch {
                    sequence: self.sequence,
                    job_id: job_id.clone(),
                    points: open.points.drain(..n_points).collect(),
                    lines: open.lines.drain(..n_lines).collect(),
                });
            }
        }
    }

    /// Drops the oldest item of one kind, of the busiest job where none is sealed; false when there is none.
    fn drop_oldest<T>(
        &mut self,
        in_batch: impl Fn(&mut v1::TelemetryBatch) -> &mut Vec<T>,
        in_open: impl Fn(&mut Open) -> &mut VecDeque<T>,
    ) -> bool {
        let sealed = self.sealed.iter_mut().map(in_batch).find(|items| !items.is_empty());
        let dropped = match sealed {
            Some(items) => Some(items.remove(0)),
            None => self
                .open
                .values_mut()
                .map(in_open)
                .max_by_key(|items| items.len())
                .and_then(VecDeque::pop_front),
        };
        self.n_dropped += u64::from(dropped.is_some());
        dropped.is_some()
    }
}

/// How many of the first lines stay within half a report; at least one.
fn lines_that_fit(lines: &VecDeque<v1::LogLine>) -> usize {
    let mut size_bytes = 0;
    let fits = lines.iter().take_while(|line| {
        size_bytes += line.encoded_len();
        size_bytes <= REPORT_BYTES / 2
    });
    fits.count().max(1)
}

/// Milliseconds since the Unix epoch, by the wall clock.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Cuts text to so many bytes, at the border of a character.
pub(crate) fn cut(text: &mut String, max_bytes: usize) {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(step: u64) -> v1::MetricPoint {
        v1::MetricPoint { series: "loss".into(), step, ..Default::default() }
    }

    fn line(message: impl Into<String>) -> v1::LogLine {
        v1::LogLine { message: message.into(), ..Default::default() }
    }

    fn steps(batches: &[v1::TelemetryBatch]) -> Vec<u64> {
        batches.iter().flat_map(|batch| &batch.points).map(|point| point.step).collect()
    }

    #[test]
    fn what_is_sent_once_is_not_sent_again_until_rewound() {
        let mut telemetry = Telemetry::default();
        telemetry.add_points("job-1", [point(1), point(2)]);
        assert!(telemetry.has_unsent());
        assert_eq!(steps(&telemetry.next_batches()), [1, 2]);
        assert!(!telemetry.has_unsent() && telemetry.has_unacknowledged());
        telemetry.add_points("job-1", [point(3)]);
        assert_eq!(steps(&telemetry.next_batches()), [3]);
        telemetry.rewind();
        assert_eq!(steps(&telemetry.next_batches()), [1, 2, 3]);
    }

    #[test]
    fn only_what_is_acknowledged_goes() {
        let mut telemetry = Telemetry::default();
        for step in 1..=3 {
            telemetry.add_points("job-1", [point(step)]);
            telemetry.next_batches();
        }
        assert!(telemetry.acknowledge(2));
        assert!(!telemetry.acknowledge(2));
        telemetry.rewind();
        assert_eq!(steps(&telemetry.next_batches()), [3]);
        assert!(telemetry.acknowledge(u64::MAX));
        telemetry.rewind();
        assert!(!telemetry.has_unsent() && !telemetry.has_unacknowledged());
        telemetry.add_points("job-1", [point(4)]);
        let batches = telemetry.next_batches();
        assert_eq!((batches[0].sequence, steps(&batches)), (4, vec![4]));
    }

    #[test]
    fn batches_belong_to_one_job_and_count_up() {
        let mut telemetry = Telemetry::default();
        telemetry.add_points("job-2", (0..BATCH_ITEMS as u64 + 1).map(point));
        telemetry.add_line("job-1", line("hello"));
        let batches = telemetry.next_batches();
        let heads: Vec<_> = batches.iter().map(|batch| (batch.sequence, batch.job_id.as_str())).collect();
        assert_eq!(heads, [(1, "job-1"), (2, "job-2"), (3, "job-2")]);
    }

    #[test]
    fn the_oldest_lines_go_first_and_are_counted() {
        let mut telemetry = Telemetry::default();
        telemetry.add_line("job-1", line("sealed"));
        telemetry.next_batches();
        for number in 0..MAX_LINES + 1 {
            telemetry.add_line("job-1", line(number.to_string()));
        }
        assert_eq!(telemetry.take_dropped(), 2);
        assert_eq!(telemetry.take_dropped(), 0);
        telemetry.rewind();
        let mut messages = Vec::new();
        while telemetry.has_unsent() {
            let batches = telemetry.next_batches();
            messages.extend(batches.into_iter().flat_map(|batch| batch.lines).map(|line| line.message));
        }
        assert_eq!(messages.len(), MAX_LINES);
        assert_eq!((messages[0].as_str(), messages.last().map(String::as_str)), ("1", Some("20000")));
    }

    #[test]
    fn reports_stay_small_and_long_lines_are_cut() {
        let mut telemetry = Telemetry::default();
        for _ in 0..200 {
            telemetry.add_line("job-1", line("é".repeat(LINE_BYTES)));
        }
        let mut n_lines = 0;
        while telemetry.has_unsent() {
            let batches = telemetry.next_batches();
            assert!(batches.iter().map(Message::encoded_len).sum::<usize>() <= REPORT_BYTES);
            n_lines += batches.iter().map(|batch| batch.lines.len()).sum::<usize>();
        }
        assert_eq!(n_lines, 200);
    }
}
