//! Reading log lines.

use kindred_proto::{ids::JobId, v1};
use prost::Message;
use sqlx::{query_as, query_scalar};
use tokio::sync::watch;

use super::{Error, Telemetry, from_sql, to_sql};

/// Most lines that one read gives.
const MAX_LINES: u64 = 1000;

/// A line's place in the order in which lines came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineNumber(pub i64);

impl LineNumber {
    /// As clients name it; 0 is none.
    pub fn from_wire(number: u64) -> Option<Self> {
        (number > 0).then(|| Self(to_sql(number)))
    }

    /// As clients name it.
    pub fn to_wire(self) -> u64 {
        from_sql(self.0)
    }
}

/// Which lines to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Begin with the last so many lines; none for all that are kept.
    pub tail: Option<u64>,
    /// Only lines after this one, which were read before.
    pub after: Option<LineNumber>,
    /// Only lines of this level or above.
    pub min_level: v1::LogLevel,
    /// Stay until the job ends.
    pub follow: bool,
}

/// Some lines of a job, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// The lines.
    pub lines: Vec<v1::LogLine>,
    /// Read on after this one.
    pub last: LineNumber,
}

impl Telemetry {
    /// Reads a job's lines after a place, at most a thousand.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn lines_after(
        &self,
        job_id: &JobId,
        after: LineNumber,
        min_level: v1::LogLevel,
    ) -> Result<Lines, Error> {
        let rows: Result<Vec<(i64, Vec<u8>)>, _> = on_either!(self, |pools| query_as(
            "SELECT number, body FROM lines WHERE job_id = $1 AND number > $2 AND level >= $3
             ORDER BY number LIMIT $4",
        )
        .bind(job_id.as_str())
        .bind(after.0)
        .bind(i32::from(min_level))
        .bind(to_sql(MAX_LINES))
        .fetch_all(&pools.readers)
        .await);
        let rows = rows.map_err(|source| self.error(source))?;
        let last = rows.last().map_or(after, |(number, _)| LineNumber(*number));
        let decode = |(_, body): &(i64, Vec<u8>)| v1::LogLine::decode(body.as_slice());
        let lines = rows.iter().map(decode).collect::<Result<_, _>>();
        let lines = lines.map_err(|error| self.error(sqlx::Error::Decode(error.into())))?;
        Ok(Lines { lines, last })
    }

    /// The place after which the last `tail` lines of a job stand.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn tail(
        &self,
        job_id: &JobId,
        min_level: v1::LogLevel,
        tail: u64,
    ) -> Result<LineNumber, Error> {
        let number = on_either!(self, |pools| {
            query_scalar(
            "SELECT number FROM lines WHERE job_id = $1 AND level >= $2 ORDER BY number DESC LIMIT 1 OFFSET $3",
        )
        .bind(job_id.as_str())
        .bind(i32::from(min_level))
        .bind(to_sql(tail))
        .fetch_optional(&pools.readers)
        .await
        });
        Ok(LineNumber(number.map_err(|source| self.error(source))?.unwrap_or_default()))
    }

    /// How many lines of a job were dropped to keep their number bounded.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn n_dropped(&self, job_id: &JobId) -> Result<u64, Error> {
        let dropped: Result<Option<i64>, _> =
            on_either!(self, |pools| query_scalar("SELECT n_dropped FROM line_counts WHERE job_id = $1")
                .bind(job_id.as_str())
                .fetch_optional(&pools.readers)
                .await);
        Ok(dropped.map_err(|source| self.error(source))?.map_or(0, from_sql))
    }

    /// Rings whenever lines of any job come.
    pub fn newest_line(&self) -> watch::Receiver<LineNumber> {
        self.newest_line.subscribe()
    }
}
