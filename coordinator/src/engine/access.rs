//! What is asked of the engine about who may call.

use kindred_proto::{failure::Failure, ids::JobId};

use super::{
    Handle,
    command::{Answer, Command},
};
use crate::model::{Event, Timestamp, access::AccessEvent};

impl Handle {
    /// Changes who may call; it holds once this returns.
    ///
    /// # Errors
    /// The refusal, and `JOURNAL_UNAVAILABLE`.
    pub async fn change_access(&self, event: AccessEvent) -> Result<(), Failure> {
        let event = Event::Access(event);
        let caller = self.caller();
        self.call(|reply| Command::Wish { event, answer: Answer::Done(reply), caller }).await
    }

    /// The project of a job.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`.
    pub async fn project_of(&self, job_id: &JobId) -> Result<String, Failure> {
        let job_id = job_id.clone();
        self.ask(move |_, model| model.job(&job_id).map(|job| job.project().to_owned())).await
    }

    /// The engine's time.
    ///
    /// # Errors
    /// Only when the engine is gone.
    pub async fn now(&self) -> Result<Timestamp, Failure> {
        self.ask(|now, _| Ok(now)).await
    }
}
