//! This rank's line to its agent: one socket, one thread that reads it and one that writes it.
//!
//! Whoever wants to say something puts it into a bounded queue. When the agent is gone the reader calls the
//! function that [`Link::open`] was given, which ends the process: no rank outlives its agent (invariant W1).

use std::{
    collections::HashMap,
    io::{self, BufReader},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kindred_ipc::{FromRank, Start, StoreFault, StoreOperation, StoreValue, ToRank};
use kindred_proto::ids::{CheckpointId, Generation};

use super::guard::{Guard, Order};
use crate::collective::Aborter;

/// Messages that may wait for the socket; more make the sender wait.
const QUEUE_LEN: usize = 1024;

/// How long one answer about a generation may take: the agent itself tries for some seconds.
const LIVENESS_PATIENCE: Duration = Duration::from_secs(15);

/// The line to the agent; clones share it.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    outgoing: SyncSender<Outgoing>,
    writer: Mutex<Option<JoinHandle<()>>>,
    incoming: Mutex<Incoming>,
    arrived: Condvar,
    listener: Mutex<Option<Listener>>,
    guard: Guard,
    next_call: AtomicU64,
    is_ending: AtomicBool,
}

enum Outgoing {
    Message(Box<FromRank>),
    End,
}

/// What the agent said and nobody has taken yet.
#[derive(Default)]
struct Incoming {
    /// `None` until the reply is there; calls that nobody waits for are not in it.
    calls: HashMap<u64, Option<Result<StoreValue, StoreFault>>>,
    stop: Option<Stop>,
    regroup: Option<Start>,
}

/// The agent's answer about a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    is_allowed: bool,
    until: Instant,
}

impl Answer {
    /// A permission for so long from now, or a refusal.
    pub fn new(is_allowed: bool, left: Duration) -> Self {
        Self { is_allowed, until: Instant::now() + left }
    }

    /// What it says now: a permission that is over says nothing, since a newer generation may have begun.
    pub fn now(self) -> Option<bool> {
        (!self.is_allowed || Instant::now() < self.until).then_some(self.is_allowed)
    }

    /// For how long it will say that.
    pub fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// The agent's wish that this rank stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Whether a checkpoint is wanted first.
    pub checkpoint: bool,
}

/// What [`Link::listen`] hears at once, on the thread that reads the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The agent's answer to [`FromRank::AskCommit`].
    MayCommit {
        /// The checkpoint that was asked about.
        checkpoint: CheckpointId,
        /// Whether it may be put in place.
        answer: Answer,
    },
    /// The job's checkpoints that stay.
    Keep(Vec<CheckpointId>),
    /// The agent wishes that this rank stops.
    Stop,
}

type Listener = Box<dyn Fn(Word) + Send>;

impl Link {
    /// Connects to the agent's socket, says hello and waits for what to do. `on_gone` is called once when the agent
    /// hangs up before [`Link::end`].
    ///
    /// # Errors
    /// When nobody listens there, or the answer is not a start.
    pub fn open(
        socket: &Path,
        on_gone: impl FnOnce() + Send + 'static,
    ) -> Result<(Self, Start), kindred_ipc::Error> {
        let mut stream = UnixStream::connect(socket)?;
        let hello = FromRank::Hello { version: env!("CARGO_PKG_VERSION").into(), pid: std::process::id() };
        kindred_ipc::write(&mut stream, &hello)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let Some(ToRank::Start(start)) = kindred_ipc::read(&mut reader)? else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the agent did not say what to do").into());
        };
        let (outgoing, queue) = sync_channel(QUEUE_LEN);
        let interval = Some(start.alive_interval_ms).filter(|it| *it > 0).map(Duration::from_millis);
        let write = move || write_all(stream, &queue, interval);
        let writer = thread::Builder::new().name("link-writer".into()).spawn(write)?;
        let link = Self(Arc::new(Shared {
            outgoing,
            writer: Mutex::new(Some(writer)),
            incoming: Mutex::default(),
            arrived: Condvar::new(),
            listener: Mutex::default(),
            guard: Guard::default(),
            next_call: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        }));
        let shared = link.0.clone();
        thread::Builder::new().name("link-reader".into()).spawn(move || {
            shared.read_all(reader);
            if !shared.is_ending.load(Ordering::SeqCst) {
                on_gone();
            }
        })?;
        Ok((link, *start))
    }

    /// Says something, waiting while the queue is full.
    pub fn say(&self, message: FromRank) {
        // The queue's other end is gone only when the agent is, and then the reader ends this process.
        let _ = self.0.outgoing.send(Outgoing::Message(Box::new(message)));
    }

    /// Says something if there is room in the queue; false if there is none.
    pub fn try_say(&self, message: FromRank) -> bool {
        self.0.outgoing.try_send(Outgoing::Message(Box::new(message))).is_ok()
    }

    /// Says the last thing and returns once the socket took everything.
    pub fn end(&self, last: FromRank) {
        self.0.is_ending.store(true, Ordering::SeqCst);
        self.say(last);
        let _ = self.0.outgoing.send(Outgoing::End);
        if let Some(writer) = self.0.writer.lock().ok().and_then(|mut writer| writer.take()) {
            let _ = writer.join();
        }
    }

    /// The agent's wish that this rank stops, if it has one.
    pub fn stop(&self) -> Option<Stop> {
        self.0.incoming().stop
    }

    /// Whether the agent has said to meet a newer generation.
    pub fn is_superseded(&self) -> bool {
        self.0.incoming().regroup.is_some()
    }

    /// Takes note of the group that this rank is in: an order that says that one of its ranks is gone aborts it.
    pub fn watch(&self, start: &Start, group: Aborter) {
        self.0.guard.watch(start, group);
    }

    /// Hands the agent's words to `listener` from now on. It must not wait for long: nothing else is read meanwhile.
    pub fn listen(&self, listener: impl Fn(Word) + Send + 'static) {
        let mut heard_by = self.0.listener.lock().expect("nothing panics while it holds this lock");
        if self.stop().is_some() {
            listener(Word::Stop);
        }
        *heard_by = Some(Box::new(listener));
    }

    /// Waits for the order to meet a newer generation: until `deadline`, and no longer once the agent wants this rank to
    /// stop.
    pub fn wait_regroup(&self, deadline: Instant) -> Option<Start> {
        self.0.wait(Some(deadline), |incoming| match incoming.regroup.take() {
            Some(start) => Some(Some(start)),
            None => incoming.stop.is_some().then_some(None),
        })?
    }

    /// Does one operation of a generation's store and waits for its outcome: at most `patience`, and no longer once the agent wants
    /// this rank to stop.
    ///
    /// # Errors
    /// What the store answered, a time-out, or the wish to stop.
    pub fn call(
        &self,
        generation: Generation,
        operation: StoreOperation,
        patience: Duration,
    ) -> Result<StoreValue, StoreFault> {
        let call = self.0.next_call.fetch_add(1, Ordering::Relaxed);
        self.0.incoming().calls.insert(call, None);
        let name = format!("the answer to {operation:?}");
        self.say(FromRank::StoreCall { call, generation, operation });
        let deadline = Instant::now() + patience;
        let outcome = self.0.wait(Some(deadline), |incoming| match incoming.calls.get_mut(&call)?.take() {
            None if incoming.stop.is_some() => {
                Some(Err(StoreFault::Superseded("this rank was asked to stop".into())))
            }
            None if incoming.regroup.is_some() => {
                Some(Err(StoreFault::Superseded("a newer generation meets".into())))
            }
            reply => reply,
        });
        self.0.incoming().calls.remove(&call);
        outcome.unwrap_or(Err(StoreFault::Timeout(name)))
    }

    /// Whether a generation is live, as the coordinator says: asked again while it is away, until the agent wants this rank to
    /// stop or to meet a newer one.
    pub fn is_live(&self, generation: Generation) -> bool {
        loop {
            match self.call(generation, StoreOperation::CountKeys, LIVENESS_PATIENCE) {
                Ok(_) => return true,
                Err(StoreFault::Superseded(_)) => return false,
                Err(fault) => tracing::debug!(error = %fault, "nobody says whether the generation is live"),
            }
        }
    }
}

