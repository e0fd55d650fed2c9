//! How many steps a job takes.

use super::{JobSpec, SpecError, Violation};

/// The length of a job in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Full batches in one pass over the data; the rest of the images sits out until the next pass.
    pub per_epoch: u64,
    /// Steps until the job is done.
    pub total: u64,
    /// Steps of all epochs, which schedules span; more than `total` where `max_steps` ends the job early.
    pub schedule_span: u64,
}

impl JobSpec {
    /// The job's length over a training set of `n_images` (after `data.limit`).
    ///
    /// # Errors
    /// The images do not fill one batch.
    pub fn steps(&self, n_images: u64) -> Result<Steps, SpecError> {
        let training = &self.recipe.training;
        let per_epoch = n_images / u64::from(training.global_batch);
        if per_epoch == 0 {
            let message = format!(
                "must be at most {n_images}, the images of the data set, not {}",
                training.global_batch
            );
            return Err(Violation::new("recipe.training.global_batch", message).into());
        }
        let schedule_span = per_epoch.saturating_mul(training.epochs.into());
        let total = training.max_steps.map_or(schedule_span, |most| most.min(schedule_span));
        Ok(Steps { per_epoch, total, schedule_span })
    }
}
