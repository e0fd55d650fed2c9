//! The journal in a PostgreSQL database, whose leader alone writes.
//!
//! Each write is one statement that holds the leader's epoch while it is carried out, and does nothing where that is over.

use std::time::Duration;

use sqlx::{PgConnection, query, query_as, query_scalar};

use super::{
    Error, Events, Journal, MOST_DROPPED, Sequence, Stored, VERSION, encode, encode_events, rows::Rows,
};
use crate::{
    model::{Change, Piece},
    postgres::{self, Database, Term},
};

/// A journal in a database, for one term of one leader.
#[derive(Debug)]
pub struct Postgres {
    database: Database,
    term: Term,
    /// How long one write may take.
    patience: Duration,
    /// None after a failure: the next call connects anew.
    connection: Option<PgConnection>,
    /// The newest change that is known to be stored.
    newest: Sequence,
    /// True after a write that failed: it may have been carried out after all.
    is_uncertain: bool,
    /// True once a write was refused, since another one leads.
    is_superseded: bool,
}

/// How a write ended that was sent.
enum Written {
    Done,
    /// Another one leads.
    Refused,
}

impl Postgres {
    /// The journal in a database that has its tables.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn open(database: Database, term: Term, patience: Duration) -> Result<Self, Error> {
        let newest = Sequence::default();
        let (connection, is_uncertain, is_superseded) = (None, false, false);
        let mut journal = Self { database, term, patience, connection, newest, is_uncertain, is_superseded };
        let found = journal.database.clone().within(patience, journal.try_newest()).await;
        journal.newest = journal.settle(found)?;
        Ok(journal)
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            closed => Ok(closed.insert(self.database.connect(self.patience).await?)),
        }
    }

    async fn try_newest(&mut self) -> Result<Sequence, sqlx::Error> {
        let newest = "SELECT max(sequence) FROM (SELECT sequence FROM changes UNION ALL SELECT sequence FROM snapshots) AS all_of_them";
        let newest: Option<i64> = query_scalar(newest).fetch_one(self.connection().await?).await?;
        Ok(Sequence(newest.unwrap_or(0)))
    }

    async fn try_append(&mut self, bodies: &[String], events: &Events) -> Result<Written, sqlx::Error> {
        let (epoch, newest) = (self.term.epoch.0, self.newest.0);
        if self.is_uncertain {
            // What was refused must not come back.
            query(
                "WITH fence AS (SELECT epoch FROM leader WHERE epoch = $1 FOR KEY SHARE),
                 untold AS (DELETE FROM events USING fence WHERE number > $2)
                 DELETE FROM changes USING fence WHERE sequence > $2",
            )
            .bind(epoch)
            .bind(newest)
            .execute(self.connection().await?)
            .await?;
        }
        let (numbers, told): (Vec<i64>, Vec<String>) = encode_events(&events.news).into_iter().unzip();
        let forget_through = events.forget_through.and_then(|through| i64::try_from(through).ok());
        self.is_uncertain = true;
        let done = query(
            "WITH fence AS (SELECT epoch FROM leader WHERE epoch = $1 FOR KEY SHARE),
             told AS (INSERT INTO events (number, version, body)
                      SELECT told.number, $3, told.body
                      FROM fence CROSS JOIN unnest($5::bigint[], $6::text[]) AS told (number, body)),
             forgotten AS (DELETE FROM events USING fence WHERE number <= $7),
             noted AS (UPDATE events_forgotten SET through = $7 FROM fence WHERE through < $7)
             INSERT INTO changes (sequence, version, epoch, body)
             SELECT $2 + news.place, $3, fence.epoch, news.body
             FROM fence CROSS JOIN unnest($4::text[]) WITH ORDINALITY AS news (body, place)",
        )
        .bind(epoch)
        .bind(newest)
        .bind(VERSION)
        .bind(bodies)
        .bind(numbers)
        .bind(told)
        .bind(forget_through.unwrap_or(0))
        .execute(self.connection().await?)
        .await?;
        self.is_uncertain = false;
        Ok(written(done.rows_affected()))
    }

    async fn try_store_piece(
        &mut self,
        at: Sequence,
        number: u32,
        piece: &Piece,
    ) -> Result<Written, sqlx::Error> {
        let epoch = self.term.epoch.0;
        let done = query(
            "WITH fence AS (SELECT epoch FROM leader WHERE epoch = $1 FOR KEY SHARE)
             INSERT INTO pieces (sequence, number, body) SELECT $2, $3, $4 FROM fence
             ON CONFLICT (sequence, number) DO UPDATE SET body = excluded.body",
        )
        .bind(epoch)
        .bind(at.0)
        .bind(i64::from(number))
        .bind(encode(piece))
        .execute(self.connection().await?)
        .await?;
        Ok(written(done.rows_affected()))
    }

    async fn try_seal(&mut self, at: Sequence, n_pieces: u32) -> Result<Written, sqlx::Error> {
        let epoch = self.term.epoch.0;
        let done = query(
            "WITH fence AS (SELECT epoch FROM leader WHERE epoch = $1 FOR KEY SHARE)
             INSERT INTO snapshots (sequence, version, n_pieces) SELECT $2, $3, $4 FROM fence
             ON CONFLICT (sequence) DO UPDATE SET version = excluded.version, n_pieces = excluded.n_pieces",
        )
        .bind(epoch)
        .bind(at.0)
        .bind(VERSION)
        .bind(i64::from(n_pieces))
        .execute(self.connection().await?)
        .await?;
        Ok(written(done.rows_affected()))
    }

    async fn try_drop_surplus(&mut self) -> Result<bool, sqlx::Error> {
        let epoch = self.term.epoch.0;
        let (most_changes, most_pieces) = MOST_DROPPED;
        let steps = [
            ("WITH fence AS (SELECT epoch FROM leader WHERE epoch = $1 FOR KEY SHARE)
              DELETE FROM snapshots USING fence WHERE sequence IN
              (SELECT sequence FROM snapshots WHERE sequence < (SELECT max(sequence) FROM snapshots) LIMIT $2)",
             most_changes),
            ("WITH fence AS (SELECT epoch FROM leader WHERE epoch = $1 FOR KEY SHARE)
              DELETE FROM changes USING fence WHERE sequence IN
              (SELECT sequence FROM changes WHERE sequence <= (SELECT max(sequence) FROM snapshots)
               ORDER BY sequence LIMIT $2)",
             most_changes),
            ("WITH fence AS (SELECT epoch FROM leader WHERE epoch = $1 FOR KEY SHARE)
              DELETE FROM pieces USING fence WHERE (sequence, number) IN
              (SELECT sequence, number FROM pieces
               WHERE sequence <> (SELECT coalesce(max(sequence), 0) FROM snapshots) LIMIT $2)",
             most_pieces),
        ];
        let mut n_removed = 0;
        for (statement, most) in steps {
            let done = query(statement).bind(epoch).bind(most).execute(self.connection().await?).await?;
            n_removed += done.rows_affected();
        }
        Ok(n_removed > 0)
    }

    async fn try_load(&mut self) -> Result<Rows, sqlx::Error> {
        let connection = self.connection().await?;
        let sealed = "SELECT sequence, version, n_pieces FROM snapshots ORDER BY sequence DESC LIMIT 1";
        let sealed: Option<(i64, i64, i64)> = query_as(sealed).fetch_optional(&mut *connection).await?;
        let (at, version, n_pieces) = sealed.unwrap_or_default();
        let pieces =
            query_as("SELECT number, body FROM pieces WHERE sequence = $1 AND number < $2 ORDER BY number");
        let pieces = pieces.bind(at).bind(n_pieces).fetch_all(&mut *connection).await?;
        let changes =
            query_as("SELECT sequence, version, body FROM changes WHERE sequence > $1 ORDER BY sequence");
        let changes = changes.bind(at).fetch_all(&mut *connection).await?;
        let events = "SELECT number, version, body FROM events ORDER BY number";
        let events = query_as(events).fetch_all(&mut *connection).await?;
        let forgotten = query_scalar("SELECT through FROM events_forgotten");
        let events_forgotten_through = forgotten.fetch_one(&mut *connection).await?;
        let at = Sequence(at);
        Ok(Rows { at, version, n_pieces, pieces, changes, events, events_forgotten_through })
    }

    /// What came of a call; a connection that failed is not used again.
    fn settle<T>(&mut self, outcome: Result<T, postgres::Error>) -> Result<T, Error> {
        if outcome.is_err() {
            self.connection = None;
        }
        Ok(outcome?)
    }

    fn settle_write(&mut self, outcome: Result<Written, postgres::Error>) -> Result<(), Error> {
        match self.settle(outcome)? {
            Written::Done => Ok(()),
            Written::Refused => {
                self.is_superseded = true;
                Err(Error::Superseded { store: self.database.to_string() })
            }
        }
    }
}

