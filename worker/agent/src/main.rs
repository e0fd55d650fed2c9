//! `kindred-worker`: joins this node to a coordinator and runs the ranks that are placed on it.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use kindred_agent::{
    args::{Args, Command},
    credentials::Secured,
    host::Machine,
    identity::Identity,
    joining, pack,
    roots::Confined,
    views,
};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// One thread: the kernel ties a rank's death signal to the thread that started it, so that one must live as long as
/// the process does.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match &args.command {
        Some(Command::Views(args)) => return end(views::run(args)),
        Some(Command::Pack(args)) => return end(pack::run(args)),
        None => {}
    }
    let filter = EnvFilter::try_from_env("KINDRED_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the agent cannot go on");
            ExitCode::FAILURE
        }
    }
}

/// A command for people: what goes wrong is a line of text, not one of a log.
fn end(result: Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> Result<()> {
    if args.stop_with_parent {
        stop_with_parent()?;
    }
    let shutdown = CancellationToken::new();
    tokio::select! {
        ended = join_and_run(args, shutdown.clone()) => ended,
        asked = two_signals(&shutdown) => asked,
    }
}

/// With TLS where the node has joined, or joins now; without where it never did.
async fn join_and_run(mut args: Args, shutdown: CancellationToken) -> Result<()> {
    let state_dir = args.state_dir()?;
    let node_id = Identity::claim(&state_dir)?.node_id.clone();
    let joined = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        joined = joining::credentials(&state_dir, &node_id, args.join.as_ref()) => joined?,
    };
    let Some(credentials) = joined else {
        let config = args.clone().into_config()?;
        let host = Confined { roots: args.roots(&config)?, host: Machine };
        return Ok(kindred_agent::run_on(Arc::new(host), config, shutdown).await?);
    };
    let coordinator =
        args.coordinator.as_ref().map_or_else(|| credentials.coordinator(), ToString::to_string);
    args.coordinator = Some(coordinator.parse().map_err(anyhow::Error::msg)?);
    let config = args.clone().into_config()?;
    let secured = Secured::joined(Machine, credentials.clone());
    let host = Confined { roots: args.roots(&config)?, host: secured };
    tokio::select! {
        ended = kindred_agent::run_on(Arc::new(host), config, shutdown) => Ok(ended?),
        () = joining::renew_for_ever(credentials, &coordinator) => Ok(()),
    }
}

/// Asks for an orderly end at the first signal, and returns at the second.
async fn two_signals(shutdown: &CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if shutdown.is_cancelled() {
            bail!("stopped at once by a second signal");
        }
        tracing::info!("stopping; a second signal stops at once");
        shutdown.cancel();
    }
}

fn stop_with_parent() -> Result<()> {
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot follow the parent's end")?;
    ensure!(getppid() == parent, "the process that started this one is gone");
    Ok(())
}
