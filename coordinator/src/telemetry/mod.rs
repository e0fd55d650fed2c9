//! Metric points and log lines of jobs, beside the journal: in a SQLite file, or in the same PostgreSQL database.
//!
//! Not journaled and never decided upon. A point is named by (job, series, step, generation), so that a repeated
//! batch changes nothing. Agents keep what is not acknowledged, so a write that fails loses nothing.

/// Does the same on whichever database it is: `$1`, `ON CONFLICT` and `RETURNING` mean the same to both.
macro_rules! on_either {
    ($telemetry:expr, |$pools:ident| $body:expr) => {
        match &$telemetry.database {
            $crate::telemetry::Database::Sqlite($pools) => $body,
            $crate::telemetry::Database::Postgres($pools) => $body,
        }
    };
}

mod curves;
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
    Pool, Postgres, Sqlite,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

use crate::sql::explain;

pub use curves::{CurveQuery, Curves};
pub use lines::{LineNumber, Lines, LogQuery};
pub use points::{MetricCursor, MetricPage, MetricQuery};

static MIGRATIONS: Migrator = sqlx::migrate!("src/telemetry/migrations");

/// Connections that read.
const N_READERS: u32 = 4;

/// What can go wrong: the file or the database cannot be read or written, now.
#[derive(Debug, thiserror::Error)]
#[error("telemetry {store}: {}", explain(source))]
pub struct Error {
    store: String,
    source: sqlx::Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Reason::JournalUnavailable, error.to_string()).about(error.store)
    }
}

/// Cheap handle to all metric points and log lines.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// The file, or the database without its password.
    store: Arc<str>,
    database: Database,
    max_lines_per_job: u64,
    /// The number of the newest line of any job: rings whenever lines come.
    newest_line: Arc<watch::Sender<LineNumber>>,
}

#[derive(Clone, Debug)]
enum Database {
    Sqlite(Pools<Sqlite>),
    Postgres(Pools<Postgres>),
}

#[derive(Debug)]
struct Pools<D: sqlx::Database> {
    readers: Pool<D>,
    /// One connection: so lines get their numbers in the order in which they can be read, and SQLite has one writer.
    writer: Pool<D>,
}

impl<D: sqlx::Database> Clone for Pools<D> {
    fn clone(&self) -> Self {
        Self { readers: self.readers.clone(), writer: self.writer.clone() }
    }
}

impl Telemetry {
    /// Opens or creates a file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn open(path: impl Into<PathBuf>, max_lines_per_job: u64) -> Result<Self, Error> {
        let path = path.into();
        let store = path.display().to_string();
        match connect(&path).await {
            Ok(pools) => Ok(Self::new(store, Database::Sqlite(pools), max_lines_per_job)),
            Err(source) => Err(Error { store, source }),
        }
    }

    /// Uses a database that has its tables; `store` is how errors name it.
    ///
    /// # Errors
    /// When no connection comes about.
    pub async fn connect(
        store: &str,
        options: &PgConnectOptions,
        max_lines_per_job: u64,
    ) -> Result<Self, Error> {
        let pool = |n_connections| {
            let pool =
                PgPoolOptions::new().max_connections(n_connections).acquire_timeout(Duration::from_secs(5));
            pool.connect_with(options.clone())
        };
        match tokio::try_join!(pool(1), pool(N_READERS)) {
            Ok((writer, readers)) => {
                let database = Database::Postgres(Pools { readers, writer });
                Ok(Self::new(store.to_owned(), database, max_lines_per_job))
            }
            Err(source) => Err(Error { store: store.to_owned(), source }),
        }
    }

    fn new(store: String, database: Database, max_lines_per_job: u64) -> Self {
        Self {
            store: store.into(),
            database,
            max_lines_per_job: max_lines_per_job.max(1),
            newest_line: Arc::new(watch::Sender::new(LineNumber::default())),
        }
    }

    /// Closes it, for all handles: what is asked or told from now on errs at once.
    pub async fn close(&self) {
        on_either!(self, |pools| {
            pools.writer.close().await;
            pools.readers.close().await;
        });
    }

    fn error(&self, source: sqlx::Error) -> Error {
        Error { store: self.store.to_string(), source }
    }
}

async fn connect(path: &Path) -> Result<Pools<Sqlite>, sqlx::Error> {
    // Agents send again what was not acknowledged; only a loss of power can cost the last moments.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(5));
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    MIGRATIONS.run(&writer).await?;
    let readers =
        SqlitePoolOptions::new().max_connections(N_READERS).connect_with(options.read_only(true)).await?;
    Ok(Pools { readers, writer })
}

/// Integers of SQL are signed; no step or generation comes near the difference.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
