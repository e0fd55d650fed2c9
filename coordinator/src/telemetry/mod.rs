//! Metric points and log lines of jobs, in a SQLite file beside the journal.
//!
//! Not journaled and never decided upon. A point is named by (job, series, step, generation), so that a repeated
//! batch changes nothing. Agents keep what is not acknowledged, so a write that fails loses nothing.

mod lines;
mod points;
mod store;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kindred_proto::failure::{Failure, Reason};
use sqlx::{
    SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

use crate::sqlite::explain;

pub use lines::{LineNumber, Lines, LogQuery};
pub use points::{MetricCursor, MetricPage, MetricQuery};

static MIGRATIONS: Migrator = sqlx::migrate!("src/telemetry/migrations");

/// What can go wrong: the file cannot be read or written, now.
#[derive(Debug, thiserror::Error)]
#[error("telemetry {}: {}", path.display(), explain(source))]
pub struct Error {
    path: PathBuf,
    source: sqlx::Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Reason::JournalUnavailable, error.to_string()).about(error.path.display().to_string())
    }
}

/// Cheap handle to all metric points and log lines.
#[derive(Clone, Debug)]
pub struct Telemetry {
    path: Arc<Path>,
    readers: SqlitePool,
    /// One connection: SQLite has one writer at a time.
    writer: SqlitePool,
    max_lines_per_job: u64,
    /// The number of the newest line of any job: rings whenever lines come.
    newest_line: Arc<watch::Sender<LineNumber>>,
}

impl Telemetry {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn open(path: impl Into<PathBuf>, max_lines_per_job: u64) -> Result<Self, Error> {
        let path = path.into();
        match connect(&path).await {
            Ok((writer, readers)) => Ok(Self {
                path: path.into(),
                readers,
                writer,
                max_lines_per_job: max_lines_per_job.max(1),
                newest_line: Arc::new(watch::Sender::new(LineNumber::default())),
            }),
            Err(source) => Err(Error { path, source }),
        }
    }

    /// Closes the file, for all handles: what is asked or told from now on errs at once.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    fn error(&self, source: sqlx::Error) -> Error {
        Error { path: self.path.to_path_buf(), source }
    }
}

async fn connect(path: &Path) -> Result<(SqlitePool, SqlitePool), sqlx::Error> {
    // Agents send again what was not acknowledged; only a loss of power can cost the last moments.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(5));
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    MIGRATIONS.run(&writer).await?;
    let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await?;
    Ok((writer, readers))
}

/// SQLite's integers are signed; no step or generation comes near the difference.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
