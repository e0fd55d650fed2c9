//! Cutting a window and scaling it: bytes in, planes of f32 in [0, 1] out.
//!
//! Bilinear with anti-aliasing: when an image shrinks, the triangle widens with it, as in Pillow and in torchvision with
//! `antialias=True`; when it grows, this is plain bilinear interpolation. The window is cut first, so that no pixel beyond
//! it matters. Sums are f32; Pillow rounds to bytes after each of the two passes, which differs by at most 1/255.
//!
//! Columns first, then rows: the first pass runs along whole rows of bytes, whatever their channels.

use super::Window;
use super::weigh::weigh;
use crate::dataset::Pixels;

/// Scales windows, reusing its buffers.
#[derive(Debug, Default)]
pub(crate) struct Resizer {
    columns: Taps,
    rows: Taps,
    /// One row of the window, scaled in height only.
    row: Vec<f32>,
}

/// For each output position, the first input position and the weights of those that follow.
#[derive(Debug, Default)]
struct Taps {
    starts: Vec<usize>,
    /// As many for each output position.
    weights: Vec<f32>,
    n_taps: usize,
}

impl Resizer {
    /// Scales `window` of `image` to `size` x `size`, into one plane per channel.
    pub(crate) fn resize(&mut self, image: Pixels<'_>, window: Window, size: u32, planes: &mut Vec<f32>) {
        self.columns.set(window.height, size, 1.0 / 255.0);
        self.rows.set(window.width, size, 1.0);
        planes.resize(size as usize * size as usize * image.channels as usize, 0.0);
        match image.channels {
            1 => self.scale::<1>(image, window, planes),
            _ => self.scale::<3>(image, window, planes),
        }
    }

    fn scale<const CHANNELS: usize>(&mut self, image: Pixels<'_>, window: Window, planes: &mut [f32]) {
        let n_values = window.width as usize * CHANNELS;
        self.row.resize(n_values, 0.0);
        let size = self.rows.starts.len();
        for (y, (top, weights)) in self.columns.iter().enumerate() {
            let source = |tap: usize| {
                let pixel = (window.top as usize + top + tap) * image.width as usize + window.left as usize;
                &image.bytes[pixel * CHANNELS..][..n_values]
            };
            weigh(weights, source, &mut self.row);
            let (row, _) = self.row.as_chunks::<CHANNELS>();
            for (x, (left, weights)) in self.rows.iter().enumerate() {
                let pixel = weigh_pixels(weights, &row[left..left + weights.len()]);
                for (channel, value) in pixel.into_iter().enumerate() {
                    planes[(channel * size + y) * size + x] = value;
                }
            }
        }
    }
}

/// Sums pixels, one per weight.
fn weigh_pixels<const CHANNELS: usize>(weights: &[f32], pixels: &[[f32; CHANNELS]]) -> [f32; CHANNELS] {
    let mut sums = [0.0; CHANNELS];
    for (weight, pixel) in weights.iter().zip(pixels) {
        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += weight * value);
    }
    sums
}

impl Taps {
    /// Sets the triangle filter that scales `n_in` positions to `n_out`, with weights that sum to `total`.
    fn set(&mut self, n_in: u32, n_out: u32, total: f64) {
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

    /// The first input position and the weights of each output position.
    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.starts.iter().copied().zip(self.weights.chunks_exact(self.n_taps))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::noise;

    /// The definition, in loops and f64: every output pixel is a weighted mean under a triangle.
    fn oracle(image: Pixels<'_>, window: Window, size: u32) -> Vec<f64> {
        let weights = |n_in: u32, at: u32| -> Vec<f64> {
            let scale = f64::from(n_in) / f64::from(size);
            let centre = (f64::from(at) + 0.5) * scale;
            let triangle =
                |idx: u32| (1.0 - ((f64::from(idx) + 0.5 - centre) / scale.max(1.0)).abs()).max(0.0);
            let raw: Vec<f64> = (0..n_in).map(triangle).collect();
            let sum: f64 = raw.iter().sum();
            raw.into_iter().map(|weight| weight / sum).collect()
        };
        let mut output = Vec::new();
        for channel in 0..image.channels {
            for y in 0..size {
                for x in 0..size {
                    let (rows, columns) = (weights(window.height, y), weights(window.width, x));
                    let mut value = 0.0;
                    for (dy, row) in rows.iter().enumerate() {
                        for (dx, column) in columns.iter().enumerate() {
                            let (y, x) = (window.top as usize + dy, window.left as usize + dx);
                            let at =
                                (y * image.width as usize + x) * image.channels as usize + channel as usize;
                            value += row * column * f64::from(image.bytes[at]) / 255.0;
                        }
                    }
                    output.push(value);
                }
            }
        }
        output
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn scaling_is_the_triangle_filter(
            (width, height) in (1u32..40, 1u32..40), size in 1u32..24, channels in prop::sample::select(vec![1u32, 3]),
            share in 0.0f64..1.0, seed: u64,
        ) {
            let bytes = noise((width * height * channels) as usize, seed);
            let image = Pixels { width, height, channels, bytes: &bytes };
            let (left, top) = ((f64::from(width) * share) as u32, (f64::from(height) * share) as u32);
            let window = Window { left, top, width: width - left, height: height - top };
            let mut planes = Vec::new();
            Resizer::default().resize(image, window, size, &mut planes);
            for (found, expected) in planes.iter().zip(oracle(image, window, size)) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} for {expected}");
            }
        }
    }

    #[test]
    fn an_image_of_the_right_size_is_kept_to_the_bit() {
        let bytes: Vec<u8> = (0..=255).collect();
        let image = Pixels { width: 16, height: 16, channels: 1, bytes: &bytes };
        let mut planes = Vec::new();
        Resizer::default().resize(image, Window::central_square(16, 16), 16, &mut planes);
        assert!(planes.iter().zip(&bytes).all(|(&value, &byte)| value == f32::from(byte) * (1.0 / 255.0)));
        assert_eq!((planes[0], planes[255]), (0.0, 1.0));
    }
}
