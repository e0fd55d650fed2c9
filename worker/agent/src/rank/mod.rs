//! One rank's process, from its start to its outcome.
//!
//! [`supervise`] starts the process on its [`Host`] and runs three things side by side until it is gone: the conversation
//! over the rank's socket (`talk`), the lines that it writes (`output`), and the watch over the process itself (`process`).
//! Dropping the future kills the process: no rank outlives its agent.

use std::{fmt::Display, io, path::PathBuf, sync::Arc, time::Duration};

use kindred_ipc::Start;
use kindred_proto::{
    failure::{Failure, Reason},
    ids::{CheckpointId, Generation, Step},
    v1,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    config::EXIT_TIMEOUT,
    host::{Host, Started},
    reconcile::RankKey,
    roots::Outside,
    store::Store,
    telemetry,
};

mod outcome;
mod output;
mod process;
mod talk;

pub use outcome::Outcome;
pub(crate) use process::start as start_process;

/// What it takes to start one rank.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Which rank the process was started as; its events come under this name, whatever generation it has joined since.
    pub key: RankKey,
    /// Name of the node for people.
    pub node_name: String,
    /// The rank's program.
    pub program: PathBuf,
    /// Where its socket is made.
    pub socket: PathBuf,
    /// Threads that it computes with.
    pub n_threads: u32,
    /// How long it may take to stop once it is asked to.
    pub grace: Duration,
    /// It is hung when it says nothing for longer; without it never.
    pub hang_grace: Option<Duration>,
    /// Its first message.
    pub start: Start,
}

/// That a rank is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Whether a checkpoint is wanted first.
    pub checkpoint: bool,
}

/// What a rank does, as the agent hears it.
#[derive(Debug)]
pub enum Event {
    /// Its process exists.
    Spawned {
        /// Process id.
        pid: u32,
    },
    /// It meets the others.
    Meeting,
    /// Its generation has met, and steps begin.
    Training {
        /// The generation.
        generation: Generation,
        /// Steps taken before.
        began_at: Step,
    },
    /// Its peers are gone, as the line says; it waits for the next generation.
    Parted(v1::LogLine),
    /// It is slow in a part of a step, or no longer.
    Stalled(Option<v1::Stall>),
    /// Its newest progress.
    Progress(v1::Progress),
    /// Points of series.
    Points(Vec<v1::MetricPoint>),
    /// A line of log.
    Line(v1::LogLine),
    /// It asks whether a checkpoint's manifest may be put in place.
    AskCommit {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Takes for how long it may; none, and dropped, mean no.
        answer: oneshot::Sender<Option<Duration>>,
    },
    /// A checkpoint's manifest is in place.
    Committed(v1::Checkpoint),
    /// Its process is gone. The last event.
    Ended(Outcome),
}

/// How a supervised rank is reached, and how it reaches others.
#[derive(Clone, Debug)]
pub struct Wires {
    /// Where the process runs.
    pub host: Arc<dyn Host>,
    /// Takes what the rank does.
    pub events: mpsc::Sender<(RankKey, Event)>,
    /// Says once that the rank is to stop.
    pub stop: watch::Receiver<Option<Stop>>,
    /// Says each time that the rank is to join a newer generation.
    pub regroup: watch::Receiver<Option<Box<Start>>>,
    /// Says each time which checkpoints stay.
    pub kept: watch::Receiver<Vec<CheckpointId>>,
    /// Says once why the process is to be killed.
    pub doom: watch::Receiver<Option<String>>,
    /// Passes the rank's store operations on.
    pub store: Store,
}

impl Wires {
    /// Hands an event to the agent; an agent that is gone does not listen, and this future is dropped with it.
    async fn tell(&self, key: &RankKey, event: Event) {
        let _ = self.events.send((key.clone(), event)).await;
    }
}

/// Starts a rank and stays with it until its process is gone, then says [`Event::Ended`].
///
/// Cancel safety: dropping the future kills the process.
pub async fn supervise(launch: Launch, wires: Wires) {
    let outcome = match run(&launch, &wires).await {
        Ok(outcome) => outcome,
        Err(error) => {
            let reason = match error {
                Error::Outside(_) => Reason::SpecInvalid,
                _ => Reason::RankExited,
            };
            Outcome::Failed(launch.failure(&wires, reason, format_args!(": {error}")))
        }
    };
    wires.tell(&launch.key, Event::Ended(outcome)).await;
}

/// Why a rank could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its socket.
    #[error("cannot listen on {}: {source}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its program.
    #[error("cannot start {}: {source}", path.display())]
    Spawn {
        /// The program.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its job names a folder that this node does not let it read.
    #[error(transparent)]
    Outside(#[from] Outside),
    /// The folder of its job.
    #[error("cannot create {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

async fn run(launch: &Launch, wires: &Wires) -> Result<Outcome, Error> {
    let folder = &launch.start.job_dir;
    std::fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.clone(), source })?;
    let Started { pid, process, call, stdout, stderr } = wires.host.start(launch)?;
    wires.tell(&launch.key, Event::Spawned { pid }).await;

    let (talked, exited) = (talk::Over::default(), CancellationToken::new());
    let tail = output::Tail::default();
    let conversation = async {
        let said = within(&exited, talk::talk(launch, wires, call, &talked)).await;
        talked.over.cancel();
        said.flatten()
    };
    let pumps = within(&exited, output::pump(launch, wires, (stdout, stderr), &tail));
    let watch = async {
        let end = process::watch(process, wires.stop.clone(), &talked, launch.grace).await;
        exited.cancel();
        end
    };
    let (said, _, end) = tokio::join!(conversation, pumps, watch);
    if end.was_asked && end.was_killed {
        let grace_ms = launch.grace.as_millis();
        let rank = launch.now(wires).rank;
        let message = format!("rank {rank} did not stop within {grace_ms} ms and was killed");
        let line = v1::LogLine { level: v1::LogLevel::Warn.into(), message, ..Default::default() };
        wires.tell(&launch.key, Event::Line(launch.attribute(wires, line))).await;
    }
    Ok(outcome::outcome(launch, wires, said, &end, &tail))
}

/// Runs a future to its end, but not for long after the process is gone: a grandchild may hold a pipe open.
async fn within<T>(exited: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        exited.cancelled().await;
        tokio::time::sleep(EXIT_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        value = future => Some(value),
        () = late => None,
    }
}

impl Launch {
    /// A failure that this rank met, as `what` says.
    fn failure(&self, wires: &Wires, reason: Reason, what: impl Display) -> v1::Failure {
        let rank = self.now(wires).rank;
        let message = format!("rank {rank} on {}{what}", self.node_name);
        (&Failure::new(reason, message).met_by(self.start.node_id.clone(), rank)).into()
    }

    /// Which rank the process is now.
    fn now(&self, wires: &Wires) -> RankKey {
        let RankKey { job_id, .. } = self.key.clone();
        match &*wires.regroup.borrow() {
            Some(start) => RankKey { job_id, generation: start.generation, rank: start.rank },
            None => self.key.clone(),
        }
    }

    /// Fills in where a line of log comes from, and when it came, where its writer left that out.
    fn attribute(&self, wires: &Wires, mut line: v1::LogLine) -> v1::LogLine {
        if line.time_unix_ms == 0 {
            line.time_unix_ms = telemetry::unix_ms();
        }
        let RankKey { generation, rank, .. } = self.now(wires);
        (line.generation, line.rank) = (generation.0, Some(rank.0));
        line.node_id = self.start.node_id.to_string();
        line
    }
}
