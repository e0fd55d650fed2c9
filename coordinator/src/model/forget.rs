//! Jobs that were over long ago are let go of, so that neither memory nor the journal grows for ever.

use super::{Change, Job, JobChange, Model, Timestamp};

/// Most jobs that one decision lets go of.
const MOST: usize = 1000;

impl Model {
    /// Jobs whose time is over. One with a checkpoint that a user pinned stays until it is let go of.
    pub(super) fn decide_forgotten(&self, now: Timestamp) -> Vec<Change> {
        let over = self.state.jobs_over_before(now.minus(self.rules.forget_job_after));
        let forgettable = over.filter(|job| !job.checkpoints.iter().any(|checkpoint| checkpoint.pinned));
        forgettable.take(MOST).map(|job| Change::job(&job.id, now, JobChange::Forgotten)).collect()
    }
}

impl Job {
    /// Since when it is over.
    pub(super) fn over_since(&self) -> Timestamp {
        self.ended_at.unwrap_or(self.changed_at)
    }
}
