//! The lease of the leader: a row in the database, renewed at a third of its length, by the database's clock.
//!
//! Who takes it over raises the epoch. Every write of a leader names its epoch and is refused once another one holds, so
//! that a leader that was held up, and does not know yet that it is none any more, changes nothing.

use std::time::Duration;

use sqlx::{PgConnection, query, query_as, query_scalar};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::{Database, Error};

/// Counts the leaders; the newest alone may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// One coordinator that leads, or would.
#[derive(Debug)]
pub struct Candidate {
    database: Database,
    /// Names this process.
    holder: String,
    /// Where others find it while it leads.
    address: String,
    length: Duration,
    /// None after a failure: the next call connects anew.
    connection: Option<PgConnection>,
}

/// How the lease stands.
#[derive(Debug)]
pub enum Standing {
    /// This candidate holds it.
    Leads(Term),
    /// Another one does.
    Follows {
        /// Where that one listens.
        leader: String,
        /// How long its lease still runs, if it is not renewed.
        remaining: Duration,
    },
}

/// A time in which one coordinator leads.
#[derive(Clone, Debug)]
pub struct Term {
    /// What its writes name.
    pub epoch: Epoch,
    /// Until when it may decide, if the lease is not renewed: somewhat before others may take it.
    until: watch::Receiver<Instant>,
    renewed: watch::Sender<Instant>,
}

impl Term {
    /// False once another coordinator may decide.
    pub fn may_decide(&self) -> bool {
        Instant::now() < *self.until.borrow()
    }
}

impl Candidate {
    /// Nothing is asked of the database yet.
    pub fn new(database: Database, address: String, length: Duration) -> Self {
        Self { database, holder: Uuid::new_v4().to_string(), address, length, connection: None }
    }

    /// How often the lease is renewed.
    fn renewal(&self) -> Duration {
        self.length / 3
    }

    /// How long to wait between two looks at another one's lease; less where it ends before.
    pub fn pause(&self, remaining: Duration) -> Duration {
        remaining.clamp(self.length / 100, self.length / 6)
    }

    /// Looks how the lease stands, and takes it where it is free.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn look(&mut self) -> Result<Standing, Error> {
        let asked = Instant::now();
        let (database, length) = (self.database.clone(), self.length);
        let looked = database.within(length, self.try_look()).await;
        if looked.is_err() {
            self.connection = None;
        }
        Ok(match looked? {
            Ok(epoch) => Standing::Leads(self.term(asked, epoch)),
            Err((leader, remaining)) => Standing::Follows { leader, remaining },
        })
    }

    /// Renews the lease until `stop`, or until it is over; then it is given back, and so is the candidate.
    pub async fn keep(mut self, term: Term, stop: CancellationToken) -> Self {
        self.renew_until(&term, stop).await;
        term.renewed.send_replace(Instant::now());
        let (database, patience) = (self.database.clone(), self.renewal());
        // Where it cannot be given back it runs out.
        let _ = database.within(patience, self.try_give_back(term.epoch)).await;
        self
    }

    async fn renew_until(&mut self, term: &Term, stop: CancellationToken) {
        let mut pause = self.renewal();
        while term.may_decide() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
            if stop.is_cancelled() {
                break;
            }
            let asked = Instant::now();
            let (database, patience) = (self.database.clone(), self.renewal());
            match database.within(patience, self.try_renew(term.epoch)).await {
                Ok(true) => {
                    term.renewed.send_replace(self.deadline(asked));
                    pause = self.renewal();
                }
                Ok(false) => {
                    warn!(epoch = term.epoch.0, "another coordinator leads");
                    return;
                }
                Err(error) => {
                    warn!(%error, "the leader's lease is not renewed; trying again while it lasts");
                    self.connection = None;
                    pause = self.length / 20;
                }
            }
        }
    }

    fn term(&self, asked: Instant, epoch: Epoch) -> Term {
        let (renewed, until) = watch::channel(self.deadline(asked));
        Term { epoch, until, renewed }
    }

    /// Counted from before the database was asked, so that it is over here before it is over there.
    fn deadline(&self, asked: Instant) -> Instant {
        asked + self.length - self.length / 10
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            closed => Ok(closed.insert(self.database.connect(self.length).await?)),
        }
    }

    /// The epoch, or whose lease it is and for how long.
    async fn try_look(&mut self) -> Result<Result<Epoch, (String, Duration)>, sqlx::Error> {
        loop {
            let look = "SELECT address, (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint FROM leader";
            let found: Option<(String, i64)> =
                query_as(look).fetch_optional(self.connection().await?).await?;
            if let Some((leader, remaining_ms)) = found
                && remaining_ms > 0
            {
                return Ok(Err((leader, Duration::from_millis(remaining_ms.unsigned_abs()))));
            }
            if let Some(epoch) = self.try_take().await? {
                return Ok(Ok(epoch));
            }
        }
    }

    /// None where another one was faster.
    async fn try_take(&mut self) -> Result<Option<Epoch>, sqlx::Error> {
        let (holder, address) = (self.holder.clone(), self.address.clone());
        let length_ms = self.length.as_millis() as f64;
        let epoch = query_scalar(
            "INSERT INTO leader (epoch, holder, address, expires_at)
             VALUES (1, $1, $2, clock_timestamp() + $3 * interval '1 millisecond')
             ON CONFLICT (is_only) DO UPDATE SET epoch = leader.epoch + 1, holder = excluded.holder,
                 address = excluded.address, expires_at = clock_timestamp() + $3 * interval '1 millisecond'
             WHERE leader.expires_at <= clock_timestamp()
             RETURNING epoch",
        )
        .bind(holder)
        .bind(address)
        .bind(length_ms)
        .fetch_optional(self.connection().await?)
        .await?;
        Ok(epoch.map(Epoch))
    }

    /// False where another one holds it.
    async fn try_renew(&mut self, epoch: Epoch) -> Result<bool, sqlx::Error> {
        let (holder, length_ms) = (self.holder.clone(), self.length.as_millis() as f64);
        let renewed = query(
            "UPDATE leader SET expires_at = clock_timestamp() + $3 * interval '1 millisecond'
             WHERE epoch = $1 AND holder = $2",
        )
        .bind(epoch.0)
        .bind(holder)
        .bind(length_ms)
        .execute(self.connection().await?)
        .await?;
        Ok(renewed.rows_affected() == 1)
    }

    async fn try_give_back(&mut self, epoch: Epoch) -> Result<(), sqlx::Error> {
        let holder = self.holder.clone();
        query("UPDATE leader SET expires_at = clock_timestamp() WHERE epoch = $1 AND holder = $2")
            .bind(epoch.0)
            .bind(holder)
            .execute(self.connection().await?)
            .await?;
        Ok(())
    }
}
