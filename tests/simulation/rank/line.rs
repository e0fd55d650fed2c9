//! A simulated rank's line to its agent, with the messages and the patience of the real one (`worker/src/train/link.rs`).

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use kindred_ipc::{FromRank, MAX_FRAME_BYTES, Start, StoreFault, StoreOperation, StoreValue, ToRank};
use kindred_proto::ids::{CheckpointId, Generation};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, watch},
    time::{Instant, timeout, timeout_at},
};

/// How long an answer of the store may take beyond the wait that was asked for.
const REPLY_PATIENCE: Duration = Duration::from_secs(15);

/// How long a rank waits for an answer that it asks for again.
const ASK_AGAIN_PATIENCE: Duration = Duration::from_secs(1);

/// A healthy rank is not silent for longer.
const ALIVE_INTERVAL: Duration = Duration::from_millis(500);

/// What the agent said and nobody has taken yet.
#[derive(Default)]
struct Incoming {
    start: Option<Start>,
    replies: BTreeMap<u64, Result<StoreValue, StoreFault>>,
    /// The answers, and until when they hold.
    commits: BTreeMap<CheckpointId, (bool, Instant)>,
    stop: Option<bool>,
    regroup: Option<Start>,
    n_calls: u64,
}

/// The line.
#[derive(Clone)]
pub struct Line {
    outgoing: mpsc::Sender<FromRank>,
    incoming: Arc<Mutex<Incoming>>,
    bell: Arc<watch::Sender<()>>,
}

impl Line {
    /// A line, and what it has to write.
    pub fn new() -> (Self, mpsc::Receiver<FromRank>) {
        let (outgoing, queue) = mpsc::channel(1024);
        (Self { outgoing, incoming: Arc::default(), bell: Arc::new(watch::Sender::new(())) }, queue)
    }

    pub async fn say(&self, message: FromRank) {
        // Without an agent the reader ends this process.
        let _ = self.outgoing.send(message).await;
    }

    /// Whether the agent wants this rank to stop, and with a checkpoint.
    pub fn stop(&self) -> Option<bool> {
        self.incoming().stop
    }

    pub async fn start(&self) -> Start {
        self.wait(None, |incoming| incoming.start.take()).await.expect("it waits for ever")
    }

    /// The agent's answer about a commit, if it is there; one that does not hold any more is asked for again.
    pub async fn take_commit(&self, id: &CheckpointId) -> Option<bool> {
        if !self.incoming().commits.contains_key(id) {
            return None;
        }
        self.wait_commit(id, Some(Instant::now() + ASK_AGAIN_PATIENCE)).await
    }

    /// Waits for that answer; without a deadline until this rank is to stop.
    pub async fn wait_commit(&self, id: &CheckpointId, deadline: Option<Instant>) -> Option<bool> {
        let take = |incoming: &mut Incoming| match incoming.commits.remove(id) {
            Some((is_allowed, until)) if !is_allowed || Instant::now() < until => Some(Some(is_allowed)),
            Some(_) => {
                let _ = self.outgoing.try_send(FromRank::AskCommit { checkpoint: id.clone() });
                None
            }
            None => (deadline.is_none() && incoming.stop.is_some()).then_some(None),
        };
        self.wait(deadline, take).await.flatten()
    }

    /// Whether the agent has said to meet a newer generation.
    pub fn is_superseded(&self) -> bool {
        self.incoming().regroup.is_some()
    }

    /// Waits for the order to meet a newer generation, unless this rank is to stop.
    pub async fn wait_regroup(&self, deadline: Instant) -> Option<Start> {
        let take = |incoming: &mut Incoming| match incoming.regroup.take() {
            Some(start) => Some(Some(start)),
            None => incoming.stop.is_some().then_some(None),
        };
        self.wait(Some(deadline), take).await.flatten()
    }

    /// One operation of the store.
    pub async fn call(
        &self,
        generation: Generation,
        operation: StoreOperation,
        patience: Duration,
    ) -> Result<StoreValue, StoreFault> {
        let call = {
            let mut incoming = self.incoming();
            incoming.n_calls += 1;
            incoming.n_calls
        };
        self.say(FromRank::StoreCall { call, generation, operation }).await;
        let deadline = Instant::now() + patience + REPLY_PATIENCE;
        let take = |incoming: &mut Incoming| match incoming.replies.remove(&call) {
            Some(reply) => Some(reply),
            None if incoming.stop.is_some() => Some(Err(StoreFault::Superseded("asked to stop".into()))),
            None if incoming.regroup.is_some() => {
                Some(Err(StoreFault::Superseded("newer generation".into())))
            }
            None => None,
        };
        self.wait(Some(deadline), take).await.unwrap_or(Err(StoreFault::Timeout("the answer".into())))
    }

    /// Reads until the agent is gone.
    pub async fn read(&self, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
        loop {
            let length = from.read_u32().await? as usize;
            assert!(length <= MAX_FRAME_BYTES, "the agent keeps to its protocol");
            let mut body = vec![0; length];
            from.read_exact(&mut body).await?;
            self.incoming().take_in(kindred_ipc::decode(&body).map_err(io::Error::other)?);
            self.bell.send_replace(());
        }
    }

    async fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut take: impl FnMut(&mut Incoming) -> Option<T>,
    ) -> Option<T> {
        let mut bell = self.bell.subscribe();
        loop {
            bell.mark_unchanged();
            if let Some(taken) = take(&mut self.incoming()) {
                return Some(taken);
            }
            match deadline {
                Some(deadline) => timeout_at(deadline, bell.changed()).await.ok()?.ok()?,
                None => bell.changed().await.ok()?,
            }
        }
    }

    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().expect("nothing panics with it")
    }
}

/// Writes what is said, up to the last word, and a sign of life when there was nothing for a while.
pub async fn write(mut queue: mpsc::Receiver<FromRank>, mut to: impl AsyncWrite + Unpin) {
    let mut has_begun = false;
    loop {
        let message = match has_begun {
            true => timeout(ALIVE_INTERVAL, queue.recv()).await.unwrap_or(Some(FromRank::Alive)),
            false => queue.recv().await,
        };
        let Some(message) = message else { return };
        has_begun = true;
        let is_last = matches!(message, FromRank::Finished(_) | FromRank::Stopped | FromRank::Failed(_));
        let mut frame = vec![];
        kindred_ipc::write(&mut frame, &message).expect("messages are short");
        if to.write_all(&frame).await.is_err() || is_last {
            return;
        }
    }
}

impl Incoming {
    fn take_in(&mut self, message: ToRank) {
        match message {
            ToRank::Start(start) => self.start = Some(*start),
            ToRank::Regroup(start) => self.regroup = Some(*start),
            ToRank::Stop { checkpoint } => self.stop = Some(checkpoint),
            ToRank::MayCommit { checkpoint, allowed, for_ms } => {
                let until = Instant::now() + Duration::from_millis(for_ms);
                self.commits.insert(checkpoint, (allowed, until));
            }
            // What stays is the coordinator's affair, and disks here are large.
            ToRank::Keep { .. } => {}
            ToRank::StoreReply { call, outcome } => drop(self.replies.insert(call, outcome)),
        }
    }
}
