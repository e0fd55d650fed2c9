//! Audit events: who did what, and what was refused. In a file of this coordinator's own, and in its log.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kindred_proto::{
    failure::{Failure, Reason},
    v1,
};
use prost_types::Timestamp;
use sqlx::{
    SqlitePool,
    migrate::Migrator,
    query, query_as,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

static MIGRATIONS: Migrator = sqlx::migrate!("src/access/migrations");

/// Events that wait to be written; more are counted only, and logged all the same.
const WAITING: usize = 4096;
/// Events of one write.
const BATCH: usize = 512;
/// Events that are kept; older ones are dropped.
const KEPT: i64 = 100_000;

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("audit events {}: {source}", path.display())]
pub struct Error {
    path: PathBuf,
    source: sqlx::Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Reason::JournalUnavailable, error.to_string()).about(error.path.display().to_string())
    }
}

/// One event, before it has a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds since 1970.
    pub time_unix_ms: i64,
    /// Who.
    pub caller: String,
    /// From where.
    pub peer: String,
    /// What.
    pub method: String,
    /// On what.
    pub object: String,
    /// `OK`, or the code of the refusal.
    pub outcome: String,
    /// Why it was refused.
    pub reason: String,
}

enum Message {
    Event(Box<Entry>),
    /// Answered once all before is written.
    Flush(oneshot::Sender<()>),
}

/// Takes events, and gives them back. Cheap to clone; the last one that is dropped ends the writing.
#[derive(Clone, Debug)]
pub struct Audit {
    path: Arc<Path>,
    pool: SqlitePool,
    sender: mpsc::Sender<Message>,
    n_missed: Arc<AtomicU64>,
}

impl Audit {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let pool = connect(path).await.map_err(|source| Error { path: path.to_owned(), source })?;
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(write(pool.clone(), receiver));
        Ok(Self { path: path.into(), pool, sender, n_missed: Arc::default() })
    }

    /// Notes what happened: in the log at once, in the file a little later.
    pub fn note(&self, entry: Entry) {
        let Entry { caller, peer, method, object, outcome, reason, .. } = &entry;
        if outcome == "OK" {
            info!(caller, peer, method, object, "audit: call answered");
        } else {
            warn!(caller, peer, method, object, outcome, error = reason, "audit: call refused");
        }
        if self.sender.try_send(Message::Event(Box::new(entry))).is_err() {
            let n_missed = self.n_missed.fetch_add(1, Ordering::Relaxed) + 1;
            if n_missed.is_power_of_two() {
                warn!(
                    n_missed,
                    "audit events come faster than they can be written; they are in this log only"
                );
            }
        }
    }

    /// Events before a number, newest first; one more than `limit` when there are more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn before(&self, number: Option<i64>, limit: usize) -> Result<Vec<v1::AuditEvent>, Error> {
        let (written, wait) = oneshot::channel();
        if self.sender.send(Message::Flush(written)).await.is_ok() {
            // It errs when the writing has ended: then all is written that ever will be.
            let _ = wait.await;
        }
        type Row = (i64, i64, String, String, String, String, String, String);
        let rows: Result<Vec<Row>, _> = query_as(
            "SELECT number, time_unix_ms, caller, peer, method, object, outcome, reason FROM audit
             WHERE number < ? ORDER BY number DESC LIMIT ?",
        )
        .bind(number.unwrap_or(i64::MAX))
        .bind(i64::try_from(limit + 1).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await;
        let rows = rows.map_err(|source| Error { path: self.path.to_path_buf(), source })?;
        Ok(rows.into_iter().map(event).collect())
    }
}

fn event(row: (i64, i64, String, String, String, String, String, String)) -> v1::AuditEvent {
    let (number, millis, caller, peer, method, object, outcome, reason) = row;
    let nanos = i32::try_from(millis.rem_euclid(1000) * 1_000_000).unwrap_or_default();
    v1::AuditEvent {
        number: u64::try_from(number).unwrap_or_default(),
        time: Some(Timestamp { seconds: millis.div_euclid(1000), nanos }),
        caller,
        peer,
        method,
        object,
        outcome,
        reason,
    }
}

async fn connect(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(5));
    let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await?;
    MIGRATIONS.run(&pool).await?;
    Ok(pool)
}

/// Writes events as they come, many at a time, until nobody is left who could send some.
async fn write(pool: SqlitePool, mut messages: mpsc::Receiver<Message>) {
    let mut batch = vec![];
    while messages.recv_many(&mut batch, BATCH).await > 0 {
        let mut flushed = vec![];
        let mut events = vec![];
        for message in batch.drain(..) {
            match message {
                Message::Event(event) => events.push(event),
                Message::Flush(written) => flushed.push(written),
            }
        }
        if let Err(error) = insert(&pool, &events).await {
            warn!(%error, n_events = events.len(), "audit events cannot be written; they are in this log only");
        }
        for written in flushed {
            // Whoever asked may be gone.
            let _ = written.send(());
        }
    }
    pool.close().await;
}

async fn insert(pool: &SqlitePool, events: &[Box<Entry>]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let mut writing = pool.begin().await?;
    for event in events {
        query(
            "INSERT INTO audit (time_unix_ms, caller, peer, method, object, outcome, reason)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(event.time_unix_ms)
        .bind(&event.caller)
        .bind(&event.peer)
        .bind(&event.method)
        .bind(&event.object)
        .bind(&event.outcome)
        .bind(&event.reason)
        .execute(&mut *writing)
        .await?;
    }
    query("DELETE FROM audit WHERE number <= (SELECT max(number) FROM audit) - ?")
        .bind(KEPT)
        .execute(&mut *writing)
        .await?;
    writing.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(object: &str, outcome: &str) -> Entry {
        let (caller, method) = ("token ci (ab)".to_owned(), "JobService/CancelJob".to_owned());
        let (object, outcome) = (object.to_owned(), outcome.to_owned());
        Entry { time_unix_ms: 1500, caller, method, object, outcome, ..Entry::default() }
    }

    #[tokio::test]
    async fn events_are_read_newest_first_and_outlive_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("audit.sqlite");
        let audit = Audit::open(&file).await.expect("a new file");
        for number in 1..=3 {
            audit.note(entry(&format!("job-{number}"), "OK"));
        }
        let page = audit.before(None, 2).await.expect("readable");
        assert_eq!(
            page.iter().map(|event| event.object.as_str()).collect::<Vec<_>>(),
            ["job-3", "job-2", "job-1"]
        );
        assert_eq!(page[0].time, Some(Timestamp { seconds: 1, nanos: 500_000_000 }));
        drop(audit);
        let audit = Audit::open(&file).await.expect("there already");
        let older = audit.before(Some(3), 10).await.expect("readable");
        assert_eq!(older.iter().map(|event| event.number).collect::<Vec<_>>(), [2, 1]);
    }
}
