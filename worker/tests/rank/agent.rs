//! The agent, played in this process: it starts real ranks, answers them and keeps what they say.

use std::{
    collections::BTreeMap,
    io::BufReader,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use kindred_ipc::{FromRank, SOCKET_VARIABLE, Start, ToRank};
use kindred_proto::{
    ids::{CheckpointId, Generation},
    v1,
};
use rustix::process::{Pid, Signal};

use crate::store::Store;

/// Silence longer than this is a hang.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that one rank said, and how it ended.
pub struct Heard {
    /// In the order in which it was said.
    pub messages: Vec<FromRank>,
    /// How the process ended.
    pub status: ExitStatus,
}

/// What the agent does about a message.
pub enum Reaction {
    /// Answers as an agent with a valid lease does.
    Usual,
    /// Says nothing.
    KeepSilent,
    /// Says this instead.
    Say(ToRank),
    /// Hangs up.
    HangUp,
    /// Kills the process.
    Kill,
    /// Stops the process without ending it, and kills it once this is true.
    FreezeUntil(Arc<Thaw>),
}

/// When a process that was stopped has been so for long enough.
#[derive(Default)]
pub struct Thaw(Mutex<bool>, Condvar);

impl Thaw {
    /// It has.
    pub fn now(&self) {
        *self.0.lock().expect("no thread panics") = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let is_over = self.0.lock().expect("no thread panics");
        let waited = self.1.wait_timeout_while(is_over, PATIENCE, |is_over| !*is_over);
        drop(waited.expect("no thread panics"));
    }
}

/// A store for each generation.
#[derive(Default)]
struct Stores(Mutex<BTreeMap<Generation, Arc<Store>>>);

impl Stores {
    fn of(&self, generation: Generation) -> Arc<Store> {
        self.0.lock().expect("no thread panics").entry(generation).or_default().clone()
    }
}

/// Runs the ranks to their end. `react` sees each message of each rank first.
pub fn play(starts: Vec<Start>, react: impl Fn(u32, &FromRank) -> Reaction + Sync) -> Vec<Heard> {
    let folder = tempfile::tempdir().expect("a folder for sockets");
    let (stores, react) = (&Stores::default(), &react);
    // Ranks die with the thread that started them, so it is this one, which outlives them.
    let launched = starts.into_iter().enumerate();
    let ranks: Vec<_> = launched.map(|(idx, start)| (launch(folder.path(), idx), start)).collect();
    thread::scope(|scope| {
        let talks: Vec<_> = ranks
            .into_iter()
            .map(|((child, listener), start)| {
                scope.spawn(move || talk(child, &listener, start, stores, react))
            })
            .collect();
        talks.into_iter().map(|talk| talk.join().expect("the played agent does not panic")).collect()
    })
}

/// Runs the ranks to their end with the usual answers.
pub fn play_as_usual(starts: Vec<Start>) -> Vec<Heard> {
    play(starts, |_, _| Reaction::Usual)
}

/// The rank's program without an agent.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kindred-rank"))
}

fn launch(folder: &Path, idx: usize) -> (Child, UnixListener) {
    let socket = folder.join(format!("rank-{idx}"));
    let listener = UnixListener::bind(&socket).expect("a socket in a new folder");
    let child = program()
        .env(SOCKET_VARIABLE, &socket)
        .env("OMP_NUM_THREADS", "1")
        .env("GOMP_SPINCOUNT", "0")
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the program starts");
    (child, listener)
}

