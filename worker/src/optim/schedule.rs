//! The learning rate of each step.

use std::f64::consts::PI;

use kindred_proto::recipe::{Decay, Schedule, WarmupForm};

/// The learning rate at a step, counted from 0.
///
/// The decay spans what the warm-up leaves of `total_steps`; all of it where the warm-up leads into the decay.
///
/// # Source
/// Warm-up to the last step and cosine per step: CEA-LIST/SCE @ 07cbe63. Warm-up to the decay: KyleZheng1997/ReSSL @
/// 4d67daa, facebookresearch/moco-v3 @ c349e6e. Warm-up into the decay, and epochs from 1: HobbitLong/PyContrast @
/// 84f94ea. Cosine per epoch, with epochs from 0: facebookresearch/moco @ cb10789.
pub fn learning_rate(
    schedule: &Schedule,
    peak: f64,
    step: u64,
    steps_per_epoch: u64,
    total_steps: u64,
) -> f64 {
    let warmup_steps = (schedule.warmup_epochs * steps_per_epoch as f64).round() as u64;
    let first_step = if schedule.warmup_form == WarmupForm::IntoDecay { 0 } else { warmup_steps };
    let span = Span { first_step, steps_per_epoch: steps_per_epoch.max(1), total_steps };
    if step >= warmup_steps {
        return peak * span.share(&schedule.decay, step);
    }
    let (step, n_steps, last_step) = (step as f64, warmup_steps as f64, warmup_steps - 1);
    let (progress, target) = match schedule.warmup_form {
        WarmupForm::ToLastStep if last_step == 0 => (1.0, 1.0),
        WarmupForm::ToLastStep => (step / last_step as f64, 1.0),
        WarmupForm::ToDecay => (step / n_steps, 1.0),
        WarmupForm::IntoDecay => (step / n_steps, span.share(&schedule.decay, last_step)),
    };
    let start = schedule.warmup_start_share;
    peak * (start + (target - start) * progress)
}

/// The steps of a decay.
struct Span {
    first_step: u64,
    steps_per_epoch: u64,
    total_steps: u64,
}

impl Span {
    /// What is left of the peak at a step from the first one on.
    fn share(&self, decay: &Decay, step: u64) -> f64 {
        let epoch = step / self.steps_per_epoch;
        match decay {
            Decay::Constant => 1.0,
            Decay::Steps { milestones, factor } => {
                let n_passed = milestones.iter().filter(|&&milestone| u64::from(milestone) <= epoch).count();
                factor.powi(n_passed as i32)
            }
            Decay::Cosine { per_epoch, final_share, first_epoch } => {
                let epoch = epoch + u64::from(*first_epoch);
                let step =
                    if *per_epoch { (epoch * self.steps_per_epoch).max(self.first_step) } else { step };
                let length = self.total_steps.saturating_sub(self.first_step).max(1);
                let progress = ((step - self.first_step) as f64 / length as f64).min(1.0);
                final_share + (1.0 - final_share) * 0.5 * (1.0 + (PI * progress).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warm_up(form: WarmupForm, start_share: f64, decay: Decay) -> Schedule {
        Schedule { warmup_epochs: 2.0, warmup_form: form, warmup_start_share: start_share, decay }
    }

    fn without_warm_up(decay: Decay) -> Schedule {
        Schedule { warmup_epochs: 0.0, ..warm_up(WarmupForm::ToDecay, 0.0, decay) }
    }

    fn assert_near(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-15, "{got} is not {want}");
    }

    #[test]
    fn a_warm_up_of_one_step_to_its_last_step_is_at_the_peak() {
        let schedule =
            Schedule { warmup_epochs: 0.1, ..warm_up(WarmupForm::ToLastStep, 0.0, Decay::Constant) };
        assert_eq!(learning_rate(&schedule, 0.5, 0, 10, 20), 0.5);
    }

    #[test]
    fn each_warm_up_starts_at_its_share_and_leads_where_it_says() {
        let rate = |form, step| learning_rate(&warm_up(form, 0.25, Decay::COSINE_PER_STEP), 2.0, step, 5, 40);
        for form in [WarmupForm::ToLastStep, WarmupForm::ToDecay, WarmupForm::IntoDecay] {
            assert_near(rate(form, 0), 0.5);
        }
        assert_near(rate(WarmupForm::ToLastStep, 9), 2.0);
        assert_near(rate(WarmupForm::ToLastStep, 10), 2.0);
        assert_near(rate(WarmupForm::ToDecay, 9), 0.5 + 1.5 * 0.9);
        assert_near(rate(WarmupForm::ToDecay, 10), 2.0);
    }

    #[test]
    fn a_warm_up_into_a_cosine_of_epochs_from_1_ends_on_the_cosine() {
        // lr 1, floor .001, 2 of 10 epochs from 1/3, as PyContrast warms up from .01 to lr .03.
        let decay = Decay::Cosine { per_epoch: true, final_share: 1e-3, first_epoch: 1 };
        let schedule = warm_up(WarmupForm::IntoDecay, 1.0 / 3.0, decay);
        let cosine = |epoch: f64| 1e-3 + (1.0 - 1e-3) * (1.0 + (PI * epoch / 10.0).cos()) / 2.0;
        let rate = |step| learning_rate(&schedule, 1.0, step, 5, 50);
        for step in 0..10 {
            assert_near(rate(step), 1.0 / 3.0 + step as f64 / 10.0 * (cosine(2.0) - 1.0 / 3.0));
        }
        assert_near(rate(10), cosine(3.0));
        assert_near(rate(49), 1e-3);
    }

    #[test]
    fn a_cosine_per_epoch_is_constant_within_an_epoch() {
        let schedule = without_warm_up(Decay::COSINE_PER_EPOCH);
        let rate = |step| learning_rate(&schedule, 1.0, step, 10, 40);
        assert_eq!(rate(10), rate(19));
        assert!(rate(20) < rate(19));
    }

    #[test]
    fn a_cosine_stays_at_its_final_share_past_the_end() {
        let schedule = without_warm_up(Decay::Cosine { per_epoch: false, final_share: 0.1, first_epoch: 0 });
        for step in [40, 45, 80] {
            assert_near(learning_rate(&schedule, 1.0, step, 10, 40), 0.1);
        }
    }
}
