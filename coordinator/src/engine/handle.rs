//! The way to the engine.

use std::sync::Arc;

use async_stream::{stream, try_stream};
use kindred_proto::{
    failure::Failure,
    ids::{CheckpointId, Generation, JobId},
    job_spec::AnySpec,
    v1,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tokio_util::sync::CancellationToken;

use super::{
    command::{Answer, Asked, Command, Reply},
    events::EventReader,
    line_limit::LineLimit,
    log_reader::LogReader,
    publish::{self, OpenGenerations, Published},
    session::AgentSession,
    shutting_down,
};
use crate::{
    model::{Event, Fork, Model, Submission, Timestamp, access::Access},
    telemetry::{CurveQuery, Curves, Lines, LogQuery, MetricPage, MetricQuery, Telemetry},
};

/// Cheap handle to the engine; every call is answered from what is stored.
///
/// Every call errs with `SHUTTING_DOWN` once the engine is gone. Dropping a call's future is safe at any time: a wish
/// that was sent may still come true.
#[derive(Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Command>,
    telemetry: Telemetry,
    open: watch::Receiver<OpenGenerations>,
    access: watch::Receiver<Arc<Access>>,
    lines: LineLimit,
    events: EventReader,
    caller: Arc<str>,
}

impl Handle {
    pub(super) fn new(
        inbox: mpsc::Sender<Command>,
        telemetry: Telemetry,
        published: &Published,
        events: EventReader,
    ) -> Self {
        let (open, access) = published.subscribe();
        Self { inbox, telemetry, open, access, lines: LineLimit::default(), events, caller: "".into() }
    }

    /// The same for someone: events of what is wished for through it name them.
    #[must_use]
    pub fn by(&self, caller: &str) -> Self {
        Self { caller: caller.into(), ..self.clone() }
    }

    pub(super) fn caller(&self) -> Arc<str> {
        self.caller.clone()
    }

    /// The events that are kept.
    pub fn events(&self) -> &EventReader {
        &self.events
    }

    /// Stores a new job. The same `request_id` again gives the same job; an empty one names no request.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED` when the id came with another spec, `JOURNAL_UNAVAILABLE` when the job was not stored.
    pub async fn create_job(&self, spec: &AnySpec, request_id: &str) -> Result<v1::Job, Failure> {
        self.submit(Submission::new(spec), request_id).await
    }

    /// As [`Handle::create_job`], for a job that starts from a checkpoint of another one.
    ///
    /// # Errors
    /// As there, and `JOB_NOT_FOUND`, `CHECKPOINT_NOT_FOUND`, `SPEC_INVALID` for an evaluation.
    pub async fn fork_job(&self, spec: &AnySpec, request_id: &str, fork: Fork) -> Result<v1::Job, Failure> {
        let submission = Box::new(Submission::new(spec));
        let (request_id, fork) = (request_id.to_owned(), Some(fork));
        self.wish(Event::Submitted { request_id, submission, fork }).await
    }

    /// Whether a job could be handed in so.
    ///
    /// # Errors
    /// As [`Handle::fork_job`].
    pub async fn check_job(&self, spec: &AnySpec, fork: Option<Fork>) -> Result<(), Failure> {
        let submission = Submission::new(spec);
        self.ask(move |_, model| {
            model.check_queue(&submission)?;
            fork.map_or(Ok(()), |fork| model.fork_source(&submission, &fork).map(drop))
        })
        .await
    }

    pub(super) async fn submit(&self, submission: Submission, request_id: &str) -> Result<v1::Job, Failure> {
        let submission = Box::new(submission);
        self.wish(Event::Submitted { request_id: request_id.to_owned(), submission, fork: None }).await
    }

    /// Lets a job's ranks write a checkpoint and stop; a job that is suspended already is given as it is.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`, `ILLEGAL_TRANSITION` when it is over or cancelling, `JOURNAL_UNAVAILABLE`.
    pub async fn suspend_job(&self, job_id: &JobId, reason: &str) -> Result<v1::Job, Failure> {
        self.wish(Event::SuspendRequested { job_id: job_id.clone(), reason: reason.to_owned() }).await
    }

    /// Lets a suspended job go on; a job that is not suspended is given as it is.
    ///
    /// # Errors
    /// As [`Handle::suspend_job`].
    pub async fn resume_job(&self, job_id: &JobId) -> Result<v1::Job, Failure> {
        self.wish(Event::ResumeRequested { job_id: job_id.clone() }).await
    }

    /// Asks for a job's end; a job that is cancelled already is given as it is.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`, `ILLEGAL_TRANSITION` when it is over, `JOURNAL_UNAVAILABLE`.
    pub async fn cancel_job(&self, job_id: &JobId, reason: &str) -> Result<v1::Job, Failure> {
        self.wish(Event::CancelRequested { job_id: job_id.clone(), reason: reason.to_owned() }).await
    }

    /// A job as it is.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`.
    pub async fn get_job(&self, job_id: &JobId) -> Result<v1::Job, Failure> {
        let job_id = job_id.clone();
        self.ask(move |now, model| model.job(&job_id).map(|job| model.job_view_at(now, job))).await
    }