impl Journal for Postgres {
    async fn load(&mut self) -> Result<Stored, Error> {
        // Nobody waits for an answer yet, and there may be much to read.
        let (database, patience) = (self.database.clone(), 10 * self.patience);
        let rows = database.within(patience, async {
            self.connection = Some(database.connect(patience).await?);
            self.try_load().await
        });
        let rows = rows.await;
        self.connection = None;
        self.settle(rows)?.decode(database.to_string()).await
    }

    async fn append(&mut self, changes: &[Change], events: &Events) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let bodies: Vec<_> = changes.iter().map(encode).collect();
        let (database, patience) = (self.database.clone(), self.patience);
        let outcome = database.within(patience, self.try_append(&bodies, events)).await;
        self.settle_write(outcome)?;
        self.newest = self.newest.after(bodies.len());
        Ok(())
    }

    fn newest(&self) -> Sequence {
        self.newest
    }

    async fn store_piece(&mut self, at: Sequence, number: u32, piece: &Piece) -> Result<(), Error> {
        let (database, patience) = (self.database.clone(), self.patience);
        let outcome = database.within(patience, self.try_store_piece(at, number, piece)).await;
        self.settle_write(outcome)
    }

    async fn seal_snapshot(&mut self, at: Sequence, n_pieces: u32) -> Result<(), Error> {
        let (database, patience) = (self.database.clone(), self.patience);
        let outcome = database.within(patience, self.try_seal(at, n_pieces)).await;
        self.settle_write(outcome)
    }

    async fn drop_surplus(&mut self) -> Result<bool, Error> {
        let (database, patience) = (self.database.clone(), self.patience);
        let outcome = database.within(patience, self.try_drop_surplus()).await;
        self.settle(outcome)
    }

    fn may_decide(&self) -> bool {
        !self.is_superseded && self.term.may_decide()
    }
}

fn written(n_rows: u64) -> Written {
    if n_rows == 0 { Written::Refused } else { Written::Done }
}
