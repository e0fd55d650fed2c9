//! A PostgreSQL database that several coordinators share: one of them leads, and all that it writes is there for the next.

mod lease;

use std::{fmt, str::FromStr, time::Duration};

use sqlx::{ConnectOptions, Connection, PgConnection, migrate::Migrator, postgres::PgConnectOptions, query};
use tokio::time::timeout;

use crate::sql::explain;

pub use lease::{Candidate, Epoch, Standing, Term};

static MIGRATIONS: Migrator = sqlx::migrate!("src/postgres/migrations");

/// How long a database may take to answer at the start.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one. It may hold a password, so that it is not repeated.
    #[error("store: not of the form postgres://user@host:port/database: {0}")]
    Address(String),
    /// The database cannot be reached, or refuses.
    #[error("database {database}: {}", explain(source))]
    Unavailable {
        /// Which one, without its password.
        database: String,
        /// What it says.
        source: sqlx::Error,
    },
    /// It does not answer.
    #[error("database {database}: no answer within {:?}", patience)]
    Silent {
        /// Which one, without its password.
        database: String,
        /// How long it had.
        patience: Duration,
    },
}

/// Where the database is. What it prints as never holds the password.
#[derive(Clone)]
pub struct Database {
    options: PgConnectOptions,
    name: String,
}

impl Database {
    /// Brings the tables up to date; other coordinators that do the same meanwhile wait.
    ///
    /// # Errors
    /// When the database cannot be reached, or a newer version of this program wrote it.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.within(START_PATIENCE, async {
            let mut connection = self.options.connect().await?;
            MIGRATIONS.run(&mut connection).await?;
            connection.close().await
        })
        .await
    }

    /// How to connect.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// A connection whose statements and transactions end by themselves when they take longer than `patience`, so that nothing
    /// of a coordinator that hangs holds others up.
    pub(crate) async fn connect(&self, patience: Duration) -> Result<PgConnection, sqlx::Error> {
        let millis = patience.as_millis().to_string();
        let options = self.options.clone().options([
            ("statement_timeout", millis.as_str()),
            ("idle_in_transaction_session_timeout", millis.as_str()),
        ]);
        let mut connection = options.connect().await?;
        // A commit that is acknowledged outlasts a loss of power, whatever the database's default.
        query("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
            .execute(&mut connection)
            .await?;
        Ok(connection)
    }

    /// Waits for the database, with a limit.
    pub(crate) async fn within<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        match timeout(patience, work).await {
            Ok(outcome) => {
                outcome.map_err(|source| Error::Unavailable { database: self.name.clone(), source })
            }
            Err(_) => Err(Error::Silent { database: self.name.clone(), patience }),
        }
    }
}

impl FromStr for Database {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(Error::Address("it begins with something else".to_owned()));
        }
        let options: PgConnectOptions =
            url.parse().map_err(|error: sqlx::Error| Error::Address(explain(&error)))?;
        let options = options.application_name("kindred-coordinator").disable_statement_logging();
        let host = match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let (user, port) = (options.get_username(), options.get_port());
        let name = options.get_database().unwrap_or(user);
        Ok(Self { name: format!("postgres://{user}@{host}:{port}/{name}"), options })
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests;