    /// A job as it is, then again at every change; a slow reader misses states in between. Ends after a terminal
    /// state, and when the engine is gone.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`.
    pub async fn watch_job(
        &self,
        job_id: &JobId,
    ) -> Result<impl Stream<Item = v1::Job> + Send + 'static, Failure> {
        let job_id = job_id.clone();
        let mut jobs = WatchStream::new(self.call(|reply| Command::Watch { job_id, reply }).await?);
        Ok(stream! {
            while let Some(job) = jobs.next().await {
                let is_last = is_terminal(&job);
                yield job;
                if is_last {
                    break;
                }
            }
        })
    }

    /// A job's checkpoints, newest first.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`.
    pub async fn list_checkpoints(&self, job_id: &JobId) -> Result<Vec<v1::Checkpoint>, Failure> {
        let job_id = job_id.clone();
        self.ask(move |_, model| {
            let checkpoints = &model.job(&job_id)?.checkpoints;
            Ok(checkpoints.iter().rev().map(|checkpoint| checkpoint.0.clone()).collect())
        })
        .await
    }

    /// One checkpoint of a job.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`, `CHECKPOINT_NOT_FOUND`.
    pub async fn get_checkpoint(&self, job_id: &JobId, id: &CheckpointId) -> Result<v1::Checkpoint, Failure> {
        let (job_id, id) = (job_id.clone(), id.clone());
        self.ask(move |_, model| model.job(&job_id)?.known_checkpoint(&id).cloned()).await
    }

    /// Keeps a checkpoint whatever its job's policy, or leaves it to that again; one that is as wanted is given as it is.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`, `CHECKPOINT_NOT_FOUND`, `JOURNAL_UNAVAILABLE`.
    pub async fn pin_checkpoint(
        &self,
        job_id: &JobId,
        id: &CheckpointId,
        is_pinned: bool,
    ) -> Result<v1::Checkpoint, Failure> {
        // One that is let go of is given as it was.
        let known = self.get_checkpoint(job_id, id).await?;
        let (job_id, checkpoint) = (job_id.clone(), id.clone());
        self.wish(Event::PinRequested { job_id, checkpoint, is_pinned }).await?;
        Ok(v1::Checkpoint { pinned: is_pinned, ..known })
    }

    /// Lets an agent in with the first report of its stream.
    ///
    /// # Errors
    /// The refusal that ends the agent: `PROTOCOL_VERSION_UNSUPPORTED`, `SPEC_INVALID`, `STALE_GENERATION`.
    pub async fn connect_agent(&self, mut first: v1::AgentReport) -> Result<AgentSession, Failure> {
        // Nothing of an agent that is refused is stored, its telemetry neither.
        let telemetry = std::mem::take(&mut first.telemetry);
        let report = first.clone();
        self.ask(move |_, model| model.check_report(&report)).await?;
        first.telemetry = telemetry;
        AgentSession::open(self.inbox.clone(), self.telemetry.clone(), self.lines.clone(), first).await
    }

    /// A token that is cancelled when the generation ends; while it is not, its ranks may meet.
    ///
    /// # Errors
    /// `STALE_GENERATION` when the generation is neither live nor about to be.
    pub fn open_generation(
        &self,
        job_id: &JobId,
        generation: Generation,
    ) -> Result<CancellationToken, Failure> {
        publish::find(&self.open.borrow(), job_id, generation)
    }

    /// Who may call, as it is stored.
    pub fn access(&self) -> Arc<Access> {
        self.access.borrow().clone()
    }

    /// The store of metric points and log lines.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// One page of a job's metric points.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`, `JOURNAL_UNAVAILABLE` when they cannot be read.
    pub async fn list_metrics(&self, job_id: &JobId, query: MetricQuery) -> Result<MetricPage, Failure> {
        let of_job = job_id.clone();
        let spans = self.ask(move |_, model| Ok(model.job(&of_job)?.ledger.spans().collect())).await?;
        Ok(self.telemetry.points(job_id, &MetricQuery { spans, ..query }).await?)
    }

    /// A job's series in buckets, and the names of all that it has.
    ///
    /// # Errors
    /// As [`Handle::list_metrics`].
    pub async fn list_curves(&self, job_id: &JobId, query: CurveQuery) -> Result<Curves, Failure> {
        let of_job = job_id.clone();
        let spans = self.ask(move |_, model| Ok(model.job(&of_job)?.ledger.spans().collect())).await?;
        Ok(self.telemetry.curves(job_id, &CurveQuery { spans, ..query }).await?)
    }

    /// A job's log lines, oldest first; with `follow` until the job is over and its last lines came.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`; in the stream `JOURNAL_UNAVAILABLE` when lines cannot be read.
    pub async fn read_logs(
        &self,
        job_id: &JobId,
        query: LogQuery,
    ) -> Result<impl Stream<Item = Result<Lines, Failure>> + Send + 'static, Failure> {
        let watched = job_id.clone();
        let job = self.call(|reply| Command::Watch { job_id: watched, reply }).await?;
        let mut reader = LogReader::open(self.telemetry.clone(), job_id.clone(), query, job).await?;
        Ok(try_stream! {
            while let Some(lines) = reader.next().await? {
                yield lines;
            }
        })
    }

    pub(super) async fn wish(&self, event: Event) -> Result<v1::Job, Failure> {
        let caller = self.caller();
        self.call(|reply| Command::Wish { event, answer: Answer::Job(reply), caller }).await
    }

    pub(super) async fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(Timestamp, &Model) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.call(|reply| Command::Ask(Box::new(Asked { read, reply }))).await
    }

    pub(super) async fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(command(reply)).await.map_err(|_| shutting_down())?;
        answer.await.map_err(|_| shutting_down())?
    }
}

/// True when nothing follows.
pub(super) fn is_terminal(job: &v1::Job) -> bool {
    use v1::JobState::{Cancelled, Failed, Succeeded};
    matches!(job.state(), Succeeded | Failed | Cancelled)
}
