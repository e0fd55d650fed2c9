//! Gaussian blur: a true Gaussian, in two passes, with mirrored borders.
//!
//! The kernel reaches three standard deviations, rounded up, and sums to one. torchvision's tensor blur is the same with
//! a kernel of fixed size (23 in the published recipes: the same to 0.3 % of the mass at sigma 2). Pillow's `GaussianBlur`,
//! which the original MoCo v2 code calls, approximates the same Gaussian by three box filters and repeats the border.

use kindred_proto::recipe::GaussianBlur;

use super::lanes::{Kernel, Wide};
use super::weigh::weigh;
use crate::philox::Stream;

/// Buffers of the blur.
#[derive(Debug, Default)]
pub(super) struct BlurScratch {
    kernel: Vec<f32>,
    /// A copy of the plane.
    plane: Vec<f32>,
    /// One row, with its mirrored borders.
    row: Vec<f32>,
}

/// Draws the standard deviation in pixels, or that there is no blur.
pub(super) fn draw(blur: &GaussianBlur, stream: &mut Stream) -> Option<f64> {
    let happens = stream.chance(blur.probability);
    let sigma = stream.uniform(blur.sigma_min, blur.sigma_max);
    (happens && sigma > 0.0).then_some(sigma)
}

/// Blurs square planes of side `size` in place.
pub(super) fn blur(planes: &mut [f32], size: usize, sigma: f64, scratch: &mut BlurScratch) {
    // A mirror without its edge repeats no further than size - 1 pixels.
    let radius = ((3.0 * sigma).ceil() as usize).min(size - 1);
    set_kernel(&mut scratch.kernel, radius, sigma);
    scratch.row.resize(size + 2 * radius, 0.0);
    Blur { planes, size, radius, scratch }.dispatch();
}

struct Blur<'a> {
    planes: &'a mut [f32],
    size: usize,
    radius: usize,
    scratch: &'a mut BlurScratch,
}

impl Kernel for Blur<'_> {
    #[inline(always)]
    fn run(self, _: Option<Wide>) {
        let Blur { planes, size, radius, scratch } = self;
        for plane in planes.chunks_exact_mut(size * size) {
            scratch.plane.clear();
            scratch.plane.extend_from_slice(plane);
            for (y, output) in plane.chunks_exact_mut(size).enumerate() {
                let source = |tap: usize| &scratch.plane[mirror(y + tap, radius, size) * size..][..size];
                weigh(&scratch.kernel, source, &mut scratch.row[radius..radius + size]);
                mirror_borders(&mut scratch.row, radius);
                weigh(&scratch.kernel, |tap| &scratch.row[tap..tap + size], output);
            }
        }
    }
}

fn set_kernel(kernel: &mut Vec<f32>, radius: usize, sigma: f64) {
    let weight = |at: usize| (-0.5 * ((at as f64 - radius as f64) / sigma).powi(2)).exp();
    let sum: f64 = (0..=2 * radius).map(weight).sum();
    kernel.clear();
    kernel.extend((0..=2 * radius).map(|at| (weight(at) / sum) as f32));
}

/// The row or column that stands at `at - radius` when the borders are mirrored without their edge.
fn mirror(at: usize, radius: usize, size: usize) -> usize {
    let at = at.abs_diff(radius);
    if at < size { at } else { 2 * (size - 1) - at }
}

fn mirror_borders(row: &mut [f32], radius: usize) {
    let last = row.len() - 1;
    for at in 0..radius {
        row[at] = row[2 * radius - at];
        row[last - at] = row[last - 2 * radius + at];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in loops and f64.
    fn oracle(plane: &[f32], size: usize, sigma: f64) -> Vec<f64> {
        let radius = ((3.0 * sigma).ceil() as i64).min(size as i64 - 1);
        let side = size as i64;
        let reflect = |at: i64| {
            if at < 0 {
                -at
            } else if at >= side {
                2 * (side - 1) - at
            } else {
                at
            }
        };
        let weight = |at: i64| (-(at * at) as f64 / (2.0 * sigma * sigma)).exp();
        let mut output = Vec::new();
        for y in 0..side {
            for x in 0..side {
                let (mut sum, mut weights) = (0.0, 0.0);
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let value = plane[(reflect(y + dy) * side + reflect(x + dx)) as usize];
                        sum += weight(dy) * weight(dx) * f64::from(value);
                        weights += weight(dy) * weight(dx);
                    }
                }
                output.push(sum / weights);
            }
        }
        output
    }

    fn planes(size: usize, n_planes: usize) -> Vec<f32> {
        (0..size * size * n_planes).map(|at| (at * 7919 % 1009) as f32 / 1008.0).collect()
    }

    #[test]
    fn blur_is_the_gaussian_of_its_definition() {
        for (size, sigma) in
            [(1, 1.0), (2, 2.0), (5, 0.1), (7, 2.0), (28, 0.7), (33, 2.0), (64, 1.3), (70, 6.0)]
        {
            let source = planes(size, 3);
            let mut blurred = source.clone();
            blur(&mut blurred, size, sigma, &mut BlurScratch::default());
            for (found, source) in blurred.chunks(size * size).zip(source.chunks(size * size)) {
                for (found, expected) in found.iter().zip(oracle(source, size, sigma)) {
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-5,
                        "{size} {sigma}: {found} for {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn buffers_of_another_size_change_nothing() {
        let mut scratch = BlurScratch::default();
        blur(&mut planes(50, 3), 50, 2.0, &mut scratch);
        let (mut reused, mut fresh) = (planes(9, 1), planes(9, 1));
        blur(&mut reused, 9, 0.8, &mut scratch);
        blur(&mut fresh, 9, 0.8, &mut BlurScratch::default());
        assert_eq!(reused, fresh);
    }

    #[test]
    fn a_flat_image_stays_flat() {
        let mut flat = vec![0.25; 20 * 20];
        blur(&mut flat, 20, 1.7, &mut BlurScratch::default());
        assert!(flat.iter().all(|value| (value - 0.25).abs() < 1e-6));
    }
}