fn talk(
    mut child: Child,
    listener: &UnixListener,
    start: Start,
    stores: &Stores,
    react: &(impl Fn(u32, &FromRank) -> Reaction + Sync),
) -> Heard {
    let mut store = stores.of(start.generation);
    let (stream, _) = listener.accept().expect("the rank connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
    let line = Line(Arc::new(Mutex::new(stream)));
    let rank = start.rank.0;
    line.say(&ToRank::Start(Box::new(start)));
    let mut messages = Vec::new();
    loop {
        let message = match kindred_ipc::read::<FromRank>(&mut reader) {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(error) => {
                let _ = child.kill();
                panic!("rank {rank} fell silent after {:?}: {error}", messages.last());
            }
        };
        match react(rank, &message) {
            Reaction::Usual => answer(&message, &line, &store),
            Reaction::KeepSilent => {}
            Reaction::Say(other) => {
                if let ToRank::Regroup(start) = &other {
                    store = stores.of(start.generation);
                }
                line.say(&other);
            }
            Reaction::HangUp => line.hang_up(),
            Reaction::Kill => child.kill().expect("the rank can be killed"),
            Reaction::FreezeUntil(is_over) => {
                freeze(&child);
                is_over.wait();
                child.kill().expect("the rank can be killed");
            }
        }
        messages.push(message);
    }
    Heard { messages, status: child.wait().expect("the rank ends") }
}

fn freeze(child: &Child) {
    let pid = Pid::from_child(child);
    rustix::process::kill_process(pid, Signal::STOP).expect("the rank can be stopped");
}

fn answer(message: &FromRank, line: &Line, store: &Arc<Store>) {
    match message.clone() {
        FromRank::StoreCall { call, operation, .. } => {
            let (line, store) = (line.clone(), store.clone());
            thread::spawn(move || line.say(&ToRank::StoreReply { call, outcome: store.apply(operation) }));
        }
        FromRank::AskCommit { checkpoint } => line.say(&may_commit(checkpoint, PATIENCE)),
        _ => {}
    }
}

/// The permission to commit, for so long.
pub fn may_commit(checkpoint: CheckpointId, lasts: Duration) -> ToRank {
    ToRank::MayCommit { checkpoint, allowed: true, for_ms: lasts.as_millis() as u64 }
}

/// The line to a rank; clones share it.
#[derive(Clone)]
struct Line(Arc<Mutex<UnixStream>>);

impl Line {
    /// Says something; a rank that is gone does not hear it.
    fn say(&self, message: &ToRank) {
        let _ = kindred_ipc::write(&mut *self.0.lock().expect("no thread panics"), message);
    }

    fn hang_up(&self) {
        let stream = self.0.lock().expect("no thread panics");
        stream.shutdown(std::net::Shutdown::Both).expect("the line is up");
    }
}

impl Heard {
    /// The result; panics with what was said when the rank did not finish.
    pub fn result(&self) -> &v1::JobResult {
        assert!(self.status.success(), "{}", self.status);
        match self.messages.last() {
            Some(FromRank::Finished(result)) => &result.0,
            other => panic!("the last word is {other:?}"),
        }
    }

    /// The failure; panics with what was said when there was none.
    pub fn failure(&self) -> &v1::Failure {
        assert!(self.status.success(), "{}", self.status);
        match self.messages.last() {
            Some(FromRank::Failed(failure)) => &failure.0,
            other => panic!("the last word is {other:?}"),
        }
    }

    /// Whether the last word is that it stopped as asked.
    pub fn is_stopped(&self) -> bool {
        self.status.success() && self.messages.last() == Some(&FromRank::Stopped)
    }

    /// Steps of the checkpoints that were committed, in order.
    pub fn committed(&self) -> Vec<u64> {
        let step = |message: &FromRank| match message {
            FromRank::Committed(checkpoint) => Some(checkpoint.0.step),
            _ => None,
        };
        self.messages.iter().filter_map(step).collect()
    }

    /// Each generation that has met, with the steps taken before.
    pub fn beginnings(&self) -> Vec<(u64, u64)> {
        let beginning = |message: &FromRank| match message {
            FromRank::Training { generation, began_at } => Some((generation.0, began_at.0)),
            _ => None,
        };
        self.messages.iter().filter_map(beginning).collect()
    }

    /// Values of a series with their steps.
    pub fn series(&self, name: &str) -> Vec<(u64, f64)> {
        let mut points = Vec::new();
        for message in &self.messages {
            if let FromRank::Points(batch) = message {
                let named = batch.iter().filter(|point| point.0.series == name);
                points.extend(named.map(|point| (point.0.step, point.0.value)));
            }
        }
        points
    }

    /// Lines of log at WARN or above, with their fields.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |message: &FromRank| match message {
            FromRank::Line(line) if line.0.level >= v1::LogLevel::Warn.into() => {
                Some(format!("{} {:?}", line.0.message, line.0.fields))
            }
            _ => None,
        };
        self.messages.iter().filter_map(warning).collect()
    }
}

/// The step of a progress message.
pub fn progress_step(message: &FromRank) -> Option<u64> {
    match message {
        FromRank::Progress(progress) => Some(progress.0.step),
        _ => None,
    }
}
