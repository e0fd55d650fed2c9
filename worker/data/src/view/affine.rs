//! Turning, shearing and moving images of 8 bits, as Pillow's `Image.transform` does.
//!
//! Each pixel of the result is read where the transform says its middle comes from; one from outside has the fill colour.
//! Between pixels, values beyond the border are those of the border, and fractions of the result are dropped.

use kindred_proto::recipe::Interpolation;

use super::bytes::Bytes;

/// Where pixels come from: `x' = a x + b y + c`, `y' = d x + e y + f`, in pixels from the upper left corner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine([f64; 6]);

impl Affine {
    /// A turn about the middle, anticlockwise.
    pub(super) fn rotate(degrees: f64, size: usize) -> Affine {
        let (sin, cos) = (-degrees.to_radians()).sin_cos();
        let middle = size as f64 / 2.0;
        Affine([
            cos,
            sin,
            middle - (cos * middle + sin * middle),
            -sin,
            cos,
            middle - (cos * middle - sin * middle),
        ])
    }

    pub(super) fn shear_x(share: f64) -> Affine {
        Affine([1.0, share, 0.0, 0.0, 1.0, 0.0])
    }

    pub(super) fn shear_y(share: f64) -> Affine {
        Affine([1.0, 0.0, 0.0, share, 1.0, 0.0])
    }

    pub(super) fn translate_x(n_pixels: f64) -> Affine {
        Affine([1.0, 0.0, n_pixels, 0.0, 1.0, 0.0])
    }

    pub(super) fn translate_y(n_pixels: f64) -> Affine {
        Affine([1.0, 0.0, 0.0, 0.0, 1.0, n_pixels])
    }

    /// Transforms `bytes`; `fill` has one value per channel.
    pub(super) fn run(self, bytes: &mut Bytes, interpolation: Interpolation, fill: &[u8]) {
        bytes.keep();
        let (size, n_pixels) = (bytes.size, bytes.n_pixels());
        let planes = bytes.planes.chunks_exact_mut(n_pixels).zip(bytes.before.chunks_exact(n_pixels));
        for ((plane, before), &fill) in planes.zip(fill) {
            let before = Plane { values: before, size };
            for (at, value) in plane.iter_mut().enumerate() {
                let (x, y) = self.source_of(at % size, at / size);
                *value = if before.contains(x, y) { before.read(x, y, interpolation) } else { fill };
            }
        }
    }

    fn source_of(self, x: usize, y: usize) -> (f64, f64) {
        let ([a, b, c, d, e, f], x, y) = (self.0, x as f64 + 0.5, y as f64 + 0.5);
        (a * x + b * y + c, d * x + e * y + f)
    }
}

/// One plane to read from.
#[derive(Clone, Copy)]
struct Plane<'a> {
    values: &'a [u8],
    size: usize,
}

impl Plane<'_> {
    fn contains(self, x: f64, y: f64) -> bool {
        let range = 0.0..self.size as f64;
        range.contains(&x) && range.contains(&y)
    }

    fn read(self, x: f64, y: f64, interpolation: Interpolation) -> u8 {
        match interpolation {
            Interpolation::Nearest => self.values[y as usize * self.size + x as usize],
            Interpolation::Bilinear => self.between(x, y, [0, 1], |[a, b], share| a + (b - a) * share),
            Interpolation::Bicubic => self.between(x, y, [-1, 0, 1, 2], cubic),
        }
    }

    /// Reads between the middles of pixels, along rows first; `steps` lead from the pixel before to those that count.
    fn between<const N: usize>(
        self,
        x: f64,
        y: f64,
        steps: [i64; N],
        mix: impl Fn([f64; N], f64) -> f64,
    ) -> u8 {
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let inside = |at: i64| at.clamp(0, self.size as i64 - 1) as usize;
        let row = |step: i64| {
            let row = inside(top as i64 + step) * self.size;
            mix(steps.map(|step| f64::from(self.values[row + inside(left as i64 + step)])), x - left)
        };
        mix(steps.map(row), y - top) as u8
    }
}

/// The cubic through the middle two of four values whose slopes there are the differences of their neighbours: Keys' with
/// parameter -1 (IEEE ASSP 29, 1981), which is Pillow's for transforms.
fn cubic([a, b, c, d]: [f64; 4], share: f64) -> f64 {
    b + share * (c - a + share * (2.0 * (a - b) + c - d + share * (b - a + d - c)))
}
