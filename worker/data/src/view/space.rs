//! Colour spaces.
//!
//! Source: the matrices and constants of scikit-image's `skimage.color`, after ITU-R BT.601 and CIE 15; checked against
//! it in the reference case `infomin/09`.

use kindred_proto::recipe::ColorSpace;

type Matrix = [[f64; 3]; 3];

const YDBDR: Matrix = [[0.299, 0.587, 0.114], [-0.45, -0.883, 1.333], [-1.333, 1.116, 0.217]];
const YIQ: Matrix =
    [[0.299, 0.587, 0.114], [0.59590059, -0.27455667, -0.32134392], [0.21153661, -0.52273617, 0.31119955]];
const YPBPR: Matrix = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]];
const YCBCR: Matrix = [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]];
const XYZ: Matrix =
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]];
/// D65 under the observer of 2 degrees.
const WHITE: [f64; 3] = [0.95047, 1.0, 1.08883];

/// A pixel of sRGB in [0, 1] in another colour space; see [`ColorSpace`] for the ranges.
pub fn from_rgb(space: ColorSpace, rgb: [f64; 3]) -> [f64; 3] {
    match space {
        ColorSpace::Rgb => rgb,
        ColorSpace::Lab => lab(rgb),
        ColorSpace::YDbDr => product(&YDBDR, rgb),
        ColorSpace::Yiq => product(&YIQ, rgb),
        ColorSpace::YPbPr => product(&YPBPR, rgb),
        ColorSpace::YCbCr => {
            let [y, cb, cr] = product(&YCBCR, rgb);
            [y + 16.0, cb + 128.0, cr + 128.0]
        }
    }
}

fn lab(rgb: [f64; 3]) -> [f64; 3] {
    let xyz = product(&XYZ, rgb.map(linear));
    let [x, y, z] = [0, 1, 2].map(|at| lightness(xyz[at] / WHITE[at]));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// sRGB without its gamma.
fn linear(value: f64) -> f64 {
    if value > 0.04045 { ((value + 0.055) / 1.055).powf(2.4) } else { value / 12.92 }
}

/// CIE's cube root, straight near black.
fn lightness(share: f64) -> f64 {
    if share > 0.008856 { share.cbrt() } else { 7.787 * share + 16.0 / 116.0 }
}

fn product(matrix: &Matrix, [x, y, z]: [f64; 3]) -> [f64; 3] {
    matrix.map(|[a, b, c]| a * x + b * y + c * z)
}

/// Changes planes of sRGB in [0, 1].
pub(super) fn change(planes: &mut [f32], space: ColorSpace) {
    if space == ColorSpace::Rgb {
        return;
    }
    let (red, rest) = planes.split_at_mut(planes.len() / 3);
    let (green, blue) = rest.split_at_mut(red.len());
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let pixel = from_rgb(space, [*red, *green, *blue].map(f64::from));
        [*red, *green, *blue] = pixel.map(|value| value as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_and_black_are_where_the_ranges_end() {
        let ends = [
            (ColorSpace::Rgb, [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
            (ColorSpace::Lab, [100.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            (ColorSpace::YDbDr, [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            (ColorSpace::Yiq, [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            (ColorSpace::YPbPr, [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            (ColorSpace::YCbCr, [235.0, 128.0, 128.0], [16.0, 128.0, 128.0]),
        ];
        for (space, white, black) in ends {
            for (rgb, expected) in [([1.0; 3], white), ([0.0; 3], black)] {
                let found = from_rgb(space, rgb);
                let far = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(far < 0.02, "{space:?}: {found:?} for {expected:?}");
            }
        }
    }

    #[test]
    fn planes_change_pixel_by_pixel() {
        let mut planes = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7];
        change(&mut planes, ColorSpace::Lab);
        for (at, rgb) in [[0.1f32, 0.2, 0.3], [0.9, 0.8, 0.7]].into_iter().enumerate() {
            let expected = from_rgb(ColorSpace::Lab, rgb.map(f64::from));
            assert_eq!([planes[at], planes[2 + at], planes[4 + at]], expected.map(|value| value as f32));
        }
    }
}
