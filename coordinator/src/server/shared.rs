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
    api::{self, Sockets},
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
    sockets: impl Into<Sockets>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let sockets = Kept::of(sockets.into())?;
    shared.database.prepare().await?;
    let mut candidate = Candidate::new(shared.database.clone(), shared.address.clone(), shared.lease);
    while let Some(term) =
        follow(&mut candidate, &sockets, &shared, config.security.as_deref(), &shutdown).await?
    {
        info!(epoch = term.epoch.0, address = shared.address, "this coordinator leads");
        let since = Instant::now();
        let over = CancellationToken::new();
        // On a task of its own: it must not wait for anything that leading has to do.
        let kept = tokio::spawn(candidate.keep(term.clone(), over.clone()));
        let led = lead(config, &shared, term, &sockets, &shutdown).await;
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
    sockets: &Kept,
    shared: &Shared,
    security: Option<&Security>,
    shutdown: &CancellationToken,
) -> Result<Option<Term>, Error> {
    let (said, leader) = watch::channel(None);
    let over = CancellationToken::new();
    let server = api::follow(sockets.again()?, leader, security, over.clone());
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
    sockets: &Kept,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let (sockets, database) = (sockets.again()?, &shared.database);
    let journal = journal::Postgres::open(database.clone(), term, shared.lease).await?;
    let telemetry =
        Telemetry::connect(&database.to_string(), database.options(), config.log_lines_per_job).await?;
    run_on(config, journal, telemetry, sockets, shutdown.child_token()).await
}

/// The sockets of all lives of this coordinator: as a leader or not, each has servers of its own on the same ones.
struct Kept {
    api: StdListener,
    web: Option<StdListener>,
}

impl Kept {
    fn of(sockets: Sockets) -> Result<Self, Error> {
        Ok(Self { api: sockets.api.into_std()?, web: sockets.web.map(TcpListener::into_std).transpose()? })
    }

    /// Other handles to the same sockets.
    fn again(&self) -> Result<Sockets, Error> {
        let another = |listener: &StdListener| TcpListener::from_std(listener.try_clone()?);
        Ok(Sockets { api: another(&self.api)?, web: self.web.as_ref().map(another).transpose()? })
    }
}
