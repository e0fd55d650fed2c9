//! Operations on each pixel: colour jitter, grayscale, solarize.
//!
//! Semantics of torchvision's `ColorJitter` on tensors: factors are blends, clamped to [0, 1] after each operation, with
//! black (brightness), the mean luma of the image (contrast) or each pixel's luma (saturation); hue is shifted in HSV. Luma
//! has ITU-R 601's weights (.299, .587, .114); torchvision rounds the first to .2989 and Pillow all three to 1/65536.
//!
//! Operations run on short tiles, all on one before the next, so that a tile stays in the first-level cache. Only contrast
//! needs to see the whole image before: it splits the operations into two passes.

use kindred_proto::recipe::{ColorJitter, View};

use super::{Draws, Op};
use crate::philox::Stream;

/// Pixels of a tile: three planes of it fit into 12 KiB.
const TILE: usize = 1024;
/// Sums that run side by side; their order of addition is fixed, so that all machines agree to the bit.
const LANES: usize = 16;

/// One operation, with its factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ColorOp {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    /// Share of a turn.
    Hue(f32),
    Grayscale,
}

/// Up to five operations in the order in which they run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ColorOps {
    ops: [Option<ColorOp>; 5],
}

impl ColorOps {
    /// Draws what the view asks for; on one channel only brightness and contrast are left.
    pub(super) fn draw(view: &View, channels: usize, draws: Draws) -> ColorOps {
        let mut ops = [None; 5];
        if let Some(jitter) = &view.color_jitter {
            ops[..4].copy_from_slice(&draw_jitter(jitter, &mut draws.stream(Op::Jitter)));
        }
        if draws.stream(Op::Grayscale).chance(view.grayscale_probability) {
            ops[4] = Some(ColorOp::Grayscale);
        }
        if channels == 1 {
            let stays = |op: &ColorOp| matches!(op, ColorOp::Brightness(_) | ColorOp::Contrast(_));
            ops = ops.map(|op| op.filter(stays));
        }
        ColorOps { ops }
    }

    /// Runs all operations on planes in [0, 1].
    pub(super) fn run(&self, planes: &mut [f32], channels: usize) {
        let contrast_at = self.ops.iter().position(|op| matches!(op, Some(ColorOp::Contrast(_))));
        let (before, after) = self.ops.split_at(contrast_at.unwrap_or(0));
        let mut mean = 0.0;
        if contrast_at.is_some() {
            let mut sum = 0.0;
            for_each_tile(planes, channels, |tile| {
                before.iter().flatten().for_each(|op| op.run(tile, 0.0));
                sum += f64::from(luma_sum(tile));
            });
            mean = (sum / (planes.len() / channels) as f64) as f32;
        }
        if after.iter().any(Option::is_some) {
            for_each_tile(planes, channels, |tile| after.iter().flatten().for_each(|op| op.run(tile, mean)));
        }
    }
}

/// Draws whether, in which order and how much; everything is drawn always, so that no draw shifts another.
fn draw_jitter(jitter: &ColorJitter, stream: &mut Stream) -> [Option<ColorOp>; 4] {
    let happens = stream.chance(jitter.probability);
    let mut factor = |strength: f64| stream.uniform((1.0 - strength).max(0.0), 1.0 + strength) as f32;
    let mut ops = [
        (jitter.brightness > 0.0, ColorOp::Brightness(factor(jitter.brightness))),
        (jitter.contrast > 0.0, ColorOp::Contrast(factor(jitter.contrast))),
        (jitter.saturation > 0.0, ColorOp::Saturation(factor(jitter.saturation))),
        (jitter.hue > 0.0, ColorOp::Hue(stream.uniform(-jitter.hue, jitter.hue) as f32)),
    ];
    for last in (1..ops.len()).rev() {
        ops.swap(last, stream.below(last as u32 + 1) as usize);
    }
    ops.map(|(is_on, op)| (happens && is_on).then_some(op))
}

