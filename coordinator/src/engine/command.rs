//! What handles ask of the engine.

use kindred_proto::{failure::Failure, ids::JobId, v1};
use tokio::sync::{oneshot, watch};

use super::{agents::SessionId, intake::Reported};
use crate::model::{Event, Model, Timestamp};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// Something to do in the next turn.
pub(super) enum Command {
    /// A user's wish; answered with the job once it is stored.
    Wish { event: Event, reply: Reply<v1::Job> },
    /// A question; answered from what is stored.
    Ask(Box<dyn Question>),
    /// The job as it is, and as it will be.
    Watch { job_id: JobId, reply: Reply<watch::Receiver<v1::Job>> },
    /// A stream of an agent begins with a report.
    Connect { report: Box<Reported>, reply: Reply<Connected> },
    /// A stream of an agent goes on.
    Report { session: SessionId, report: Box<Reported> },
}

/// A stream of an agent that was let in.
pub(super) struct Connected {
    pub session: SessionId,
    pub orders: watch::Receiver<v1::AgentOrders>,
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
            Self::Wish { reply, .. } => send(reply, Err(failure)),
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