impl Shared {
    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().expect("nothing panics while it holds this lock")
    }

    /// Waits until `take` gives something; `None` at the deadline.
    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut take: impl FnMut(&mut Incoming) -> Option<T>,
    ) -> Option<T> {
        let mut incoming = self.incoming();
        loop {
            if let Some(taken) = take(&mut incoming) {
                return Some(taken);
            }
            let left =
                deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            let waited = self.arrived.wait_timeout(incoming, left);
            incoming = waited.expect("nothing panics while it holds this lock").0;
        }
    }

    fn read_all(&self, mut reader: BufReader<UnixStream>) {
        while let Ok(Some(message)) = kindred_ipc::read(&mut reader) {
            let word = word_of(&message);
            let order = Order::in_message(&message);
            self.incoming().take_in(message);
            self.arrived.notify_all();
            // After it is known: whoever the abort wakes looks for the order.
            if let Some(order) = order {
                self.guard.ordered(order);
            }
            let heard_by = self.listener.lock().expect("nothing panics while it holds this lock");
            if let (Some(word), Some(listener)) = (word, &*heard_by) {
                listener(word);
            }
        }
    }
}

impl Incoming {
    fn take_in(&mut self, message: ToRank) {
        match message {
            ToRank::Start(_) => tracing::warn!("a second start is ignored"),
            ToRank::Regroup(start) => self.regroup = Some(*start),
            ToRank::Stop { checkpoint } => self.stop = Some(Stop { checkpoint }),
            // Whoever writes checkpoints listens.
            ToRank::MayCommit { .. } | ToRank::Keep { .. } => {}
            ToRank::StoreReply { call, outcome } => {
                if let Some(reply) = self.calls.get_mut(&call) {
                    *reply = Some(outcome);
                }
            }
        }
    }
}

/// Writes what is in the queue until its end, and a sign of life when there was nothing for so long.
fn write_all(mut stream: UnixStream, queue: &Receiver<Outgoing>, alive_interval: Option<Duration>) {
    loop {
        let message = match queue.recv_timeout(alive_interval.unwrap_or(Duration::MAX)) {
            Ok(Outgoing::Message(message)) => *message,
            Err(RecvTimeoutError::Timeout) => FromRank::Alive,
            Ok(Outgoing::End) | Err(RecvTimeoutError::Disconnected) => return,
        };
        if kindred_ipc::write(&mut stream, &message).is_err() {
            return;
        }
    }
}

/// What a listener hears of a message.
fn word_of(message: &ToRank) -> Option<Word> {
    match message {
        ToRank::MayCommit { checkpoint, allowed, for_ms } => {
            let answer = Answer::new(*allowed, Duration::from_millis(*for_ms));
            Some(Word::MayCommit { checkpoint: checkpoint.clone(), answer })
        }
        ToRank::Keep { checkpoints } => Some(Word::Keep(checkpoints.clone())),
        ToRank::Stop { .. } => Some(Word::Stop),
        _ => None,
    }
}
