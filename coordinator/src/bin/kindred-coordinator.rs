//! `kindred-coordinator`: serves the API and decides which node runs which rank.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use kindred_coordinator::{
    config::Config,
    server,
    state_dir::StateDir,
    timing::{Timing, TimingOverrides},
};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Decides which node runs which rank of which job, and serves the API
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
struct Args {
    /// Where to listen; port 0 takes a free one, which the file `address` in the state folder then names
    #[arg(long, default_value = "127.0.0.1:7460", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Folder of the journal, metrics and logs
    #[arg(long, default_value = ".kindred/coordinator", value_name = "DIR")]
    state: PathBuf,
    /// How long a node may be silent before it is lost, such as 10s or 500ms; the limits below follow from it
    #[arg(long, default_value = "10s", value_parser = budget, value_name = "TIME")]
    detection_budget: Duration,
    /// How often agents report at least [default: a fifth of the budget]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    renewal: Option<Duration>,
    /// How long an agent without an answer lets its ranks write checkpoints [default: four fifths of the budget]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    lease: Option<Duration>,
    /// How long a rank whose peers are gone keeps its state for the next generation [default: the budget and a half, and 2s]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    abort_grace: Option<Duration>,
    /// How long the ranks of a generation may take to meet [default: six budgets, 60s at least]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    meeting_timeout: Option<Duration>,
    /// How long ranks wait for one another in a step [default: six budgets, 60s at least]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    collective_timeout: Option<Duration>,
    /// Stop when the process that started this one ends
    #[arg(long, hide = true)]
    stop_with_parent: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("KINDRED_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the coordinator cannot go on");
            ExitCode::FAILURE
        }
    }
}

impl Args {
    fn timing(&self) -> Result<Timing> {
        let overrides = TimingOverrides {
            renewal: self.renewal,
            lease: self.lease,
            abort_grace: self.abort_grace,
            meeting_timeout: self.meeting_timeout,
            collective_timeout: self.collective_timeout,
        };
        Ok(Timing::with(self.detection_budget, &overrides)?)
    }
}

async fn run(args: Args) -> Result<()> {
    let timing = args.timing()?;
    if args.stop_with_parent {
        stop_with_parent()?;
    }
    let shutdown = shutdown_on_signal()?;
    let state = StateDir::lock(&args.state)?;
    let listener = bind(args.listen).await?;
    let address = listener.local_addr()?;
    state.publish(address)?;
    tracing::info!(%address, state = %args.state.display(), "listening");
    let config = Config { timing, ..Config::new(args.state) };
    server::run(&config, listener, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            bail!("{address} is in use by another process: stop it, or choose another --listen address")
        }
        bound => {
            bound.with_context(|| format!("cannot listen on {address}: choose another --listen address"))
        }
    }
}

/// The first signal asks for a graceful stop; the second one ends the process at once.
fn shutdown_on_signal() -> Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_first {
                tracing::info!("stopping");
                token.cancel();
            }
        }
        std::process::exit(130);
    });
    Ok(shutdown)
}

fn stop_with_parent() -> Result<()> {
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot follow the parent's end")?;
    ensure!(getppid() == parent, "the process that started this one is gone");
    Ok(())
}

/// A number with its unit: `500ms`, `10s`, `2m`.
fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().context("give a whole number with its unit, such as 10s")?;
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        unit => bail!("unit {unit:?} is none of ms, s, m"),
    };
    Ok(Duration::from_millis(number.saturating_mul(unit_ms)))
}

fn budget(text: &str) -> Result<Duration> {
    let budget = duration(text)?;
    ensure!((MIN_BUDGET..=MAX_BUDGET).contains(&budget), "must be between 100ms and 10m");
    Ok(budget)
}

/// Reports come five times as often: below this they would be the load.
const MIN_BUDGET: Duration = Duration::from_millis(100);
const MAX_BUDGET: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms").expect("valid"), Duration::from_millis(500));
        assert_eq!(duration("2m").expect("valid"), Duration::from_secs(120));
        for bad in ["10", "s", "10h", "-1s", ""] {
            duration(bad).expect_err(bad);
        }
        for bad in ["0s", "11m"] {
            budget(bad).expect_err(bad);
        }
    }
}
