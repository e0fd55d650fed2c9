//! `kindred up`: a coordinator and workers on this machine, in the foreground.
//!
//! Starts the programs that stand beside this one, shows what they say, starts again what dies, and stops all of them
//! in order: workers first, so that their farewells are heard.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use kindred_proto::v1;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Global, Up},
    client::Client,
    exit::{Error, Exit},
    nodes, output,
};
use program::Program;

mod program;

/// How long the coordinator may take to write its address, and the workers to report.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(100);
/// The coordinator's own grace is 5 s; the agent asks its ranks for 30 s before it kills them.
const COORDINATOR_GRACE: Duration = Duration::from_secs(10);
const WORKER_GRACE: Duration = Duration::from_secs(40);

/// Runs until a signal, or until a program cannot be kept running.
pub async fn run(global: &Global, args: Up) -> Result<Exit, Error> {
    let plan = Plan::of(args)?;
    let stop = CancellationToken::new();
    let stop_workers = CancellationToken::new();
    let mut workers = JoinSet::new();
    let mut coordinator = JoinSet::new();
    coordinator.spawn(plan.coordinator()?.keep_running(stop.clone()));
    let outcome = tokio::select! {
        error = first_error(&mut coordinator) => Err(error),
        error = run_workers(global, &plan, &mut workers, &stop_workers) => Err(error),
        exit = interrupted() => exit,
    };
    output::note("stopping");
    stop_workers.cancel();
    while workers.join_next().await.is_some() {}
    stop.cancel();
    while coordinator.join_next().await.is_some() {}
    outcome
}

/// Starts the workers once the coordinator listens, and ends with the first that cannot be kept running.
async fn run_workers(
    global: &Global,
    plan: &Plan,
    workers: &mut JoinSet<Result<(), Error>>,
    stop: &CancellationToken,
) -> Error {
    let started = async {
        let address = plan.wait_for_address().await?;
        for number in 1..=plan.args.workers {
            workers.spawn(plan.worker(number, &address)?.keep_running(stop.clone()));
        }
        Ok::<_, Error>(Global { coordinator: address, ..global.clone() })
    };
    let here = match started.await {
        Ok(here) => here,
        Err(error) => return error,
    };
    tokio::select! {
        error = first_error(workers) => return error,
        () = say_when_ready(&here, plan) => {}
    }
    first_error(workers).await
}

/// Says once that everything runs, or that it is late.
async fn say_when_ready(here: &Global, plan: &Plan) {
    let n_workers = plan.args.workers;
    let until_ready = async {
        while !is_ready(here, n_workers).await.unwrap_or(false) {
            time::sleep(POLL_EVERY).await;
        }
    };
    let address = &here.coordinator;
    output::note(&match time::timeout(START_TIMEOUT, until_ready).await {
        Ok(()) => format!("ready: coordinator at {address}, workers: {n_workers}; Ctrl-C stops them"),
        Err(_) => "not every worker has reported yet; see their lines above".to_owned(),
    });
    if let Ok(url) = fs::read_to_string(plan.coordinator_dir.join("web")) {
        output::note(&format!("dashboard: {}", url.trim()));
    }
}

async fn is_ready(here: &Global, n_workers: u32) -> Result<bool, Error> {
    let nodes = nodes::all(&Client::connect(here).await?).await?;
    let n_ready = nodes.iter().filter(|node| node.state() == v1::NodeState::Ready).count();
    Ok(n_ready >= n_workers as usize)
}

/// The first error of a set of kept programs; never ends while there is none.
async fn first_error(programs: &mut JoinSet<Result<(), Error>>) -> Error {
    while let Some(ended) = programs.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(error) => return Error::new(Exit::Other, format!("a supervising task failed: {error}")),
        }
    }
    std::future::pending().await
}

/// Ends with the signal that asks to stop: Ctrl-C, or a plain `kill`, which is how scripts end what they started.
async fn interrupted() -> Result<Exit, Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(Exit::Succeeded),
        _ = interrupt.recv() => Ok(Exit::Interrupted),
    }
}