/// A run of pixels, by channel.
enum Tile<'a> {
    Grey(&'a mut [f32]),
    Rgb([&'a mut [f32]; 3]),
}

fn for_each_tile(planes: &mut [f32], channels: usize, mut run: impl FnMut(&mut Tile<'_>)) {
    if channels == 1 {
        return planes.chunks_mut(TILE).for_each(|grey| run(&mut Tile::Grey(grey)));
    }
    let (red, rest) = planes.split_at_mut(planes.len() / 3);
    let (green, blue) = rest.split_at_mut(red.len());
    let tiles = red.chunks_mut(TILE).zip(green.chunks_mut(TILE)).zip(blue.chunks_mut(TILE));
    tiles.for_each(|((red, green), blue)| run(&mut Tile::Rgb([red, green, blue])));
}

impl ColorOp {
    fn run(self, tile: &mut Tile<'_>, mean: f32) {
        match (self, tile) {
            (ColorOp::Brightness(factor), tile) => tile.each(|value| blend(value, 0.0, factor)),
            (ColorOp::Contrast(factor), tile) => tile.each(|value| blend(value, mean, factor)),
            (ColorOp::Saturation(factor), Tile::Rgb(rgb)) => each_pixel(rgb, |pixel| saturate(pixel, factor)),
            (ColorOp::Hue(turn), Tile::Rgb(rgb)) => {
                let sixths = 6.0 * (turn - turn.floor());
                each_pixel(rgb, |pixel| shift_hue(pixel, sixths));
            }
            (ColorOp::Grayscale, Tile::Rgb(rgb)) => each_pixel(rgb, |pixel| [luma(pixel); 3]),
            (ColorOp::Saturation(_) | ColorOp::Hue(_) | ColorOp::Grayscale, Tile::Grey(_)) => {}
        }
    }
}

impl Tile<'_> {
    fn each(&mut self, change: impl Fn(f32) -> f32) {
        let change = |plane: &mut [f32]| plane.iter_mut().for_each(|value| *value = change(*value));
        match self {
            Tile::Grey(grey) => change(grey),
            Tile::Rgb(rgb) => rgb.iter_mut().for_each(|plane| change(plane)),
        }
    }
}

fn each_pixel([red, green, blue]: &mut [&mut [f32]; 3], change: impl Fn([f32; 3]) -> [f32; 3]) {
    for ((red, green), blue) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        [*red, *green, *blue] = change([*red, *green, *blue]);
    }
}

fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

fn blend(value: f32, other: f32, factor: f32) -> f32 {
    (factor * value + (1.0 - factor) * other).clamp(0.0, 1.0)
}

fn saturate(pixel: [f32; 3], factor: f32) -> [f32; 3] {
    let grey = luma(pixel);
    pixel.map(|value| blend(value, grey, factor))
}

/// Turns the hue by `sixths` in [0, 6), keeping HSV's saturation and value. Without branches: each channel is
/// `max - (max - min) * clamp(min(k, 4 - k), 0, 1)`, with k in [0, 6) its place on the circle.
fn shift_hue([red, green, blue]: [f32; 3], sixths: f32) -> [f32; 3] {
    let max = red.max(green).max(blue);
    let range = max - red.min(green).min(blue);
    let per_range = if range > 0.0 { 1.0 / range } else { 0.0 };
    let hue = if max == red {
        (green - blue) * per_range
    } else if max == green {
        2.0 + (blue - red) * per_range
    } else {
        4.0 + (red - green) * per_range
    };
    let hue = wrap(hue + 1.0 + sixths);
    [4.0, 2.0, 0.0].map(|offset| {
        let k = wrap(hue + offset);
        max - range * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

/// Brings a place below 12 on the circle of six back into [0, 6).
fn wrap(place: f32) -> f32 {
    if place >= 6.0 { place - 6.0 } else { place }
}

fn luma_sum(tile: &Tile<'_>) -> f32 {
    let mut sums = [0.0; LANES];
    match tile {
        Tile::Grey(grey) => add_lanes(&mut sums, grey, 1.0),
        Tile::Rgb([red, green, blue]) => {
            add_lanes(&mut sums, red, 0.299);
            add_lanes(&mut sums, green, 0.587);
            add_lanes(&mut sums, blue, 0.114);
        }
    }
    sums.iter().sum()
}

fn add_lanes(sums: &mut [f32; LANES], values: &[f32], weight: f32) {
    for chunk in values.chunks(LANES) {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += weight * value);
    }
}

/// Inverts the values at or above `threshold`.
pub(super) fn solarize(planes: &mut [f32], threshold: f32) {
    planes.iter_mut().for_each(|value| *value = if *value >= threshold { 1.0 - *value } else { *value });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::philox::{Domain, Key};
    use crate::testing::noise;

    const OPS: [ColorOp; 5] = [
        ColorOp::Brightness(1.3),
        ColorOp::Contrast(0.6),
        ColorOp::Saturation(1.4),
        ColorOp::Hue(-0.17),
        ColorOp::Grayscale,
    ];

    /// Planes that fill one tile and a part of another.
    fn planes(channels: usize) -> Vec<f32> {
        noise(1100 * channels, 3).into_iter().map(|byte| f32::from(byte) / 255.0).collect()
    }

    fn run(ops: &[ColorOp], planes: &mut [f32], channels: usize) {
        let mut all = ColorOps::default();
        all.ops.iter_mut().zip(ops).for_each(|(slot, op)| *slot = Some(*op));
        all.run(planes, channels);
    }

    /// One operation on the whole image, in f64, as torchvision's documentation words it.
    fn oracle(op: ColorOp, pixels: &mut [[f64; 3]]) {
        let luma = |[r, g, b]: [f64; 3]| 0.299 * r + 0.587 * g + 0.114 * b;
        let blend = |a: f64, b: f64, factor: f32| {
            (a * f64::from(factor) + b * (1.0 - f64::from(factor))).clamp(0.0, 1.0)
        };
        let mean = pixels.iter().map(|&pixel| luma(pixel)).sum::<f64>() / pixels.len() as f64;
        for pixel in pixels {
            let grey = luma(*pixel);
            *pixel = match op {
                ColorOp::Brightness(factor) => pixel.map(|value| blend(value, 0.0, factor)),
                ColorOp::Contrast(factor) => pixel.map(|value| blend(value, mean, factor)),
                ColorOp::Saturation(factor) => pixel.map(|value| blend(value, grey, factor)),
                ColorOp::Hue(turn) => rgb(hsv(*pixel), f64::from(turn)),
                ColorOp::Grayscale => [grey; 3],
            };
        }
    }

    /// Hue in [0, 1), saturation and value, after Smith (SIGGRAPH 1978).
    fn hsv([r, g, b]: [f64; 3]) -> [f64; 3] {
        let (max, min) = (r.max(g).max(b), r.min(g).min(b));
        let range = max - min;
        let hue = if range == 0.0 {
            0.0
        } else if max == r {
            (g - b) / range
        } else if max == g {
            2.0 + (b - r) / range
        } else {
            4.0 + (r - g) / range
        };
        [(hue / 6.0).rem_euclid(1.0), if max == 0.0 { 0.0 } else { range / max }, max]
    }

    fn rgb([hue, saturation, value]: [f64; 3], turn: f64) -> [f64; 3] {
        let sixths = (hue + turn).rem_euclid(1.0) * 6.0;
        let (sector, rest) = (sixths.floor(), sixths.fract());
        let low = value * (1.0 - saturation);
        let falling = value * (1.0 - saturation * rest);
        let rising = value * (1.0 - saturation * (1.0 - rest));
        match sector as u32 % 6 {
            0 => [value, rising, low],
            1 => [falling, value, low],
            2 => [low, value, rising],
            3 => [low, falling, value],
            4 => [rising, low, value],
            _ => [value, low, falling],
        }
    }

    fn assert_close(planes: &[f32], pixels: &[[f64; 3]], what: &str) {
        for (at, pixel) in pixels.iter().enumerate() {
            for (channel, expected) in pixel.iter().enumerate() {
                let found = f64::from(planes[channel * pixels.len() + at]);
                assert!((found - expected).abs() < 1e-5, "{what}, pixel {at}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn any_order_of_operations_equals_one_by_one_on_the_whole_image() {
        let triples =
            OPS.iter().flat_map(|&a| OPS.iter().flat_map(move |&b| OPS.iter().map(move |&c| [a, b, c])));
        for ops in triples.filter(|[a, b, c]| a != b && b != c && a != c) {
            let mut found = planes(3);
            let pixel = |at: usize| [0, 1, 2].map(|channel| f64::from(found[channel * 1100 + at]));
            let mut pixels: Vec<[f64; 3]> = (0..1100).map(pixel).collect();
            run(&ops, &mut found, 3);
            ops.iter().for_each(|&op| oracle(op, &mut pixels));
            assert_close(&found, &pixels, &format!("{ops:?}"));
        }
    }

    #[test]
    fn values_worked_out_by_hand_come_out() {
        let cases = [
            (ColorOp::Brightness(2.0), [0.2, 0.4, 0.6], [0.4, 0.8, 1.0]),
            (ColorOp::Contrast(0.0), [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
            (ColorOp::Saturation(0.0), [1.0, 0.0, 0.0], [0.299, 0.299, 0.299]),
            (ColorOp::Hue(1.0 / 3.0), [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
            (ColorOp::Hue(-1.0 / 3.0), [0.5, 0.0, 0.0], [0.0, 0.0, 0.5]),
            (ColorOp::Hue(0.5), [0.25, 0.25, 0.25], [0.25, 0.25, 0.25]),
            (ColorOp::Grayscale, [0.0, 1.0, 0.0], [0.587, 0.587, 0.587]),
        ];
        for (op, mut pixel, expected) in cases {
            run(&[op], &mut pixel, 3);
            let error = pixel
                .iter()
                .zip(expected)
                .map(|(found, expected)| (found - expected).abs())
                .fold(0.0, f32::max);
            assert!(error < 1e-6, "{op:?}: {pixel:?} for {expected:?}");
        }
    }

    #[test]
    fn grey_contrast_moves_values_away_from_their_mean() {
        let mut grey = [0.2, 0.4, 0.6, 0.8];
        run(&[ColorOp::Contrast(1.5)], &mut grey, 1);
        let expected: [f32; 4] = [0.05, 0.35, 0.65, 0.95];
        assert!(
            grey.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6),
            "{grey:?}"
        );
    }

    #[test]
    fn saturation_hue_and_grayscale_leave_grey_images_alone() {
        let mut grey = planes(1);
        run(&OPS[2..], &mut grey, 1);
        assert_eq!(grey, planes(1));
    }

    fn drawn(jitter: &ColorJitter, sample: u64) -> [Option<ColorOp>; 4] {
        draw_jitter(jitter, &mut Stream::new(Key::of_epoch(1, 2, Domain::Views), sample, 0))
    }

    #[test]
    fn jitter_draws_all_orders_and_factors_in_their_range() {
        let jitter =
            ColorJitter { probability: 0.8, brightness: 0.4, contrast: 1.5, saturation: 0.2, hue: 0.1 };
        let mut orders = std::collections::HashMap::new();
        let mut n_jittered = 0;
        for ops in (0..24_000).map(|sample| drawn(&jitter, sample)) {
            let [Some(_), Some(_), Some(_), Some(_)] = ops else {
                assert_eq!(ops, [None; 4]);
                continue;
            };
            n_jittered += 1;
            *orders.entry(ops.map(|op| op.map(|op| std::mem::discriminant(&op)))).or_insert(0) += 1;
            for op in ops.into_iter().flatten() {
                let (value, range) = match op {
                    ColorOp::Brightness(value) => (value, 0.6..1.4),
                    ColorOp::Contrast(value) => (value, 0.0..2.5),
                    ColorOp::Saturation(value) => (value, 0.8..1.2),
                    ColorOp::Hue(value) => (value, -0.1..0.1),
                    ColorOp::Grayscale => unreachable!("not a part of jitter"),
                };
                assert!(range.contains(&value), "{op:?}");
            }
        }
        assert!((18_900..19_500).contains(&n_jittered), "{n_jittered} of 24,000");
        assert_eq!(orders.len(), 24);
        assert!(orders.values().all(|n| (680..920).contains(n)), "{orders:?}");
    }

    #[test]
    fn a_strength_of_zero_switches_its_part_off_and_shifts_no_other() {
        let jitter =
            ColorJitter { probability: 1.0, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
        for sample in 0..100 {
            let without = drawn(&ColorJitter { contrast: 0.0, ..jitter.clone() }, sample);
            let expected =
                drawn(&jitter, sample).map(|op| op.filter(|op| !matches!(op, ColorOp::Contrast(_))));
            assert_eq!(without, expected);
        }
    }

    #[test]
    fn solarize_inverts_at_and_above_its_threshold() {
        let mut planes = [0.0, 0.49, 0.5, 0.75, 1.0];
        solarize(&mut planes, 0.5);
        assert_eq!(planes, [0.0, 0.49, 0.5, 0.25, 0.0]);
    }
}
