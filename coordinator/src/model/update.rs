//! What users change of a job that they have handed in.
//!
//! What ranks compute with stays; what the scheduler reads, and labels, may change. A job that has devices takes note of it at once:
//! one with more ranks than it may have now stops with a checkpoint and goes on with fewer; one with fewer than it is to have goes on
//! with those, grows when it can, and is held to the new number when it is placed next.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
};
use serde::{Deserialize, Serialize};

use super::{
    Change, Decision, Job, JobChange, LiveGeneration, Model, Submission, Timestamp, suspend::check_goes_on,
};

/// A user's wish to change a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Which job.
    pub job_id: JobId,
    /// Makes a repeated call safe; empty for none.
    pub request_id: String,
    /// The job's [`Job::etag`] that this was made from.
    pub etag: String,
    /// What the job is to be, checked.
    pub submission: Box<Submission>,
}

/// The updates of a job so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Updates {
    /// How many there were.
    count: u64,
    /// The caller's id of the newest one; empty when it had none.
    request_id: String,
}

impl Job {
    /// Another one with every update.
    pub fn etag(&self) -> String {
        format!("u{}", self.updates.count)
    }

    /// Whether the newest update came from this request.
    pub fn was_updated_by(&self, request_id: &str) -> bool {
        !request_id.is_empty() && self.updates.request_id == request_id
    }

    /// Takes an update over.
    pub(super) fn update(&mut self, request_id: &str, submission: &Submission) {
        self.updates = Updates { count: self.updates.count + 1, request_id: request_id.to_owned() };
        self.submission = submission.clone();
    }

    /// Refuses an update that was made from an older state of the job.
    ///
    /// # Errors
    /// `ETAG_MISMATCH`.
    pub fn check_etag(&self, etag: &str) -> Result<(), Failure> {
        if self.etag() == etag {
            return Ok(());
        }
        let message = format!(
            "etag: {} was updated since: its etag is {:?}, not {etag:?}; read it again, and decide anew",
            self.id,
            self.etag()
        );
        Err(Failure::new(Reason::EtagMismatch, message).about("etag"))
    }
}

impl Model {
    /// An update that changes nothing, or whose request was the newest update, gives the job as it is.
    pub(super) fn decide_update(&self, now: Timestamp, update: &Update) -> Result<Decision, Failure> {
        let job = self.job(&update.job_id)?;
        let unchanged = Decision { job_id: Some(job.id.clone()), ..Decision::default() };
        if job.was_updated_by(&update.request_id) {
            return Ok(unchanged);
        }
        job.check_etag(&update.etag)?;
        if job.submission == *update.submission {
            return Ok(unchanged);
        }
        self.check_update(job, &update.submission)?;
        let updated = JobChange::Updated {
            request_id: update.request_id.clone(),
            submission: update.submission.clone(),
        };
        Ok(Decision { changes: vec![Change::job(&job.id, now, updated)], ..unchanged })
    }

    fn check_update(&self, job: &Job, wanted: &Submission) -> Result<(), Failure> {
        if !are_only_labels_new(&job.submission, wanted) {
            check_goes_on(job, "updated")?;
        }
        let refuse = |field: &str, why: &str| {
            let message = format!("{field}: of {} it cannot change any more: {why}", job.id);
            Err(Failure::new(Reason::IllegalTransition, message).about(field))
        };
        if wanted.world_size != job.submission.world_size && job.placed_at.is_some() {
            return refuse("ranks", "the job was placed; min_ranks and max_ranks may change");
        }
        if wanted.scheduling.queue == job.submission.scheduling.queue {
            return Ok(());
        }
        if job.live.is_some() {
            return refuse("queue", "the job has devices, which count for its queue; suspend it first");
        }
        self.check_queue(wanted)
    }

    /// Lets a job go on with fewer ranks that has more than it may have now.
    pub(super) fn has_too_many_ranks(&self, job: &Job, live: &LiveGeneration) -> Option<JobChange> {
        let most = job.submission.sizes().next()?;
        if live.members.len() <= most {
            return None;
        }
        let reason = format!("may have at most {most} ranks now: writes a checkpoint and goes on with fewer");
        Some(JobChange::GivesWay { reason, to: None, shrinks: true })
    }

    /// Lets no more ranks join than the job may have now.
    pub(super) fn may_not_join(&self, job: &Job, live: &LiveGeneration) -> Option<JobChange> {
        let n_ranks = live.members.len() + job.joining.as_ref()?.placements.len();
        let reason = || format!("the job may not have {n_ranks} ranks any more");
        let is_wanted = job.submission.sizes().any(|size| size == n_ranks);
        (!is_wanted).then(|| JobChange::JoinEnds { reason: reason() })
    }
}

fn are_only_labels_new(known: &Submission, wanted: &Submission) -> bool {
    let mut relabelled = known.clone();
    relabelled.spec.0.labels.clone_from(&wanted.spec.0.labels);
    relabelled == *wanted
}
