//! What measurements share: the ranks, the seed, and who hears how far they are.

use tch::Tensor;

use super::{Error, share::Share};
use crate::collective::Collective;

/// The ranks that measure together. All call the same measurements in the same order.
pub struct Session<'a> {
    /// The ranks.
    pub collective: &'a Collective,
    /// Seed of everything random.
    pub seed: u64,
    /// Hears how many more units of [`Evaluator::units`] are done; its error ends the measurement. All ranks call it at
    /// the same places, so that it may ask the others.
    ///
    /// [`Evaluator::units`]: super::Evaluator::units
    pub tick: &'a dyn Fn(u64) -> Result<(), Error>,
}

impl Session<'_> {
    /// This rank's rows among `n`.
    pub(super) fn share(&self, n: i64) -> Share {
        Share::of(n as u64, self.collective.rank(), self.collective.world_size())
    }

    /// The sums over ranks of counts.
    pub(super) fn totals(&self, counts: &[i64]) -> Result<Vec<f64>, Error> {
        let counts: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
        let means = Tensor::from_slice(&counts);
        self.collective.mean_(&[&means])?;
        let world_size = f64::from(self.collective.world_size());
        let means = Vec::<f64>::try_from(means).expect("a flat f64 tensor");
        Ok(means.into_iter().map(|mean| (mean * world_size).round()).collect())
    }

    /// A session of one rank that nobody hears.
    #[cfg(test)]
    pub(super) fn alone(collective: &Collective) -> Session<'_> {
        Session { collective, seed: 3, tick: &|_| Ok(()) }
    }
}
