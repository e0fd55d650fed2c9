//! One of several coordinators on one database: it follows until the lease is free, then leads until it loses that.

use std::{
    net::TcpListener as StdListener,
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Error, run_on};
use crate::{
    access::Security,
    api,
    config::Config,
    journal,
    postgres::{Candidate, Database, Standing, Term},
    telemetry::Telemetry,
};

/// What several coordinators share, and how others find this one.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The database.
    pub database: Database,
    /// Where clients and agents reach this coordinator.
    pub address: String,
    /// How long a leader's lease is: one that dies is replaced when it is over.
    pub lease: Duration,
}

/// Runs until `shutdown`, as the leader or as one that says who it is.
///
/// # Errors
/// When the database cannot be used at the start, or the services not be served.
pub async fn run_shared(
    config: &Config,
    shared: Shared,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    shared.database.prepare().await?;
    // Each life of this coordinator, as a leader or not, has a server of its own on the same socket.
    let listener = listener.into_std()?;
    let mut candidate = Candidate::new(shared.database.clone(), shared.address.clone(), shared.lease);
    while let Some(term) =
        follow(&mut candidate, &listener, &shared, config.security.as_deref(), &shutdown).await?
    {
        info!(epoch = term.epoch.0, address = shared.address, "this coordinator leads");
        let since = Instant::now();
        let over = CancellationToken::new();
        // On a task of its own: it must not wait for anything that leading has to do.
        let kept = tokio::spawn(candidate.keep(term.clone(), over.clone()));
        let led = lead(config, &shared, term, &listener, &shutdown).await;
        over.cancel();
        candidate = kept.await.expect("keeping a lease does not panic, and nobody aborts it");
        if shutdown.is_cancelled() {
            return led;
        }
        match led {
            Ok(()) => warn!("this coordinator leads no more"),
            Err(error) => {
                error!(%error, "this coordinator cannot lead");
                // Another one may have better luck.
                sleep(shared.lease.saturating_sub(since.elapsed())).await;
            }
        }
    }
    Ok(())
}

/// Says who leads until nobody does; none at `shutdown`.
async fn follow(
    candidate: &mut Candidate,
    listener: &StdListener,
    shared: &Shared,
    security: Option<&Security>,
    shutdown: &CancellationToken,
) -> Result<Option<Term>, Error> {
    let (said, leader) = watch::channel(None);
    let over = CancellationToken::new();
    let server = api::follow(another(listener)?, leader, security, over.clone());
    tokio::pin!(server);
    let elected = async {
        let term = tokio::select! {
            () = shutdown.cancelled() => None,
            term = wait_for_lease(candidate, &said, shared.lease) => Some(term),
        };
        over.cancel();
        term
    };
    tokio::pin!(elected);
    tokio::select! {
        term = &mut elected => {
            server.await?;
            Ok(term)
        }
        served = &mut server => {
            served?;
            Ok(elected.await)
        }
    }
}

async fn wait_for_lease(
    candidate: &mut Candidate,
    said: &watch::Sender<Option<String>>,
    lease: Duration,
) -> Term {
    let mut is_well = true;
    loop {
        let pause = match candidate.look().await {
            Ok(Standing::Leads(term)) => return term,
            Ok(Standing::Follows { leader, remaining }) => {
                let is_news = said.borrow().as_ref() != Some(&leader);
                if is_news {
                    info!(%leader, "another coordinator leads");
                    said.send_replace(Some(leader));
                }
                is_well = true;
                candidate.pause(remaining)
            }
            Err(error) => {
                if std::mem::take(&mut is_well) {
                    warn!(%error, "cannot find out who leads; trying again");
                }
                said.send_replace(None);
                lease / 6
            }
        };
        sleep(pause).await;
    }
}

/// Leads until the lease is lost, or `shutdown`.
async fn lead(
    config: &Config,
    shared: &Shared,
    term: Term,
    listener: &StdListener,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let (listener, database) = (another(listener)?, &shared.database);
    let journal = journal::Postgres::open(database.clone(), term, shared.lease).await?;
    let telemetry =
        Telemetry::connect(&database.to_string(), database.options(), config.log_lines_per_job).await?;
    run_on(config, journal, telemetry, listener, shutdown.child_token()).await
}

/// Another handle to the same socket.
fn another(listener: &StdListener) -> Result<TcpListener, Error> {
    Ok(TcpListener::from_std(listener.try_clone()?)?)
}
