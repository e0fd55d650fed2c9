//! Jobs that start from a checkpoint of another one.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
    v1,
};

use super::{Change, Decision, Fork, Job, JobChange, Model, Submission, Timestamp, Wire};

impl Model {
    pub(super) fn decide_submission(
        &self,
        now: Timestamp,
        request_id: &str,
        submission: &Submission,
        fork: Option<&Fork>,
    ) -> Result<Decision, Failure> {
        if let Some(job) = self.state.job_of_request(request_id) {
            check_same(request_id, job, submission, fork)?;
            return Ok(Decision { changes: vec![], job_id: Some(job.id.clone()), ..Decision::default() });
        }
        self.check_queue(submission)?;
        let job_id = self.state.next_job_id();
        let mut submission = Box::new(submission.clone());
        let mut changes = vec![];
        if let Some(fork) = fork {
            let source = self.fork_source(&submission, fork)?.clone();
            changes.extend(pin(now, &fork.job_id, &source));
            submission.fork_of = Some(Wire(source));
        }
        let accepted = JobChange::Accepted { request_id: request_id.to_owned(), submission };
        changes.push(Change::job(&job_id, now, accepted));
        Ok(Decision { changes, job_id: Some(job_id), ..Decision::default() })
    }

    /// Refuses a job of a queue that is not there.
    ///
    /// # Errors
    /// `SPEC_INVALID`, with the queues that are.
    pub fn check_queue(&self, submission: &Submission) -> Result<(), Failure> {
        self.rules.scheduling.check_queue(&submission.scheduling.queue)
    }

    /// The checkpoint that a fork starts from.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`, `CHECKPOINT_NOT_FOUND`, and `SPEC_INVALID` for an evaluation, which starts from none.
    pub fn fork_source(&self, submission: &Submission, fork: &Fork) -> Result<&v1::Checkpoint, Failure> {
        if submission.spec.0.recipe.is_none() {
            let message = "fork_of: an evaluation starts from no checkpoint: leave it out";
            return Err(Failure::new(Reason::SpecInvalid, message).about("fork_of"));
        }
        let job = self.job(&fork.job_id)?;
        match &fork.checkpoint {
            Some(id) => job.known_checkpoint(id),
            None => job.newest_checkpoint().ok_or_else(|| {
                let message = format!("{} has no checkpoint yet", job.id);
                Failure::new(Reason::CheckpointNotFound, message).about("fork_of")
            }),
        }
    }
}

impl Job {
    /// What a job starts from that has no checkpoint of its own.
    pub(super) fn origin(&self) -> Option<&v1::Checkpoint> {
        let fork_of = self.submission.fork_of.as_ref().map(|source| &source.0);
        fork_of.filter(|_| self.checkpoints.is_empty())
    }
}

/// Keeps the source while the fork has none of its own; the user may let go of it later.
fn pin(now: Timestamp, job_id: &JobId, source: &v1::Checkpoint) -> Option<Change> {
    let change = JobChange::CheckpointPinned { checkpoint: source.id.as_str().into(), is_pinned: true };
    (!source.pinned).then(|| Change::job(job_id, now, change))
}

/// Refuses a request id that was used for something else.
fn check_same(
    request_id: &str,
    job: &Job,
    submission: &Submission,
    fork: Option<&Fork>,
) -> Result<(), Failure> {
    let is_same_source = match (&job.submission.fork_of, fork) {
        (None, None) => true,
        (Some(Wire(source)), Some(fork)) => {
            let is_same_id = |id: &kindred_proto::ids::CheckpointId| id.as_str() == source.id;
            fork.job_id.as_str() == source.job_id && fork.checkpoint.as_ref().is_none_or(is_same_id)
        }
        _ => false,
    };
    let what = match (job.submission.spec == submission.spec, is_same_source) {
        (true, true) => return Ok(()),
        (false, _) => "has another spec",
        (true, false) => "starts from something else",
    };
    let message = format!("request id {request_id} was used for {}, which {what}", job.id);
    Err(Failure::new(Reason::RequestIdReused, message).about("request_id"))
}
