//! When the next checkpoint is due.

use std::time::{Duration, Instant};

use kindred_proto::{ids::Step, recipe::CheckpointInterval};

use crate::{
    collective::{Collective, Error},
    train::job::Job,
};

/// Steps before the first checkpoint of a generation whose interval is derived: until then nothing is known of its costs.
const FIRST_STEPS: u64 = 10;

const HOUR: Duration = Duration::from_secs(3600);

/// When checkpoints are due: after a number of steps that is fixed, or derived from what they cost.
pub(super) struct Interval {
    total: u64,
    rule: Rule,
}

enum Rule {
    Fixed { n_steps: u64 },
    Derived(Derived),
}

/// An interval that weighs what checkpoints cost against what is lost without them.
struct Derived {
    between_losses: Duration,
    next: Step,
    /// After which step, and when, the newest one was saved.
    saved: (Step, Instant),
    newest: Option<Costs>,
}

/// What a rank measured: how long saving held it up, and how long it takes a step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Costs {
    saving: Duration,
    step: Duration,
}

impl Interval {
    /// For a generation that has taken so many steps.
    pub fn new(job: &Job, taken: Step) -> Self {
        let rule = match job.spec.recipe.checkpoint.every {
            CheckpointInterval::Steps(n_steps) => Rule::Fixed { n_steps },
            CheckpointInterval::Epochs(n_epochs) => {
                Rule::Fixed { n_steps: u64::from(n_epochs) * job.steps.per_epoch }
            }
            CheckpointInterval::Derived { hours_between_losses } => {
                let trained = Duration::from_millis(job.start.trained_ms);
                Rule::Derived(Derived {
                    between_losses: between_losses(
                        HOUR.mul_f64(hours_between_losses),
                        trained,
                        job.start.n_losses,
                    ),
                    next: Step(taken.0 + FIRST_STEPS),
                    saved: (taken, Instant::now()),
                    newest: None,
                })
            }
        };
        Self { total: job.steps.total, rule }
    }

    /// Whether one is due after so many steps; the last always is.
    pub fn is_due(&self, taken: Step) -> bool {
        let is_time = match &self.rule {
            Rule::Fixed { n_steps } => taken.0.is_multiple_of(*n_steps),
            Rule::Derived(derived) => taken >= derived.next,
        };
        is_time || taken.0 == self.total
    }

    /// One was saved, which held training up for so long.
    pub fn saved(&mut self, taken: Step, cost: Duration) {
        if let Rule::Derived(derived) = &mut self.rule {
            let (before, since) = std::mem::replace(&mut derived.saved, (taken, Instant::now()));
            let n_steps = u32::try_from(taken.0.saturating_sub(before.0)).unwrap_or(u32::MAX).max(1);
            let step = since.elapsed().saturating_sub(cost) / n_steps;
            derived.newest = Some(Costs { saving: cost, step });
            // Until the ranks have agreed on it.
            derived.next = Step(u64::MAX);
        }
    }

    /// Settles after which step the next one is due: what the slowest rank measured counts. All ranks call this after the same
    /// step, once for each that was saved.
    ///
    /// # Errors
    /// When a peer is lost.
    pub fn agree(&mut self, collective: &Collective) -> Result<(), Error> {
        let Rule::Derived(derived) = &mut self.rule else { return Ok(()) };
        let Some(own) = derived.newest.take() else { return Ok(()) };
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let own = [nanoseconds(own.saving), nanoseconds(own.step)].map(u64::to_le_bytes).concat();
        let all = collective.gather_bytes(&own)?;
        let slowest = |idx: usize| {
            let read = |bytes: &Vec<u8>| bytes.chunks_exact(8).nth(idx).map_or(0, le);
            Duration::from_nanos(all.iter().map(read).max().unwrap_or(0))
        };
        let costs = Costs { saving: slowest(0), step: slowest(1) };
        derived.next = Step(derived.saved.0.0.saturating_add(n_steps(costs, derived.between_losses)));
        tracing::debug!(?costs, next = derived.next.0, "the next checkpoint is settled");
        Ok(())
    }
}

fn le(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// The mean time between losses: the assumed one counts as one loss in so long.
fn between_losses(assumed: Duration, trained: Duration, n_losses: u32) -> Duration {
    (assumed + trained) / n_losses.saturating_add(1)
}

/// Steps between two checkpoints by Young's first-order optimum (CACM 17(9), 1974), √(2 C M): C what one costs, M the mean time
/// between losses.
fn n_steps(costs: Costs, between_losses: Duration) -> u64 {
    let optimum = (2.0 * costs.saving.as_secs_f64() * between_losses.as_secs_f64()).sqrt();
    (optimum / costs.step.as_secs_f64().max(1e-9)).round().clamp(1.0, 1e15) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow_with_the_cost_and_shrink_with_losses() {
        let costs = |saving_ms, step_ms| Costs {
            saving: Duration::from_millis(saving_ms),
            step: Duration::from_millis(step_ms),
        };
        let day = 24 * HOUR;
        // √(2 · 0.05 s · 86,400 s) = 92.95 s.
        assert_eq!(n_steps(costs(50, 100), day), 930);
        assert_eq!(n_steps(costs(200, 100), day), 1859);
        assert_eq!(n_steps(costs(50, 100), between_losses(day, Duration::ZERO, 3)), 465);
        assert_eq!(n_steps(costs(0, 100), day), 1, "one that costs nothing is due after every step");
    }

    #[test]
    fn losses_that_were_met_count_with_the_assumed_one() {
        assert_eq!(between_losses(24 * HOUR, Duration::ZERO, 0), 24 * HOUR);
        assert_eq!(between_losses(24 * HOUR, 6 * HOUR, 0), 30 * HOUR);
        assert_eq!(between_losses(24 * HOUR, 6 * HOUR, 9), 3 * HOUR);
    }
}
