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

    /// Beta distributed with both parameters the same.
    ///
    /// Computed from logarithms of gamma draws, so that small parameters do not underflow.
    pub fn beta(&mut self, concentration: f64) -> f64 {
        let (one, other) = (self.log_gamma(concentration), self.log_gamma(concentration));
        1.0 / (1.0 + (other - one).exp())
    }

    /// Log of a gamma draw of scale 1 (Marsaglia and Tsang, 2000, with its boost by one for all shapes).
    fn log_gamma(&mut self, shape: f64) -> f64 {
        let boost = (1.0 - self.unit()).ln() / shape;
        let d = shape + 2.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let normal = self.normal();
            let cube = (1.0 + c * normal).powi(3);
            if cube <= 0.0 {
                continue;
            }
            let log_accept = normal * normal / 2.0 + d - d * cube + d * cube.ln();
            if (1.0 - self.unit()).ln() < log_accept {
                return (d * cube).ln() + boost;
            }
        }
    }

    /// A permutation of `0..n` (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<i64> {
        let mut order: Vec<i64> = (0..n as i64).collect();
        for last in (1..n).rev() {
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
        order
    }

    /// Uniform among `0..n`.
    pub fn below(&mut self, n: u64) -> i64 {
        (self.unit() * n as f64) as i64
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
    fn beta_draws_have_the_moments_of_their_distribution() {
        for concentration in [0.1, 1.0, 2.0] {
            let mut stream = Stream::new(0, "test");
            let draws: Vec<f64> = (0..20_000).map(|_| stream.beta(concentration)).collect();
            let moment = |power| draws.iter().map(|draw| (draw - 0.5).powi(power)).sum::<f64>() / 20_000.0;
            // Of Beta(a, a): variance 1 / (4 (2a + 1)), fourth central moment 3 / (16 (2a + 1)(2a + 3)).
            let spread = 2.0 * concentration + 1.0;
            assert!(moment(1).abs() < 0.01, "{concentration}");
            assert!((moment(2) - 0.25 / spread).abs() < 0.003, "{concentration}");
            assert!((moment(4) - 3.0 / (16.0 * spread * (spread + 2.0))).abs() < 0.001, "{concentration}");
            assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)), "{concentration}");
        }
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
