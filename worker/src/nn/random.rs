//! Random numbers for initial values: each tensor's are a function of (seed, name) alone.
//!
//! Neither the order in which tensors are made, nor the device, nor what else draws numbers changes them.

use tch::Tensor;

use super::builder::Setup;

/// A SplitMix64 sequence.
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The sequence of a name.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
        let mut state = [0; 8];
        hasher.finalize_xof().fill(&mut state);
        Self { state: u64::from_le_bytes(state) }
    }

    /// Uniform in `[-bound, bound)`.
    pub fn uniform(&mut self, bound: f64) -> f64 {
        bound * (2.0 * self.unit() - 1.0)
    }

    /// Normal with mean 0 and standard deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A permutation of `0..n` (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<i64> {
        let mut order: Vec<i64> = (0..n as i64).collect();
        for last in (1..n).rev() {
            order.swap(last, (self.unit() * (last + 1) as f64) as usize);
        }
        order
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Random rows of unit length, `[n_rows, dim]`: what a queue holds before the first keys.
pub fn unit_rows(setup: &Setup, name: &str, n_rows: i64, dim: i64) -> Tensor {
    let mut stream = Stream::new(setup.seed, name);
    let values: Vec<f64> = (0..n_rows * dim).map(|_| stream.normal()).collect();
    let rows = Tensor::from_slice(&values).view([n_rows, dim]);
    let norms = rows.norm_scalaropt_dim(2, [1], true);
    (rows / norms).to_kind(setup.kind).to_device(setup.device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_and_name_alone() {
        let draw = |seed, name| Stream::new(seed, name).normal();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn a_permutation_holds_each_index_once() {
        let mut order = Stream::new(0, "test").permutation(50);
        assert!(order.windows(2).any(|pair| pair[0] > pair[1]));
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<i64>>());
    }

    #[test]
    fn normal_draws_have_mean_0_and_variance_1() {
        let mut stream = Stream::new(0, "test");
        let draws: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
    }
}
