//! What moves with the run beside the learning rate: the momentum of a teacher, weights of a loss.

use std::f64::consts::PI;

use kindred_proto::recipe::methods::MomentumSchedule;

use super::At;

/// The momentum at a step, given that of step 0.
pub fn momentum(start: f64, schedule: MomentumSchedule, at: &At) -> f64 {
    let progress = |end: u64| at.step as f64 / end.max(1) as f64;
    match schedule {
        MomentumSchedule::Constant => start,
        MomentumSchedule::CosineToOne => {
            cosine_between(start, 1.0, progress(at.total_steps.saturating_sub(1)))
        }
        MomentumSchedule::CosineTowardsOne => cosine_between(start, 1.0, progress(at.total_steps)),
    }
}

/// Half a cosine from one value, at progress 0, to another, at progress 1 and after it.
pub fn cosine_between(from: f64, to: f64, progress: f64) -> f64 {
    to - (to - from) * ((PI * progress.min(1.0)).cos() + 1.0) / 2.0
}