/// What is run, and where.
struct Plan {
    args: Up,
    data_root: PathBuf,
    coordinator_dir: PathBuf,
}

impl Plan {
    /// Makes the folders, and refuses a state folder that is in use.
    fn of(mut args: Up) -> Result<Self, Error> {
        let coordinator_dir = args.state.join("coordinator");
        let data_root = args.data_root.clone().unwrap_or_else(|| args.state.join("data"));
        for dir in [&coordinator_dir, &data_root] {
            fs::create_dir_all(dir).map_err(|error| {
                Error::new(Exit::Other, format!("cannot make {}: {error}", dir.display()))
            })?;
        }
        refuse_if_in_use(&args.state, &coordinator_dir)?;
        if args.listen.port() == 0 {
            // Settled here, so that a coordinator that is started again listens where its workers look for it.
            args.listen = TcpListener::bind(args.listen)?.local_addr()?;
        }
        Ok(Self { args, data_root, coordinator_dir })
    }

    fn coordinator(&self) -> Result<Program, Error> {
        let mut program = Program::beside_this("coordinator", "kindred-coordinator", COORDINATOR_GRACE)?;
        program.flag("--stop-with-parent");
        program.arg("--listen", self.args.listen.to_string());
        program.arg("--state", &self.coordinator_dir);
        if let Some(web) = &self.args.web {
            program.arg("--web", web);
        }
        if self.args.allow_insecure {
            program.flag("--allow-insecure");
        }
        if let Some(budget) = &self.args.detection_budget {
            program.arg("--detection-budget", budget);
        }
        Ok(program)
    }

    fn worker(&self, number: u32, coordinator: &str) -> Result<Program, Error> {
        let name = format!("worker-{number}");
        let mut program = Program::beside_this(&name, "kindred-worker", WORKER_GRACE)?;
        program.flag("--stop-with-parent");
        program.arg("--coordinator", coordinator);
        program.arg("--state", self.args.state.join(&name));
        program.arg("--jobs-dir", self.args.state.join("jobs"));
        program.arg("--data-root", &self.data_root);
        program.arg("--name", &name);
        if let Some(url) = &self.args.checkpoint_store {
            program.arg("--checkpoint-store", url);
        }
        if let Some(n_devices) = self.args.devices_per_worker {
            program.arg("--devices", n_devices.to_string());
        }
        Ok(program)
    }

    /// The address that the coordinator wrote once it listened.
    async fn wait_for_address(&self) -> Result<String, Error> {
        let file = address_file(&self.coordinator_dir);
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(address) = fs::read_to_string(&file) {
                return Ok(address.trim().to_owned());
            }
            time::sleep(POLL_EVERY).await;
        }
        Err(Error::new(Exit::Other, format!("the coordinator did not write {} in time", file.display())))
    }
}

fn address_file(coordinator_dir: &Path) -> PathBuf {
    coordinator_dir.join("address")
}

/// The coordinator keeps its folder locked, with its pid inside the lock. The address of one that is gone is removed,
/// so that the next to appear is the new one's.
fn refuse_if_in_use(state: &Path, coordinator_dir: &Path) -> Result<(), Error> {
    let Ok(mut lock) = fs::File::open(coordinator_dir.join("lock")) else { return Ok(()) };
    if lock.try_lock().is_ok() {
        let _ = fs::remove_file(address_file(coordinator_dir));
        let _ = fs::remove_file(coordinator_dir.join("web"));
        return Ok(());
    }
    let mut pid = String::new();
    lock.read_to_string(&mut pid)?;
    let (state, pid) = (state.display(), pid.trim());
    let message =
        format!("state folder {state} is in use by process {pid}: stop it, or choose another --state");
    Err(Error::new(Exit::Other, message))
}

#[cfg(test)]
mod tests;
