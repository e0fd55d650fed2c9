//! The journal in one SQLite file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, QueryBuilder, SqliteConnection,
    migrate::Migrator,
    query, query_as, query_scalar,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous},
};

use super::{
    Error, Events, Journal, MOST_DROPPED, Sequence, Stored, VERSION, encode, encode_events, rows::Rows,
};
use crate::model::{Change, Piece};

static MIGRATIONS: Migrator = sqlx::migrate!("src/journal/migrations");

/// Rows of one statement, of which the connection remembers as many as there are sizes.
const ROWS_PER_STATEMENT: usize = 64;

/// A journal in one SQLite file, which no other process can open meanwhile.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// None after a failure: the next call opens the file anew.
    connection: Option<SqliteConnection>,
    /// The newest change that is known to be stored.
    newest: Sequence,
    /// True when there may be later ones, of a commit that failed.
    is_uncertain: bool,
}

impl Sqlite {
    /// Opens or creates the journal.
    ///
    /// # Errors
    /// When the file cannot be opened, another process holds it, or a newer version of this program wrote it.
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
            Ok((connection, newest)) => {
                Ok(Self { path, options, connection: Some(connection), newest, is_uncertain: false })
            }
            Err(source) => Err(Error::Unavailable { store: path.display().to_string(), source }),
        }
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            closed => Ok(closed.insert(self.options.connect().await?)),
        }
    }

    async fn try_append(&mut self, bodies: &[String], events: &Events) -> Result<(), sqlx::Error> {
        let (newest, is_uncertain) = (self.newest, self.is_uncertain);
        self.is_uncertain = true;
        let mut transaction = self.connection().await?.begin().await?;
        if is_uncertain {
            // A commit that failed may have reached the file after all: it was refused and must not come back.
            query("DELETE FROM changes WHERE sequence > ?").bind(newest.0).execute(&mut *transaction).await?;
            query("DELETE FROM events WHERE number > ?").bind(newest.0).execute(&mut *transaction).await?;
        }
        // Each statement goes to SQLite's thread and back: so many rows share one.
        let numbered: Vec<_> = (1..).zip(bodies).collect();
        for rows in numbered.chunks(ROWS_PER_STATEMENT) {
            let mut insert = QueryBuilder::new("INSERT INTO changes (sequence, version, body) ");
            insert.push_values(rows, |mut row, (number, body)| {
                row.push_bind(newest.after(*number).0).push_bind(VERSION).push_bind(body.as_str());
            });
            insert.build().execute(&mut *transaction).await?;
        }
        let told = encode_events(&events.news);
        for rows in told.chunks(ROWS_PER_STATEMENT) {
            let mut insert = QueryBuilder::new("INSERT INTO events (number, version, body) ");
            insert.push_values(rows, |mut row, (number, body)| {
                row.push_bind(*number).push_bind(VERSION).push_bind(body.as_str());
            });
            insert.build().execute(&mut *transaction).await?;
        }
        if let Some(through) = events.forget_through.and_then(|through| i64::try_from(through).ok()) {
            let forget = query("DELETE FROM events WHERE number <= ?").bind(through);
            forget.execute(&mut *transaction).await?;
            let note = query("UPDATE events_forgotten SET through = ?").bind(through);
            note.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        self.is_uncertain = false;
        Ok(())
    }

    async fn try_store_piece(&mut self, at: Sequence, number: u32, piece: &Piece) -> Result<(), sqlx::Error> {
        query("INSERT OR REPLACE INTO pieces (sequence, number, body) VALUES (?, ?, ?)")
            .bind(at.0)
            .bind(number)
            .bind(encode(piece))
            .execute(self.connection().await?)
            .await?;
        Ok(())
    }

    async fn try_seal(&mut self, at: Sequence, n_pieces: u32) -> Result<(), sqlx::Error> {
        query("INSERT OR REPLACE INTO snapshots (sequence, version, n_pieces) VALUES (?, ?, ?)")
            .bind(at.0)
            .bind(VERSION)
            .bind(n_pieces)
            .execute(self.connection().await?)
            .await?;
        Ok(())
    }

    async fn try_drop_surplus(&mut self) -> Result<bool, sqlx::Error> {
        let mut transaction = self.connection().await?.begin().await?;
        let sealed: Option<i64> =
            query_scalar("SELECT max(sequence) FROM snapshots").fetch_one(&mut *transaction).await?;
        let sealed = sealed.unwrap_or(0);
        let (most_changes, most_pieces) = MOST_DROPPED;
        query("DELETE FROM snapshots WHERE sequence < ?").bind(sealed).execute(&mut *transaction).await?;
        let changes = query(
            "DELETE FROM changes WHERE sequence IN
             (SELECT sequence FROM changes WHERE sequence <= ? ORDER BY sequence LIMIT ?)",
        );
        let changes = changes.bind(sealed).bind(most_changes).execute(&mut *transaction).await?;
        let pieces =
            query("DELETE FROM pieces WHERE rowid IN (SELECT rowid FROM pieces WHERE sequence <> ? LIMIT ?)");
        let pieces = pieces.bind(sealed).bind(most_pieces).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(changes.rows_affected() > 0 || pieces.rows_affected() > 0)
    }

    async fn try_load(&mut self) -> Result<Rows, sqlx::Error> {
        let connection = self.connection().await?;
        let sealed = "SELECT sequence, version, n_pieces FROM snapshots ORDER BY sequence DESC LIMIT 1";
        let sealed: Option<(i64, i64, i64)> = query_as(sealed).fetch_optional(&mut *connection).await?;
        let (at, version, n_pieces) = sealed.unwrap_or_default();
        let pieces =
            query_as("SELECT number, body FROM pieces WHERE sequence = ? AND number < ? ORDER BY number");
        let pieces = pieces.bind(at).bind(n_pieces).fetch_all(&mut *connection).await?;
        let changes =
            query_as("SELECT sequence, version, body FROM changes WHERE sequence > ? ORDER BY sequence");
        let changes = changes.bind(at).fetch_all(&mut *connection).await?;
        let events = "SELECT number, version, body FROM events ORDER BY number";
        let events = query_as(events).fetch_all(&mut *connection).await?;
        let forgotten = query_scalar("SELECT through FROM events_forgotten");
        let events_forgotten_through = forgotten.fetch_one(&mut *connection).await?;
        let at = Sequence(at);
        Ok(Rows { at, version, n_pieces, pieces, changes, events, events_forgotten_through })
    }

    /// What came of a call; a connection that failed is not used again.
    async fn settle<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, Error> {
        if outcome.is_err()
            && let Some(connection) = self.connection.take()
        {
            // It failed already; what closing it says is no news.
            let _ = connection.close().await;
        }
        outcome.map_err(|source| Error::Unavailable { store: self.path.display().to_string(), source })
    }
}

