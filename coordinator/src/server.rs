//! A whole coordinator: journal, telemetry, engine, API and dashboard.

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Sockets},
    config::Config,
    engine,
    journal::{self, Journal},
    postgres,
    telemetry::{self, Telemetry},
};

mod shared;

pub use shared::{Shared, run_shared};

/// Why a coordinator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be opened or replayed.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Metrics and logs cannot be opened.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// The database of several coordinators.
    #[error(transparent)]
    Database(#[from] postgres::Error),
    /// The listener cannot be shared between the lives of a coordinator.
    #[error("listen: {0}")]
    Listener(#[from] std::io::Error),
    /// The services cannot be served.
    #[error(transparent)]
    Api(#[from] api::Error),
}

/// Runs until `shutdown` on files in the state folder: first the API is drained, then the engine ends, so that the last answers
/// are true.
///
/// # Errors
/// When the files cannot be opened or read, or the services not served.
pub async fn run(
    config: &Config,
    sockets: impl Into<Sockets>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let journal = journal::Sqlite::open(config.journal_file()).await?;
    let telemetry = Telemetry::open(config.telemetry_file(), config.log_lines_per_job).await?;
    run_on(config, journal, telemetry, sockets.into(), shutdown).await
}

/// As [`run`], on a journal and telemetry that are open. Ends by itself when the journal's coordinator may not decide any more.
async fn run_on(
    config: &Config,
    journal: impl Journal,
    telemetry: Telemetry,
    sockets: Sockets,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let (handle, engine) = engine::start(config, journal, telemetry.clone()).await?;
    let stop_engine = CancellationToken::new();
    // An engine that ends by itself takes the API with it: nothing can be answered without it.
    let end_all = shutdown.clone().drop_guard();
    let engine = tokio::spawn({
        let stop_engine = stop_engine.clone();
        async move {
            engine.run(stop_engine).await;
            drop(end_all);
        }
    });
    let served = match &config.security {
        Some(security) => api::serve_secured(handle, security.clone(), sockets, shutdown).await,
        None => api::serve(handle, sockets, shutdown).await,
    };
    stop_engine.cancel();
    if let Err(error) = engine.await {
        tracing::error!(%error, "the engine failed");
    }
    // What was cut may still hold it.
    if timeout(api::GRACE, telemetry.close()).await.is_err() {
        tracing::warn!("metrics and logs are still being read at the end");
    }
    Ok(served?)
}
