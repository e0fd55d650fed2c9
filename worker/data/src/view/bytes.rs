//! Images of 8 bits in planes, and the operations on them that look at a value, a histogram or at neighbours.
//!
//! Semantics are Pillow's, to the bit: `ImageOps` and `ImageEnhance`, whose blends drop the fraction.

/// Values of 8 bits: one plane per channel, each square.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    pub(super) planes: Vec<u8>,
    pub(super) size: usize,
    /// What an operation reads while it writes `planes`.
    pub(super) before: Vec<u8>,
}

impl Bytes {
    /// Rounds planes in [0, 1].
    pub(super) fn set(&mut self, planes: &[f32], size: usize) {
        self.size = size;
        self.planes.clear();
        self.planes.extend(planes.iter().map(|value| (value * 255.0 + 0.5) as u8));
    }

    /// Writes values in [0, 1].
    pub(super) fn write(&self, planes: &mut [f32]) {
        planes
            .iter_mut()
            .zip(&self.planes)
            .for_each(|(value, &byte)| *value = f32::from(byte) * (1.0 / 255.0));
    }

    pub(super) fn n_pixels(&self) -> usize {
        self.size * self.size
    }

    /// Keeps a copy in `before`.
    pub(super) fn keep(&mut self) {
        self.before.clone_from(&self.planes);
    }

    fn map(&mut self, change: impl Fn(u8) -> u8) {
        self.planes.iter_mut().for_each(|value| *value = change(*value));
    }

    pub(super) fn invert(&mut self) {
        self.map(|value| 255 - value);
    }

    /// Keeps the `n_bits` highest bits.
    pub(super) fn posterize(&mut self, n_bits: u32) {
        let mask = 255u32 << (8 - n_bits.min(8));
        self.map(|value| value & mask as u8);
    }

    /// Inverts values from `threshold` on.
    pub(super) fn solarize(&mut self, threshold: u32) {
        self.map(|value| if u32::from(value) < threshold { value } else { 255 - value });
    }

    /// Adds to values below 128.
    pub(super) fn solarize_add(&mut self, add: u8) {
        self.map(|value| if value < 128 { value.saturating_add(add) } else { value });
    }

    /// Stretches each channel to [0, 255].
    pub(super) fn auto_contrast(&mut self) {
        self.map_planes(|counts| {
            let low = counts.iter().position(|&n| n > 0).unwrap_or(0);
            let high = counts.iter().rposition(|&n| n > 0).unwrap_or(0);
            if high <= low {
                return None;
            }
            let scale = 255.0 / (high - low) as f64;
            Some(std::array::from_fn(|value| (value as f64 * scale - low as f64 * scale) as u8))
        });
    }

    /// Flattens each channel's histogram.
    pub(super) fn equalize(&mut self) {
        self.map_planes(|counts| {
            let n_last = counts.iter().rev().find(|&&n| n > 0).copied().unwrap_or(0);
            let step = (counts.iter().sum::<usize>() - n_last) / 255;
            if step == 0 {
                return None;
            }
            let mut n_below = step / 2;
            Some(std::array::from_fn(|value| {
                let level = n_below / step;
                n_below += counts[value];
                level.min(255) as u8
            }))
        });
    }

    /// Changes each plane by the table that its histogram leads to, if to any.
    fn map_planes(&mut self, table: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
        let n_pixels = self.n_pixels();
        for plane in self.planes.chunks_exact_mut(n_pixels) {
            let mut counts = [0; 256];
            plane.iter().for_each(|&value| counts[usize::from(value)] += 1);
            if let Some(table) = table(&counts) {
                plane.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
            }
        }
    }

    /// Moves colours away from grey (`factor` above 1) or towards it.
    pub(super) fn color(&mut self, factor: f32) {
        let n_pixels = self.n_pixels();
        if self.planes.len() == n_pixels {
            return;
        }
        for at in 0..n_pixels {
            let grey = self.luma(at);
            for channel in 0..3 {
                let value = &mut self.planes[channel * n_pixels + at];
                *value = blend(grey, *value, factor);
            }
        }
    }

    /// Moves values away from the mean grey, or towards it.
    pub(super) fn contrast(&mut self, factor: f32) {
        let sum: u64 = (0..self.n_pixels()).map(|at| u64::from(self.luma(at))).sum();
        let mean = (sum as f64 / self.n_pixels() as f64 + 0.5) as u8;
        self.map(|value| blend(mean, value, factor));
    }

    /// Moves values away from black, or towards it.
    pub(super) fn brightness(&mut self, factor: f32) {
        self.map(|value| blend(0, value, factor));
    }

    /// Moves values away from a smoothed image, or towards it; the border stays.
    pub(super) fn sharpness(&mut self, factor: f32) {
        self.keep();
        let (size, n_pixels) = (self.size, self.n_pixels());
        for (plane, before) in self.planes.chunks_exact_mut(n_pixels).zip(self.before.chunks_exact(n_pixels))
        {
            for y in 1..size.saturating_sub(1) {
                for x in 1..size - 1 {
                    let at = y * size + x;
                    plane[at] = blend(smooth(before, at, size), before[at], factor);
                }
            }
        }
    }

    /// Luma of a pixel: see [`crate::dataset::luma`]; of a grey image, its value.
    fn luma(&self, at: usize) -> u8 {
        let n_pixels = self.n_pixels();
        if self.planes.len() == n_pixels {
            return self.planes[at];
        }
        crate::dataset::luma(&[self.planes[at], self.planes[n_pixels + at], self.planes[2 * n_pixels + at]])
    }
}

/// The mean of nine pixels, in which the middle counts five times, rounded.
fn smooth(plane: &[u8], at: usize, size: usize) -> u8 {
    let rows = [at - size, at, at + size];
    let sum: u32 =
        rows.iter().flat_map(|&row| &plane[row - 1..=row + 1]).map(|&value| u32::from(value)).sum();
    ((2 * (sum + 4 * u32::from(plane[at])) + 13) / 26) as u8
}

/// `other` at factor 0, `value` at 1, and beyond; the fraction is dropped.
fn blend(other: u8, value: u8, factor: f32) -> u8 {
    (f32::from(other) + factor * (f32::from(value) - f32::from(other))) as u8
}
