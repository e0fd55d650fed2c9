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
        if !is_grayscale_late(view) {
            ops[4] = draw_grayscale(view, draws);
        }
        if channels == 1 {
            let stays = |op: &ColorOp| matches!(op, ColorOp::Brightness(_) | ColorOp::Contrast(_));
            ops = ops.map(|op| op.filter(stays));
        }
        ColorOps { ops }
    }

    /// Draws what comes after RandAugment: grayscale, where that operation asks for it.
    pub(super) fn draw_late(view: &View, channels: usize, draws: Draws) -> ColorOps {
        let mut ops = [None; 5];
        if is_grayscale_late(view) && channels == 3 {
            ops[4] = draw_grayscale(view, draws);
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

fn is_grayscale_late(view: &View) -> bool {
    view.rand_augment.as_ref().is_some_and(|rand_augment| rand_augment.before_grayscale)
}

fn draw_grayscale(view: &View, draws: Draws) -> Option<ColorOp> {
    draws.stream(Op::Grayscale).chance(view.grayscale_probability).then_some(ColorOp::Grayscale)
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
mod tests;
