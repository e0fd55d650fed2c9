//! Which samples a rank takes at a step.

use crate::{Error, Order};

/// Which samples each step's batch holds: a pure function of the job's settings, the rank and the step.
///
/// Rank r takes the positions [r B, (r + 1) B) of the step's global batch in the epoch's [`Order`]. An epoch has as many
/// steps as whole global batches fit; the rest of its order waits for another epoch.
#[derive(Clone, Debug)]
pub struct Plan {
    n_images: u64,
    global_batch: u64,
    batch: u64,
    rank: u64,
    seed: u64,
}

impl Plan {
    /// Checks the sizes against each other.
    ///
    /// # Errors
    /// [`Error::Config`] says which size does not fit.
    pub fn new(
        n_images: u64,
        global_batch: u32,
        (rank, world_size): (u32, u32),
        seed: u64,
    ) -> Result<Plan, Error> {
        if world_size == 0 || rank >= world_size {
            return Err(Error::Config(format!("rank {rank} of a world of {world_size}")));
        }
        if global_batch == 0 || !global_batch.is_multiple_of(world_size) {
            return Err(Error::Config(format!(
                "a global batch of {global_batch} does not divide by {world_size} ranks"
            )));
        }
        if u64::from(global_batch) > n_images {
            return Err(Error::Config(format!(
                "a global batch of {global_batch} exceeds the {n_images} images"
            )));
        }
        let batch = u64::from(global_batch / world_size);
        Ok(Plan { n_images, global_batch: global_batch.into(), batch, rank: rank.into(), seed })
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.n_images / self.global_batch
    }

    /// The epoch that `step` belongs to.
    pub fn epoch(&self, step: u64) -> u64 {
        step / self.steps_per_epoch()
    }

    /// This rank's samples at `step`.
    pub fn sample_ids(&self, step: u64) -> Vec<u64> {
        let order = Order::new(self.n_images, self.seed, self.epoch(step));
        let start = step % self.steps_per_epoch() * self.global_batch + self.rank * self.batch;
        (start..start + self.batch).map(|position| order.at(position)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch_of(n_images: u64, global_batch: u32, world_size: u32, epoch: u64) -> Vec<u64> {
        let plans: Vec<Plan> = (0..world_size)
            .map(|rank| Plan::new(n_images, global_batch, (rank, world_size), 5).expect("sizes fit"))
            .collect();
        let n_steps = plans[0].steps_per_epoch();
        let steps = epoch * n_steps..(epoch + 1) * n_steps;
        steps.flat_map(|step| plans.iter().flat_map(move |plan| plan.sample_ids(step))).collect()
    }

    proptest! {
        #[test]
        fn d1_a_step_has_the_same_samples_in_the_same_order_at_any_world_size(
            step in 0_u64..100, n_images in 48_u64..300, world_size in prop::sample::select(vec![1_u32, 2, 3, 4, 6])
        ) {
            let ids = |world_size: u32| -> Vec<u64> {
                let plan = |rank| Plan::new(n_images, 12, (rank, world_size), 5).expect("sizes fit");
                (0..world_size).flat_map(|rank| plan(rank).sample_ids(step)).collect()
            };
            prop_assert_eq!(ids(world_size), ids(1));
        }

        #[test]
        fn d1_shards_are_disjoint_and_cover_the_data_at_any_world_size(
            batch in 1u32..9, world_size in 1u32..9, n_steps in 1u64..9, rest_share in 0.0f64..1.0, epoch in 0u64..99,
        ) {
            let global_batch = batch * world_size;
            let rest = (f64::from(global_batch) * rest_share) as u64;
            let n_images = n_steps * u64::from(global_batch) + rest;
            let samples = epoch_of(n_images, global_batch, world_size, epoch);
            prop_assert_eq!(&samples, &epoch_of(n_images, global_batch, 1, epoch), "one rank sees the same order");
            prop_assert_eq!(samples.len() as u64, n_images - rest);
            let distinct: std::collections::BTreeSet<u64> = samples.into_iter().collect();
            prop_assert_eq!(distinct.len() as u64, n_images - rest);
            prop_assert!(distinct.iter().all(|&sample| sample < n_images));
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let message = |n_images, global_batch, place| {
            Plan::new(n_images, global_batch, place, 0).expect_err("sizes do not fit").to_string()
        };
        assert_eq!(message(10, 4, (2, 2)), "rank 2 of a world of 2");
        assert_eq!(message(10, 5, (0, 2)), "a global batch of 5 does not divide by 2 ranks");
        assert_eq!(message(10, 12, (0, 2)), "a global batch of 12 exceeds the 10 images");
    }
}
