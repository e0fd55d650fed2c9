//! What handles ask of the engine.

use std::sync::Arc;

use kindred_proto::{
    failure::Failure,
    ids::{JobId, NodeId},
    v1,
};
use tokio::sync::{oneshot, watch};

use super::{
    agents::{Orders, SessionId},
    intake::Reported,
};
use crate::model::{Event, Model, Timestamp};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// Something to do in the next turn.
pub(super) enum Command {
    /// A user's wish; answered once it is stored.
    Wish { event: Event, answer: Answer, caller: Arc<str> },
    /// A question; answered from what is stored.
    Ask(Box<dyn Question>),
    /// The job as it is, and as it will be.
    Watch { job_id: JobId, reply: Reply<watch::Receiver<v1::Job>> },
    /// A stream of an agent begins with a report.
    Connect { report: Box<Reported>, reply: Reply<Connected> },
    /// A stream of an agent goes on.
    Report { session: SessionId, report: Box<Reported> },
}

/// What a wish is answered with.
pub(super) enum Answer {
    /// The job that it is about.
    Job(Reply<v1::Job>),
    /// The node that it is about.
    Node { node_id: NodeId, reply: Reply<v1::Node> },
    /// That it is done.
    Done(Reply<()>),
}

impl Answer {
    pub fn refuse(self, failure: Failure) {
        match self {
            Self::Job(reply) => send(reply, Err(failure)),
            Self::Node { reply, .. } => send(reply, Err(failure)),
            Self::Done(reply) => send(reply, Err(failure)),
        }
    }
}

/// A stream of an agent that was let in.
pub(super) struct Connected {
    pub session: SessionId,
    pub orders: watch::Receiver<Orders>,
}

/// Reads the model and replies.
pub(super) trait Question: Send {
    fn answer(self: Box<Self>, now: Timestamp, model: &Model);
    fn refuse(self: Box<Self>, failure: Failure);
}

/// A question as a function, with the way back.
pub(super) struct Asked<T, F> {
    pub read: F,
    pub reply: Reply<T>,
}

impl<T, F> Question for Asked<T, F>
where
    T: Send,
    F: FnOnce(Timestamp, &Model) -> Result<T, Failure> + Send,
{
    fn answer(self: Box<Self>, now: Timestamp, model: &Model) {
        let Self { read, reply } = *self;
        send(reply, read(now, model));
    }

    fn refuse(self: Box<Self>, failure: Failure) {
        send(self.reply, Err(failure));
    }
}

impl Command {
    /// Tells whoever waits that it will not be done.
    pub fn refuse(self, failure: Failure) {
        match self {
            Self::Wish { answer, .. } => answer.refuse(failure),
            Self::Ask(question) => question.refuse(failure),
            Self::Watch { reply, .. } => send(reply, Err(failure)),
            Self::Connect { reply, .. } => send(reply, Err(failure)),
            Self::Report { .. } => {}
        }
    }
}

/// Answers; whoever does not wait any more misses nothing.
pub(super) fn send<T>(reply: Reply<T>, answer: Result<T, Failure>) {
    let _ = reply.send(answer);
}
