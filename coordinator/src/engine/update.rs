//! Changes of jobs: read, changed and checked by the caller, and decided upon if nobody else changed the job meanwhile.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
    job_spec::AnySpec,
    v1,
};

use super::Handle;
use crate::model::{Event, Submission, Update, Wire};

/// How often an update is made anew that others came before.
const TRIES: usize = 16;

/// What an update is made from.
struct Base {
    etag: String,
    spec: v1::JobSpec,
    fork_of: Option<Wire<v1::Checkpoint>>,
    is_done: bool,
}

impl Handle {
    /// Changes a job to what `edit` makes of its spec. With an `etag` only if that is still the job's; the same `request_id` again
    /// gives the job as it is.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`, `ETAG_MISMATCH`, `SPEC_INVALID`, `ILLEGAL_TRANSITION` for what cannot change any more,
    /// `JOURNAL_UNAVAILABLE`.
    pub async fn update_job(
        &self,
        job_id: &JobId,
        request_id: &str,
        etag: &str,
        edit: impl Fn(&v1::JobSpec) -> Result<AnySpec, Failure> + Send,
    ) -> Result<v1::Job, Failure> {
        let mut outcome = self.try_update(job_id, request_id, etag, &edit).await;
        for _ in 1..TRIES {
            match &outcome {
                Err(failure) if failure.reason == Reason::EtagMismatch && etag.is_empty() => {
                    outcome = self.try_update(job_id, request_id, etag, &edit).await;
                }
                _ => break,
            }
        }
        outcome
    }

    async fn try_update(
        &self,
        job_id: &JobId,
        request_id: &str,
        etag: &str,
        edit: &(impl Fn(&v1::JobSpec) -> Result<AnySpec, Failure> + Send),
    ) -> Result<v1::Job, Failure> {
        let base = self.base(job_id, request_id, etag).await?;
        if base.is_done {
            return self.get_job(job_id).await;
        }
        let spec = edit(&base.spec)?;
        let submission = Box::new(Submission { fork_of: base.fork_of, ..Submission::new(&spec) });
        let (job_id, request_id) = (job_id.clone(), request_id.to_owned());
        self.wish(Event::UpdateRequested(Update { job_id, request_id, etag: base.etag, submission })).await
    }

    async fn base(&self, job_id: &JobId, request_id: &str, etag: &str) -> Result<Base, Failure> {
        let (job_id, request_id, etag) = (job_id.clone(), request_id.to_owned(), etag.to_owned());
        self.ask(move |_, model| {
            let job = model.job(&job_id)?;
            let is_done = job.was_updated_by(&request_id);
            if !etag.is_empty() && !is_done {
                job.check_etag(&etag)?;
            }
            let (spec, fork_of) = (job.submission.spec.0.clone(), job.submission.fork_of.clone());
            Ok(Base { etag: job.etag(), spec, fork_of, is_done })
        })
        .await
    }
}
