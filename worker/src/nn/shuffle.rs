//! Shuffle-BN: keys are normalised in other company than their queries.
//!
//! Without it a query could tell its key by the statistics that they share. The images of the global batch are
//! permuted between the ranks before the forward pass, and the keys are put back after it. The permutation is a
//! function of (seed, step) alone, so that it needs no message and does not depend on the number of ranks.
//!
//! # Source
//! He et al., Momentum Contrast (CVPR 2020), §3.3; code facebookresearch/moco @ cb10789, where rank 0 draws the
//! permutation and broadcasts it.

use tch::Tensor;

use super::random::Stream;
use crate::collective::{Collective, Error};

/// Where the permutations come from.
#[derive(Clone, Copy, Debug)]
pub struct Shuffle {
    /// The run's seed.
    pub seed: u64,
    /// The step, from 0.
    pub step: u64,
}

impl Shuffle {
    /// Rows of `forward` for this rank's images, computed among permuted images of all ranks.
    ///
    /// # Shapes
    /// `[B, C, H, W]` to `[B, D]`; `forward` maps the one to the other.
    ///
    /// # Errors
    /// When a peer is lost, or `forward` fails.
    pub fn forward(
        &self,
        images_bchw: &Tensor,
        ranks: &Collective,
        forward: impl FnOnce(&Tensor) -> Result<Tensor, Error>,
    ) -> Result<Tensor, Error> {
        let n_own = images_bchw.size()[0];
        let order_n = self.order(n_own * i64::from(ranks.world_size())).to_device(images_bchw.device());
        let share = |order_n: &Tensor| order_n.narrow(0, n_own * i64::from(ranks.rank()), n_own);
        let permuted_bchw = ranks.gather(images_bchw)?.index_select(0, &share(&order_n));
        let keys_bd = forward(&permuted_bchw)?;
        Ok(ranks.gather(&keys_bd)?.index_select(0, &share(&order_n.argsort(0, false))))
    }

    /// A permutation of `n` rows, `[n]`.
    fn order(&self, n: i64) -> Tensor {
        let mut stream = Stream::new(self.seed, &format!("shuffle {}", self.step));
        Tensor::from_slice(&stream.permutation(n as usize))
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::collective::on_threads;

    /// Each row's value, and the sum of the rows that were in its rank's company.
    fn company(images: &Tensor, ranks: &Collective) -> Tensor {
        let forward = |rows: &Tensor| Ok(Tensor::cat(&[rows, &rows.sum(None).expand_as(rows)], 1));
        Shuffle { seed: 1, step: 2 }.forward(images, ranks, forward).expect("no peer is lost")
    }

    #[test]
    fn rows_come_back_in_order_and_saw_other_company() {
        let parts = on_threads(2, |ranks| {
            let images = Tensor::arange(4, (Kind::Float, tch::Device::Cpu)).view([4, 1])
                + 4.0 * f64::from(ranks.rank());
            (company(&images, &ranks), f64::from(ranks.rank()))
        });
        let mut sums = Vec::new();
        for (rows, rank) in parts {
            let values = Vec::<f64>::try_from(rows.select(1, 0)).expect("one dimension");
            assert_eq!(values, [0.0, 1.0, 2.0, 3.0].map(|value| value + 4.0 * rank));
            sums.extend(Vec::<f64>::try_from(rows.select(1, 1)).expect("one dimension"));
        }
        assert!(sums.iter().any(|&sum| sum != 6.0 && sum != 22.0), "{sums:?}");
    }
}
