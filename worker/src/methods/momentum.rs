//! How the momentum of a teacher moves.

use std::f64::consts::PI;

use kindred_proto::recipe::methods::MomentumSchedule;

use super::At;

/// The momentum at a step, given that of step 0.
pub fn momentum(start: f64, schedule: MomentumSchedule, at: &At) -> f64 {
    match schedule {
        MomentumSchedule::Constant => start,
        MomentumSchedule::CosineToOne => {
            let progress = at.step as f64 / at.total_steps.saturating_sub(1).max(1) as f64;
            1.0 - (1.0 - start) * ((PI * progress).cos() + 1.0) / 2.0
        }
    }
}
