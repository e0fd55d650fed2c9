//! Cutting a window and scaling it: bytes in, planes of f32 in [0, 1] out.
//!
//! Bilinear with anti-aliasing: when an image shrinks, the triangle widens with it, as in Pillow and in torchvision with
//! `antialias=True`; when it grows, this is plain bilinear interpolation. The window is cut first, so that no pixel beyond
//! it matters. Sums are f32; Pillow rounds to bytes after each of the two passes, which differs by at most 1/255.
//!
//! Each row of the window is split by channel and scaled in width; of such rows those are kept that the next row of the
//! result is a sum of.

use super::Window;
use super::lanes::{Kernel, Wide};
use super::taps::Taps;
use super::weigh::weigh;
use crate::dataset::Pixels;

/// Scales windows, reusing its buffers.
#[derive(Debug, Default)]
pub(crate) struct Resizer {
    across: Taps,
    down: Taps,
    /// One row of the window, by channel; zeros follow each channel.
    row: Vec<f32>,
    /// The newest rows that are scaled in width, by channel.
    ring: Vec<f32>,
    /// Where the rows that are summed lie in `ring`.
    places: Vec<usize>,
}

impl Resizer {
    /// Scales `window` of `image` to `size` x `size`, into one plane per channel.
    pub(crate) fn resize(&mut self, image: Pixels<'_>, window: Window, size: u32, planes: &mut Vec<f32>) {
        self.across.set(window.width, size, 1.0);
        self.across.set_blocks();
        self.down.set(window.height, size, 1.0 / 255.0);
        planes.resize(size as usize * size as usize * image.channels as usize, 0.0);
        match image.channels {
            1 => Scale::<1> { resizer: self, image, window, planes }.dispatch(),
            _ => Scale::<3> { resizer: self, image, window, planes }.dispatch(),
        }
    }
}

struct Scale<'a, const CHANNELS: usize> {
    resizer: &'a mut Resizer,
    image: Pixels<'a>,
    window: Window,
    planes: &'a mut [f32],
}

impl<const CHANNELS: usize> Kernel for Scale<'_, CHANNELS> {
    #[inline(always)]
    fn run(self, wide: Option<Wide>) {
        let Resizer { across, down, row, ring, places } = self.resizer;
        let (width, size) = (self.window.width as usize, down.starts.len());
        let (padded, n_kept) = (width + Taps::PADDING, down.n_taps);
        row.clear();
        row.resize(padded * CHANNELS, 0.0);
        ring.resize(n_kept * size * CHANNELS, 0.0);
        let mut next = 0;
        for (y, (top, weights)) in down.iter().enumerate() {
            for source in next.max(top)..top + n_kept {
                let pixel = (self.window.top as usize + source) * self.image.width as usize;
                let start = (pixel + self.window.left as usize) * CHANNELS;
                split::<CHANNELS>(wide, &self.image.bytes[start..][..width * CHANNELS], row, padded);
                let scaled = &mut ring[source % n_kept * size * CHANNELS..][..size * CHANNELS];
                across.apply::<CHANNELS>(wide, row, scaled);
            }
            next = top + n_kept;
            places.clear();
            places.extend((top..next).map(|source| source % n_kept * size * CHANNELS));
            for channel in 0..CHANNELS {
                let source = |tap: usize| &ring[places[tap] + channel * size..][..size];
                weigh(weights, source, &mut self.planes[(channel * size + y) * size..][..size]);
            }
        }
    }
}

/// Writes pixels as floats by channel, each channel's at a multiple of `padded`.
#[inline(always)]
fn split<const CHANNELS: usize>(wide: Option<Wide>, bytes: &[u8], row: &mut [f32], padded: usize) {
    if CHANNELS == 1 {
        row.iter_mut().zip(bytes).for_each(|(value, &byte)| *value = f32::from(byte));
        return;
    }
    let (red, rest) = row.split_at_mut(padded);
    let (green, blue) = rest.split_at_mut(padded);
    let n_done = match wide {
        Some(wide) => wide.split(bytes, [&mut *red, &mut *green, &mut *blue]),
        None => 0,
    };
    let values = red.iter_mut().zip(green).zip(blue).skip(n_done);
    for (((red, green), blue), pixel) in values.zip(bytes.as_chunks::<3>().0.iter().skip(n_done)) {
        [*red, *green, *blue] = pixel.map(f32::from);
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
    fn plain_loops_give_the_bits_of_wide_registers() {
        let bytes = noise(300 * 90 * 3, 4);
        let image = Pixels { width: 300, height: 90, channels: 3, bytes: &bytes };
        for (left, width, size) in
            [(0, 300, 224), (7, 60, 64), (1, 299, 96), (2, 290, 40), (0, 300, 18), (3, 5, 33)]
        {
            let window = Window { left, top: 3, width, height: 80 };
            let (mut resizer, mut wide) = (Resizer::default(), Vec::new());
            resizer.resize(image, window, size, &mut wide);
            let mut plain = vec![0.0; wide.len()];
            Scale::<3> { resizer: &mut resizer, image, window, planes: &mut plain }.run(None);
            assert!(wide == plain, "{width} to {size}");
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
