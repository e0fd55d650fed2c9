//! `kindred-coordinator`: serves the API and decides which node runs which rank.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use kindred_coordinator::{
    api::Sockets,
    config::Config,
    engine::EventBounds,
    model::SchedulingRules,
    postgres::Database,
    server::{self, Shared},
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

mod access;
mod web;

use access::AccessArgs;
use web::WebArgs;

/// Decides which node runs which rank of which job, and serves the API
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
struct Args {
    /// Where to listen; port 0 takes a free one, which the file `address` in the state folder then names
    #[arg(long, default_value = "127.0.0.1:7460", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Folder of the journal, metrics and logs; with --store, of this coordinator's lock and address only
    #[arg(long, default_value = ".kindred/coordinator", value_name = "DIR")]
    state: PathBuf,
    /// PostgreSQL database for journal, metrics and logs instead, such as postgres://kindred@db/kindred. Of the coordinators
    /// on one database one leads. Give the password in ~/.pgpass, PGPASSWORD or the variable, not on the command line
    #[arg(long, env = "KINDRED_STORE", hide_env_values = true, value_name = "URL")]
    store: Option<String>,
    /// Where clients, agents and the other coordinators reach this one [default: the --listen address]
    #[arg(long, value_name = "HOST:PORT", requires = "store")]
    advertise: Option<String>,
    /// How long the leader of several coordinators may be silent before another one takes over; longer than the database ever
    /// takes for a write
    #[arg(long, default_value = "2s", value_parser = leader_lease, value_name = "TIME")]
    leader_lease: Duration,
    /// How long jobs that are over are kept, with their metrics and logs; their files stay where they are
    #[arg(long, default_value = "90d", value_parser = duration, value_name = "TIME")]
    keep_jobs: Duration,
    /// How long events of jobs and nodes are kept
    #[arg(long, default_value = "30d", value_parser = duration, value_name = "TIME")]
    keep_events: Duration,
    /// How many events are kept at most; they lie in memory too, a third of a kilobyte each
    #[arg(long, default_value_t = 50_000, value_name = "N")]
    max_events: usize,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    access: AccessArgs,
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
    /// Changes from one snapshot of the journal to the next, at least
    #[arg(long, default_value_t = 10_000, hide = true)]
    snapshot_every: usize,
    /// Queues with their quotas, ageing, preemption and quarantine, as YAML; deploy/coordinator/scheduling.yaml explains them
    #[arg(long, env = "KINDRED_SCHEDULING", value_name = "FILE")]
    scheduling: Option<PathBuf>,
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

    /// What it shares with other coordinators; none without a database.
    fn shared(&self, listens_at: SocketAddr) -> Result<Option<Shared>> {
        let Some(store) = &self.store else { return Ok(None) };
        let database: Database = store.parse()?;
        if self.advertise.is_none() && listens_at.ip().is_unspecified() {
            bail!(
                "--listen {listens_at} is no address that others can reach: name one with --advertise HOST:PORT"
            );
        }
        let address = self.advertise.clone().unwrap_or_else(|| listens_at.to_string());
        Ok(Some(Shared { database, address, lease: self.leader_lease }))
    }
}

fn scheduling(file: Option<&Path>) -> Result<SchedulingRules> {
    let Some(file) = file else { return Ok(SchedulingRules::default()) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Config::read_scheduling(&text).with_context(|| format!("{} does not say how to schedule", file.display()))
}

async fn run(args: Args) -> Result<()> {
    let timing = args.timing()?;
    let scheduling = scheduling(args.scheduling.as_deref())?;
    if args.stop_with_parent {
        stop_with_parent()?;
    }
    let shutdown = shutdown_on_signal()?;
    let state = StateDir::lock(&args.state)?;
    args.access.check("--listen", args.listen)?;
    args.web.check(&args.access)?;
    let listener = bind(args.listen).await?;
    let address = listener.local_addr()?;
    let shared = args.shared(address)?;
    let advertised = shared.as_ref().map(|shared| shared.address.clone());
    let security = args.access.security(&args.state, address, advertised)?;
    let web = args.web.bind(address, args.listen).await?;
    if let Some(web) = &web {
        let scheme = if args.access.has_tls() { "https" } else { "http" };
        let url = format!("{scheme}://{}", web.local_addr()?);
        state.publish_web(&url)?;
        tracing::info!(url, "dashboard");
    }
    state.publish(address)?;
    let store = shared.as_ref().map(|shared| shared.database.to_string());
    tracing::info!(%address, state = %args.state.display(), store, "listening");
    let Args { keep_jobs, snapshot_every, .. } = args;
    let events = EventBounds { most: args.max_events, age: args.keep_events };
    let config =
        Config { timing, keep_jobs, events, snapshot_every, scheduling, security, ..Config::new(args.state) };
    let sockets = Sockets { api: listener, web };
    match shared {
        Some(shared) => server::run_shared(&config, shared, sockets, shutdown).await?,
        None => server::run(&config, sockets, shutdown).await?,
    }
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

/// A number with its unit: `500ms`, `10s`, `2m`, `12h`, `90d`.
fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().context("give a whole number with its unit, such as 10s")?;
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        unit => bail!("unit {unit:?} is none of ms, s, m, h, d"),
    };
    Ok(Duration::from_millis(number.saturating_mul(unit_ms)))
}

fn budget(text: &str) -> Result<Duration> {
    let budget = duration(text)?;
    ensure!((MIN_BUDGET..=MAX_BUDGET).contains(&budget), "must be between 100ms and 10m");
    Ok(budget)
}

fn leader_lease(text: &str) -> Result<Duration> {
    let lease = duration(text)?;
    ensure!((MIN_LEASE..=MAX_LEASE).contains(&lease), "must be between 500ms and 1m");
    Ok(lease)
}

/// A database that is a network away answers in some milliseconds, and renewals must get through when one is lost.
const MIN_LEASE: Duration = Duration::from_millis(500);
const MAX_LEASE: Duration = Duration::from_secs(60);

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
        assert_eq!(duration("90d").expect("valid"), Duration::from_secs(90 * 86_400));
        for bad in ["10", "s", "10w", "-1s", ""] {
            duration(bad).expect_err(bad);
        }
        for bad in ["0s", "11m"] {
            budget(bad).expect_err(bad);
        }
    }
}
