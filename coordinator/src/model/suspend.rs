//! Jobs that users pause: their ranks write a checkpoint and stop, and their devices are free for others.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
};

use super::{Change, Decision, Job, JobChange, JobState, Model, Timestamp};

impl Model {
    /// A job that is suspended already is given as it is.
    pub(super) fn decide_suspend(
        &self,
        now: Timestamp,
        job_id: &JobId,
        reason: &str,
    ) -> Result<Decision, Failure> {
        let job = self.job(job_id)?;
        check_goes_on(job, "suspended")?;
        let is_paused = matches!(job.state, JobState::Suspending | JobState::Suspended);
        let change = (!is_paused).then(|| JobChange::SuspendRequested { reason: reason.to_owned() });
        Ok(decision(now, job_id, change))
    }

    /// A job that is not suspended is given as it is. One whose ranks still stop is placed once they are gone.
    pub(super) fn decide_resume(&self, now: Timestamp, job_id: &JobId) -> Result<Decision, Failure> {
        let job = self.job(job_id)?;
        check_goes_on(job, "resumed")?;
        let is_paused = matches!(job.state, JobState::Suspending | JobState::Suspended);
        Ok(decision(now, job_id, is_paused.then_some(JobChange::ResumeRequested)))
    }
}

fn decision(now: Timestamp, job_id: &JobId, change: Option<JobChange>) -> Decision {
    let changes = change.into_iter().map(|change| Change::job(job_id, now, change)).collect();
    Decision { changes, job_id: Some(job_id.clone()), ..Decision::default() }
}

pub(super) fn check_goes_on(job: &Job, what: &str) -> Result<(), Failure> {
    let why = match job.state {
        state if state.is_terminal() => format!("it has {} already", state.name()),
        JobState::Cancelling => "it is cancelling".to_owned(),
        _ => return Ok(()),
    };
    let message = format!("{} cannot be {what}: {why}", job.id);
    Err(Failure::new(Reason::IllegalTransition, message).about("job_id"))
}
