//! `kindred-worker`: joins this node to a coordinator and runs the ranks that are placed on it.

use anyhow::Context;
use clap::Parser;
use kindred_agent::args::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// One thread: the kernel ties a rank's death signal to the thread that started it, so that one must live as long as
/// the process does.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("KINDRED_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let config = args.into_config()?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let shutdown = CancellationToken::new();
    let asked = async {
        for n_asked in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if n_asked == 0 {
                tracing::info!("stopping; a second signal stops at once");
                shutdown.cancel();
            }
        }
    };
    tokio::select! {
        ended = kindred_agent::run(config, shutdown.clone()) => ended.map_err(Into::into),
        () = asked => anyhow::bail!("stopped at once by a second signal"),
    }
}
