//! The journal in one SQLite file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    migrate::Migrator,
    query, query_as, query_scalar,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous},
};

use super::{Error, Journal};
use crate::model::Change;

static MIGRATIONS: Migrator = sqlx::migrate!("src/journal/migrations");

/// The version of the encoding of changes that this program writes.
const VERSION: i64 = 1;

/// A journal in one SQLite file, which no other process can open meanwhile.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// None after a failure: the next call opens the file anew.
    connection: Option<SqliteConnection>,
    /// The newest change that is known to be stored.
    newest: i64,
}

impl Sqlite {
    /// Opens or creates the journal.
    ///
    /// # Errors
    /// When the file cannot be opened, or another process holds it.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let options = options(&path);
        Self::open_with(path, options).await
    }

    /// As [`Sqlite::open`], with a file that cannot grow past a number of pages: a disk that is full, as SQLite sees it.
    #[cfg(test)]
    pub(super) async fn open_bounded(path: PathBuf, max_pages: u32) -> Result<Self, Error> {
        let options = options(&path).pragma("max_page_count", max_pages.to_string());
        Self::open_with(path, options).await
    }

    async fn open_with(path: PathBuf, options: SqliteConnectOptions) -> Result<Self, Error> {
        match prepare(&options).await {
            Ok((connection, newest)) => Ok(Self { path, options, connection: Some(connection), newest }),
            Err(source) => Err(Error::Unavailable { path, source }),
        }
    }

    async fn try_append(&mut self, bodies: &[String]) -> Result<(), sqlx::Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.options.connect().await?),
        };
        let mut transaction = connection.begin().await?;
        // A commit that failed may have reached the file after all: it was refused and must not come back.
        query("DELETE FROM changes WHERE sequence > ?").bind(self.newest).execute(&mut *transaction).await?;
        for (sequence, body) in (self.newest + 1..).zip(bodies) {
            query("INSERT INTO changes (sequence, version, body) VALUES (?, ?, ?)")
                .bind(sequence)
                .bind(VERSION)
                .bind(body)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }

    fn decode(&self, (sequence, version, body): (i64, i64, String)) -> Result<Change, Error> {
        let path = self.path.clone();
        if version > VERSION {
            return Err(Error::TooNew { path, sequence, version, known: VERSION });
        }
        serde_json::from_str(&body).map_err(|source| Error::Unreadable { path, sequence, source })
    }

    fn unavailable(&self, source: sqlx::Error) -> Error {
        Error::Unavailable { path: self.path.clone(), source }
    }
}

impl Journal for Sqlite {
    async fn load(&mut self) -> Result<Vec<Change>, Error> {
        let rows = async {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.options.connect().await?,
            };
            let rows = query_as("SELECT sequence, version, body FROM changes ORDER BY sequence")
                .fetch_all(&mut connection)
                .await;
            self.connection = Some(connection);
            rows
        };
        let rows: Vec<(i64, i64, String)> = rows.await.map_err(|source| self.unavailable(source))?;
        rows.into_iter().map(|row| self.decode(row)).collect()
    }

    async fn append(&mut self, changes: &[Change]) -> Result<(), Error> {
        let bodies: Vec<_> = changes.iter().map(encode).collect();
        match self.try_append(&bodies).await {
            Ok(()) => {
                self.newest += i64::try_from(bodies.len()).unwrap_or(i64::MAX);
                Ok(())
            }
            Err(source) => {
                if let Some(connection) = self.connection.take() {
                    // It failed already; what closing it says is no news.
                    let _ = connection.close().await;
                }
                Err(self.unavailable(source))
            }
        }
    }
}

fn encode(change: &Change) -> String {
    serde_json::to_string(change).expect("changes have string keys only and write to memory")
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .locking_mode(SqliteLockingMode::Exclusive)
        .busy_timeout(Duration::from_secs(5))
}

/// Opens the file, brings its tables up to date and finds the newest change.
async fn prepare(options: &SqliteConnectOptions) -> Result<(SqliteConnection, i64), sqlx::Error> {
    let mut connection = options.connect().await?;
    MIGRATIONS.run(&mut connection).await?;
    let newest: Option<i64> =
        query_scalar("SELECT max(sequence) FROM changes").fetch_one(&mut connection).await?;
    Ok((connection, newest.unwrap_or(0)))
}
