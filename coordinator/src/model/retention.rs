//! Which checkpoints of a job stay, and who may say so.
//!
//! The coordinator alone decides: ranks remove what it has recorded and let go of, and nothing else, so that what is listed is
//! there.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{CheckpointId, JobId},
    v1,
};

use super::{Change, Decision, Job, JobChange, Model, Timestamp, Wire};

impl Model {
    /// A user wants a checkpoint kept whatever the job's policy, or left to it again.
    pub(super) fn decide_pin(
        &self,
        now: Timestamp,
        job_id: &JobId,
        checkpoint: &CheckpointId,
        is_pinned: bool,
    ) -> Result<Decision, Failure> {
        let job = self.job(job_id)?;
        let is_as_wanted = job.known_checkpoint(checkpoint)?.pinned == is_pinned;
        let change = JobChange::CheckpointPinned { checkpoint: checkpoint.clone(), is_pinned };
        let changes = if is_as_wanted { vec![] } else { vec![Change::job(job_id, now, change)] };
        Ok(Decision { changes, job_id: Some(job_id.clone()), ..Decision::default() })
    }
}

impl Job {
    /// A checkpoint by its id.
    ///
    /// # Errors
    /// `CHECKPOINT_NOT_FOUND`.
    pub fn known_checkpoint(&self, id: &CheckpointId) -> Result<&v1::Checkpoint, Failure> {
        self.checkpoint(id).ok_or_else(|| {
            let message = format!("{} has no checkpoint {id}", self.id);
            Failure::new(Reason::CheckpointNotFound, message).about("checkpoint_id")
        })
    }

    /// Takes in a new checkpoint, and lets go of those that the policy keeps no longer.
    pub(super) fn record(&mut self, checkpoint: &Wire<v1::Checkpoint>) {
        self.checkpoints.push(checkpoint.clone());
        self.let_go();
    }

    pub(super) fn pin(&mut self, id: &CheckpointId, is_pinned: bool) {
        let mut all = self.checkpoints.iter_mut();
        if let Some(checkpoint) = all.find(|checkpoint| checkpoint.0.id == id.as_str()) {
            checkpoint.0.pinned = is_pinned;
        }
        // Nobody removes the files of a job that is over: they stay listed.
        if !self.state.is_terminal() {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        let policy = self.submission.spec.recipe.as_ref().and_then(|recipe| recipe.checkpoint.as_ref());
        let keep_last = policy.and_then(|policy| policy.keep_last).unwrap_or(1).max(1) as usize;
        let keep_best = policy.and_then(|policy| policy.keep_best).unwrap_or(0) as usize;
        let n_older = self.checkpoints.len().saturating_sub(keep_last);
        let best = best(&self.checkpoints, keep_best);
        let mut position = 0;
        self.checkpoints.retain(|checkpoint| {
            let is_kept = position >= n_older || checkpoint.0.pinned || best.contains(&position);
            position += 1;
            is_kept
        });
    }
}

/// Where the checkpoints of the highest kNN accuracy are; of equal ones the newer.
fn best(checkpoints: &[Wire<v1::Checkpoint>], n_best: usize) -> Vec<usize> {
    let measured = checkpoints.iter().enumerate();
    let mut measured: Vec<(f64, usize)> =
        measured.filter_map(|(position, it)| Some((it.0.knn_accuracy_percent?, position))).collect();
    measured.sort_by(|one, other| other.0.total_cmp(&one.0).then(other.1.cmp(&one.1)));
    measured.into_iter().take(n_best).map(|(_, position)| position).collect()
}
