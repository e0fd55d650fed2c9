//! The learning rate of each step.

use std::f64::consts::PI;

use kindred_proto::recipe::{Decay, Schedule};

/// The learning rate at a step, counted from 0.
///
/// The warm-up is SCE's: it rises by equal amounts from 0 at step 0 to the peak at its last step, and the decay begins
/// at the peak one step later. (ReSSL's divides by W instead of W - 1 and so reaches the peak at the decay's first
/// step; MoCo has none.) The decay spans what is left of `total_steps`.
///
/// # Source
/// Warm-up and cosine per step: CEA-LIST/SCE @ 07cbe63. Cosine per epoch, with epochs from 0: facebookresearch/moco @
/// cb10789.
pub fn learning_rate(
    schedule: &Schedule,
    peak: f64,
    step: u64,
    steps_per_epoch: u64,
    total_steps: u64,
) -> f64 {
    let warmup_steps = (schedule.warmup_epochs * steps_per_epoch as f64).round() as u64;
    if step < warmup_steps {
        return if warmup_steps == 1 { peak } else { peak * step as f64 / (warmup_steps - 1) as f64 };
    }
    let epoch = step / steps_per_epoch.max(1);
    match &schedule.decay {
        Decay::Constant => peak,
        Decay::Steps { milestones, factor } => {
            let n_passed = milestones.iter().filter(|&&milestone| u64::from(milestone) <= epoch).count();
            peak * factor.powi(n_passed as i32)
        }
        Decay::Cosine { per_epoch, final_share } => {
            let step = if *per_epoch { (epoch * steps_per_epoch).max(warmup_steps) } else { step };
            let length = total_steps.saturating_sub(warmup_steps).max(1);
            let progress = ((step - warmup_steps) as f64 / length as f64).min(1.0);
            peak * (final_share + (1.0 - final_share) * 0.5 * (1.0 + (PI * progress).cos()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_of_one_step_is_at_the_peak() {
        let schedule = Schedule { warmup_epochs: 0.1, decay: Decay::Constant };
        assert_eq!(learning_rate(&schedule, 0.5, 0, 10, 20), 0.5);
    }

    #[test]
    fn a_cosine_per_epoch_is_constant_within_an_epoch() {
        let decay = Decay::Cosine { per_epoch: true, final_share: 0.0 };
        let schedule = Schedule { warmup_epochs: 0.0, decay };
        let rate = |step| learning_rate(&schedule, 1.0, step, 10, 40);
        assert_eq!(rate(10), rate(19));
        assert!(rate(20) < rate(19));
    }

    #[test]
    fn a_cosine_stays_at_its_final_share_past_the_end() {
        let decay = Decay::Cosine { per_epoch: false, final_share: 0.1 };
        let schedule = Schedule { warmup_epochs: 0.0, decay };
        for step in [40, 45, 80] {
            assert!((learning_rate(&schedule, 1.0, step, 10, 40) - 0.1).abs() < 1e-15);
        }
    }
}
