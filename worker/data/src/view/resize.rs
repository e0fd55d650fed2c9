//! Cutting a window and scaling it: bytes in, planes of f32 in [0, 1] out.
//!
//! Bilinear with anti-aliasing: when an image shrinks, the triangle widens with it, as in Pillow and in torchvision with
//! `antialias=True`; when it grows, this is plain bilinear interpolation. The window is cut first, so that no pixel beyond
//! it matters. Values are rounded to bytes after each of the two passes, as Pillow's are.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions};

use super::Window;
use crate::dataset::Pixels;

/// Scales windows, reusing its buffers.
#[derive(Debug, Default)]
pub(crate) struct Resizer {
    inner: fast_image_resize::Resizer,
    bytes: Vec<u8>,
}

impl Resizer {
    /// Scales `window` of `image` to `size` x `size`, into one plane per channel.
    pub(crate) fn resize(&mut self, image: Pixels<'_>, window: Window, size: u32, planes: &mut Vec<f32>) {
        self.bytes.resize(size as usize * size as usize * image.channels as usize, 0);
        match image.channels {
            1 => self.scale::<U8>(image, window, size),
            _ => self.scale::<U8x3>(image, window, size),
        }
        planes.resize(self.bytes.len(), 0.0);
        match image.channels {
            1 => planes.iter_mut().zip(&self.bytes).for_each(|(value, &byte)| *value = unit(byte)),
            _ => split(&self.bytes, planes),
        }
    }

    fn scale<P: PixelTrait + InnerPixel>(&mut self, image: Pixels<'_>, window: Window, size: u32) {
        let whole = TypedImageRef::<P>::from_buffer(image.width, image.height, image.bytes)
            .expect("an image has as many bytes as its size says");
        let cut = TypedCroppedImage::from_ref(&whole, window.left, window.top, window.width, window.height)
            .expect("a window lies in its image");
        let mut scaled = TypedImage::<P>::from_buffer(size, size, &mut self.bytes)
            .expect("the buffer was made for this size");
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
        self.inner.resize_typed(&cut, &mut scaled, &options).expect("the whole of the cut is a valid source");
    }
}

/// Splits RGB bytes into planes.
fn split(bytes: &[u8], planes: &mut [f32]) {
    let n_pixels = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(n_pixels);
    let (green, blue) = rest.split_at_mut(n_pixels);
    let planes = red.iter_mut().zip(green).zip(blue);
    for (((red, green), blue), pixel) in planes.zip(bytes.chunks_exact(3)) {
        (*red, *green, *blue) = (unit(pixel[0]), unit(pixel[1]), unit(pixel[2]));
    }
}

fn unit(byte: u8) -> f32 {
    f32::from(byte) * (1.0 / 255.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn scaling_is_the_triangle_filter_to_a_byte(
            (width, height) in (1u32..40, 1u32..40), size in 1u32..24, channels in prop::sample::select(vec![1u32, 3]),
            share in 0.0f64..1.0, seed: u64,
        ) {
            let n_bytes = (width * height * channels) as usize;
            let bytes: Vec<u8> = (0..n_bytes as u64).map(|at| (seed.wrapping_add(at).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
            let image = Pixels { width, height, channels, bytes: &bytes };
            let (left, top) = ((f64::from(width) * share) as u32, (f64::from(height) * share) as u32);
            let window = Window { left, top, width: width - left, height: height - top };
            let mut planes = Vec::new();
            Resizer::default().resize(image, window, size, &mut planes);
            for (found, expected) in planes.iter().zip(oracle(image, window, size)) {
                prop_assert!((f64::from(*found) - expected).abs() < 1.5 / 255.0, "{found} for {expected}");
            }
        }
    }

    #[test]
    fn an_image_of_the_right_size_is_kept_to_the_bit() {
        let bytes: Vec<u8> = (0..=255).collect();
        let image = Pixels { width: 16, height: 16, channels: 1, bytes: &bytes };
        let mut planes = Vec::new();
        Resizer::default().resize(image, Window::central_square(16, 16), 16, &mut planes);
        assert!(planes.iter().zip(&bytes).all(|(&value, &byte)| value == unit(byte)));
        assert_eq!((planes[0], planes[255]), (0.0, 1.0));
    }
}
