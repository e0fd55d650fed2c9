//! The order of the samples in an epoch: a permutation that is computed, never stored.

use crate::philox::{Domain, Key};

/// Rounds of the network; four pass simple tests of randomness already.
const ROUNDS: u32 = 8;

/// A pseudo-random permutation of 0..n, a pure function of (seed, epoch).
///
/// Any position costs the same, so that a loader starts in the middle of an epoch as fast as at its head.
///
/// Each round adds to one coordinate of a grid of at least n cells an amount that depends on the other coordinate
/// alone: a bijection. A result past n - 1 is permuted again ("cycle walking"), which keeps it one on 0..n.
/// Source: Black and Rogaway, "Ciphers with arbitrary finite domains" (CT-RSA 2002).
#[derive(Clone, Debug)]
pub struct Order {
    n: u64,
    n_columns: u64,
    n_rows: u64,
    key: Key,
}

impl Order {
    /// The order of `n` samples in `epoch`.
    pub fn new(n: u64, seed: u64, epoch: u64) -> Order {
        let n_columns = n.saturating_sub(1).isqrt() + 1;
        Order { n, n_columns, n_rows: n.div_ceil(n_columns), key: Key::of_epoch(seed, epoch, Domain::Order) }
    }

    /// The sample at `position`.
    ///
    /// # Panics
    /// When `position` is not below n.
    pub fn at(&self, position: u64) -> u64 {
        assert!(position < self.n, "position {position} of an order of {}", self.n);
        let mut cell = self.permute(position);
        while cell >= self.n {
            cell = self.permute(cell);
        }
        cell
    }

    fn permute(&self, cell: u64) -> u64 {
        let (mut column, mut row) = (cell % self.n_columns, cell / self.n_columns);
        for round in (0..ROUNDS).step_by(2) {
            column = (column + self.draw(row, round, self.n_columns)) % self.n_columns;
            row = (row + self.draw(column, round + 1, self.n_rows)) % self.n_rows;
        }
        row * self.n_columns + column
    }

    /// A number below `n` that depends on `value` and the round.
    fn draw(&self, value: u64, round: u32, n: u64) -> u64 {
        ((u128::from(self.key.bits(value, round)) * u128::from(n)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(n: u64, seed: u64, epoch: u64) -> Vec<u64> {
        let order = Order::new(n, seed, epoch);
        (0..n).map(|position| order.at(position)).collect()
    }

    #[test]
    fn every_small_order_is_a_bijection() {
        for n in 0..600 {
            let mut samples = all(n, 3, n);
            samples.sort_unstable();
            assert!(samples.iter().copied().eq(0..n), "n = {n}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_order_is_a_bijection(n in 1u64..40_000, seed: u64, epoch: u64) {
            let mut samples = all(n, seed, epoch);
            samples.sort_unstable();
            prop_assert!(samples.iter().copied().eq(0..n));
        }

        #[test]
        fn a_position_of_a_huge_order_is_in_range(n in 1u64..1 << 60, seed: u64, share in 0.0f64..1.0) {
            let position = ((n as f64 * share) as u64).min(n - 1);
            prop_assert!(Order::new(n, seed, 0).at(position) < n);
        }
    }

    #[test]
    fn seeds_and_epochs_give_different_orders() {
        let base = all(1000, 1, 0);
        for other in [all(1000, 2, 0), all(1000, 1, 1)] {
            let n_equal = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(n_equal < 10, "{n_equal} samples stayed where they were");
        }
    }

    #[test]
    fn every_sample_lands_everywhere_equally_often() {
        // Chi-squared of 12 x 12 cells over 12,000 epochs, 121 degrees of freedom: mean 121, standard deviation 15.6.
        let (n, n_epochs) = (12, 12_000);
        let mut counts = vec![0f64; (n * n) as usize];
        for epoch in 0..n_epochs {
            let samples = all(n, 11, epoch);
            samples
                .iter()
                .enumerate()
                .for_each(|(at, sample)| counts[at * n as usize + *sample as usize] += 1.0);
        }
        let expected = n_epochs as f64 / n as f64;
        let chi_squared: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        assert!((60.0..200.0).contains(&chi_squared), "chi-squared {chi_squared}");
    }

    #[test]
    fn all_orders_of_four_occur_equally_often() {
        // 24 orders, 24,000 epochs: chi-squared with 23 degrees of freedom, mean 23, standard deviation 6.8.
        let mut counts = std::collections::HashMap::new();
        (0..24_000).for_each(|epoch| *counts.entry(all(4, 5, epoch)).or_insert(0f64) += 1.0);
        let chi_squared: f64 = counts.values().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
        assert_eq!(counts.len(), 24);
        assert!(chi_squared < 60.0, "chi-squared {chi_squared}");
    }

    #[test]
    fn neighbours_are_unrelated() {
        // A random order of n has a mean step of n / 3 between neighbours, and about one pair that stays together.
        let samples = all(60_000, 1, 0);
        let steps: Vec<u64> = samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).collect();
        let mean = steps.iter().sum::<u64>() as f64 / steps.len() as f64;
        assert!((mean - 20_000.0).abs() < 300.0, "mean step {mean}");
        assert!(steps.iter().filter(|&&step| step == 1).count() < 12);
    }
}
