//! The triangle filter along one axis.

use super::lanes::{LANES, Wide};

/// For each output position, the first input position and the weights of those that follow.
#[derive(Debug, Default)]
pub(super) struct Taps {
    pub(super) starts: Vec<usize>,
    /// As many for each output position.
    weights: Vec<f32>,
    pub(super) n_taps: usize,
    /// The same for registers of output positions; empty where one would reach too far.
    blocks: Vec<([u32; LANES], [f32; LANES])>,
    reach_far: bool,
}

impl Taps {
    /// Values that must follow those of an input of [`Taps::apply`].
    pub(super) const PADDING: usize = 4 * LANES;

    /// Sets the triangle filter that scales `n_in` positions to `n_out`, with weights that sum to `total`.
    pub(super) fn set(&mut self, n_in: u32, n_out: u32, total: f64) {
        let scale = f64::from(n_in) / f64::from(n_out);
        let support = scale.max(1.0);
        self.n_taps = ((2.0 * support).ceil() as usize).min(n_in as usize);
        self.starts.clear();
        self.weights.clear();
        for at in 0..n_out {
            let centre = (f64::from(at) + 0.5) * scale;
            let start = ((centre - support + 0.5).max(0.0) as usize).min(n_in as usize - self.n_taps);
            let taps = start..start + self.n_taps;
            let weight = |tap: usize| (1.0 - ((tap as f64 + 0.5 - centre) / support).abs()).max(0.0);
            let sum: f64 = taps.clone().map(weight).sum();
            self.starts.push(start);
            self.weights.extend(taps.map(|tap| (weight(tap) / sum * total) as f32));
        }
    }

    /// Arranges the weights for [`Wide`].
    pub(super) fn set_blocks(&mut self) {
        self.blocks.clear();
        let starts = self.starts.as_chunks::<LANES>().0;
        let reach =
            starts.iter().map(|starts| starts[LANES - 1] + self.n_taps - starts[0]).max().unwrap_or(0);
        if reach > 4 * LANES {
            return;
        }
        self.reach_far = reach > 2 * LANES;
        for (block, starts) in starts.iter().enumerate() {
            for tap in 0..self.n_taps {
                let index = |lane: usize| (starts[lane] - starts[0] + tap) as u32;
                let weight = |lane: usize| self.weights[(block * LANES + lane) * self.n_taps + tap];
                self.blocks.push((std::array::from_fn(index), std::array::from_fn(weight)));
            }
        }
    }

    /// The first input position and the weights of each output position.
    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.starts.iter().copied().zip(self.weights.chunks_exact(self.n_taps))
    }

    /// Scales a row of `CHANNELS` parts, each of which is padded.
    #[inline(always)]
    pub(super) fn apply<const CHANNELS: usize>(&self, wide: Option<Wide>, row: &[f32], output: &mut [f32]) {
        let (padded, size) = (row.len() / CHANNELS, self.starts.len());
        let n_done = match wide {
            Some(wide) => self.apply_blocks::<CHANNELS>(wide, row, output),
            None => 0,
        };
        for channel in 0..CHANNELS {
            let (row, output) = (&row[channel * padded..][..padded], &mut output[channel * size..][..size]);
            for ((start, weights), output) in self.iter().zip(output).skip(n_done) {
                let products = weights.iter().zip(&row[start..]).map(|(weight, value)| weight * value);
                *output = products.fold(0.0, |sum, product| sum + product);
            }
        }
    }

    /// Scales as far as whole registers reach; gives the number of positions.
    #[inline(always)]
    fn apply_blocks<const CHANNELS: usize>(&self, wide: Wide, row: &[f32], output: &mut [f32]) -> usize {
        let (padded, size) = (row.len() / CHANNELS, self.starts.len());
        let mut n_done = 0;
        for taps in self.blocks.chunks_exact(self.n_taps) {
            let mut values = [row; CHANNELS];
            for (channel, values) in values.iter_mut().enumerate() {
                *values = &row[channel * padded + self.starts[n_done]..];
            }
            let scaled = match self.reach_far {
                true => wide.weigh_block::<true, CHANNELS>(values, taps),
                false => wide.weigh_block::<false, CHANNELS>(values, taps),
            };
            for (channel, scaled) in scaled.iter().enumerate() {
                output[channel * size + n_done..][..LANES].copy_from_slice(scaled);
            }
            n_done += LANES;
        }
        n_done
    }
}