impl Journal for Sqlite {
    async fn load(&mut self) -> Result<Stored, Error> {
        let rows = self.try_load().await;
        self.settle(rows).await?.decode(self.path.display().to_string()).await
    }

    async fn append(&mut self, changes: &[Change], events: &Events) -> Result<(), Error> {
        let bodies: Vec<_> = changes.iter().map(encode).collect();
        let outcome = self.try_append(&bodies, events).await;
        self.settle(outcome).await?;
        self.newest = self.newest.after(bodies.len());
        Ok(())
    }

    fn newest(&self) -> Sequence {
        self.newest
    }

    async fn store_piece(&mut self, at: Sequence, number: u32, piece: &Piece) -> Result<(), Error> {
        let outcome = self.try_store_piece(at, number, piece).await;
        self.settle(outcome).await
    }

    async fn seal_snapshot(&mut self, at: Sequence, n_pieces: u32) -> Result<(), Error> {
        let outcome = self.try_seal(at, n_pieces).await;
        self.settle(outcome).await
    }

    async fn drop_surplus(&mut self) -> Result<bool, Error> {
        let outcome = self.try_drop_surplus().await;
        self.settle(outcome).await
    }
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
async fn prepare(options: &SqliteConnectOptions) -> Result<(SqliteConnection, Sequence), sqlx::Error> {
    let mut connection = options.connect().await?;
    MIGRATIONS.run(&mut connection).await?;
    let newest: Option<i64> = query_scalar(
        "SELECT max(sequence) FROM (SELECT sequence FROM changes UNION ALL SELECT sequence FROM snapshots)",
    )
    .fetch_one(&mut connection)
    .await?;
    Ok((connection, Sequence(newest.unwrap_or(0))))
}
