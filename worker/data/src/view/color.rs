//! Operations on each pixel: colour jitter, grayscale, solarize.
//!
//! Semantics of torchvision's `ColorJitter` on tensors: factors are blends, clamped to [0, 1] after each operation, with
//! black (brightness), the mean luma of the image (contrast) or each pixel's luma (saturation); hue is shifted in HSV. Luma
//! has ITU-R 601's weights (.299, .587, .114); torchvision rounds the first to .2989 and Pillow all three to 1/65536.
//!
//! Operations run on short tiles, all on one before the next, so that a tile stays in the first-level cache. Only contrast
//! needs to see the whole image before: it splits the operations into two passes.

use kindred_proto::recipe::{ColorJitter, View};

use super::lanes::{Kernel, Wide};
use super::{Draws, Op};
use crate::philox::Stream;

/// Pixels of a tile: three planes of it fit into 12 KiB.
const TILE: usize = 1024;
/// Sums that run side by side; their order of addition is fixed, so that all machines agree to the bit.
const LANES: usize = 64;

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
        if self.ops.iter().any(Option::is_some) {
            Change { ops: self.ops, planes, channels }.dispatch();
        }
    }

    /// Whether all channels are alike afterwards.
    pub(super) fn end_in_grey(&self) -> bool {
        self.ops[4].is_some()
    }
}

#[cfg(test)]
impl ColorOps {
    /// One operation.
    pub(super) fn only(op: ColorOp) -> ColorOps {
        ColorOps { ops: [Some(op), None, None, None, None] }
    }
}

struct Change<'a> {
    ops: [Option<ColorOp>; 5],
    planes: &'a mut [f32],
    channels: usize,
}

impl Kernel for Change<'_> {
    #[inline(always)]
    fn run(self, _: Option<Wide>) {
        let Change { ops, planes, channels } = self;
        let contrast_at = ops.iter().position(|op| matches!(op, Some(ColorOp::Contrast(_))));
        let (before, after) = ops.split_at(contrast_at.unwrap_or(0));
        let mut mean = 0.0;
        if contrast_at.is_some() {
            let mut sum = 0.0;
            for at in (0..planes.len() / channels).step_by(TILE) {
                let mut tile = Tile::new(planes, channels, at);
                run_all(before, &mut tile, 0.0);
                sum += f64::from(luma_sum(&tile));
            }
            mean = (sum / (planes.len() / channels) as f64) as f32;
        }
        if after.iter().any(Option::is_some) {
            for at in (0..planes.len() / channels).step_by(TILE) {
                run_all(after, &mut Tile::new(planes, channels, at), mean);
            }
        }
    }
}

#[inline(always)]
fn run_all(ops: &[Option<ColorOp>], tile: &mut Tile<'_>, mean: f32) {
    for op in ops.iter().flatten() {
        op.run(tile, mean);
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

impl ColorOp {
    #[inline(always)]
    fn run(self, tile: &mut Tile<'_>, mean: f32) {
        match (self, tile) {
            (ColorOp::Brightness(factor), tile) => tile.blend(0.0, factor),
            (ColorOp::Contrast(factor), tile) => tile.blend(mean, factor),
            (ColorOp::Saturation(factor), Tile::Rgb(rgb)) => saturate(rgb, factor),
            (ColorOp::Hue(turn), Tile::Rgb(rgb)) => shift_hue(rgb, 6.0 * (turn - turn.floor())),
            (ColorOp::Grayscale, Tile::Rgb(rgb)) => remove_color(rgb),
            (ColorOp::Saturation(_) | ColorOp::Hue(_) | ColorOp::Grayscale, Tile::Grey(_)) => {}
        }
    }
}

impl<'a> Tile<'a> {
    /// The pixels from `at` on.
    #[inline(always)]
    fn new(planes: &'a mut [f32], channels: usize, at: usize) -> Tile<'a> {
        if channels == 1 {
            let end = planes.len().min(at + TILE);
            return Tile::Grey(&mut planes[at..end]);
        }
        let n_pixels = planes.len() / 3;
        let range = at..n_pixels.min(at + TILE);
        let (red, rest) = planes.split_at_mut(n_pixels);
        let (green, blue) = rest.split_at_mut(n_pixels);
        Tile::Rgb([&mut red[range.clone()], &mut green[range.clone()], &mut blue[range]])
    }

    #[inline(always)]
    fn blend(&mut self, other: f32, factor: f32) {
        match self {
            Tile::Grey(grey) => blend_plane(grey, other, factor),
            Tile::Rgb([red, green, blue]) => {
                blend_plane(red, other, factor);
                blend_plane(green, other, factor);
                blend_plane(blue, other, factor);
            }
        }
    }
}

#[inline(always)]
fn blend_plane(plane: &mut [f32], other: f32, factor: f32) {
    for value in plane {
        *value = blend(*value, other, factor);
    }
}

#[inline(always)]
fn saturate([red, green, blue]: &mut [&mut [f32]; 3], factor: f32) {
    for ((red, green), blue) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let grey = luma([*red, *green, *blue]);
        (*red, *green, *blue) =
            (blend(*red, grey, factor), blend(*green, grey, factor), blend(*blue, grey, factor));
    }
}

/// Turns the hue by `sixths` in [0, 6).
#[inline(always)]
fn shift_hue([red, green, blue]: &mut [&mut [f32]; 3], sixths: f32) {
    for ((red, green), blue) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let hue = Hue::of([*red, *green, *blue], sixths);
        (*red, *green, *blue) = (hue.channel(4.0), hue.channel(2.0), hue.channel(0.0));
    }
}

#[inline(always)]
fn remove_color([red, green, blue]: &mut [&mut [f32]; 3]) {
    for ((red, green), blue) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let grey = luma([*red, *green, *blue]);
        (*red, *green, *blue) = (grey, grey, grey);
    }
}

#[inline(always)]
fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

#[inline(always)]
fn blend(value: f32, other: f32, factor: f32) -> f32 {
    (factor * value + (1.0 - factor) * other).clamp(0.0, 1.0)
}

/// A turned hue with HSV's saturation and value. Without branches: each channel is
/// `max - range * clamp(min(k, 4 - k), 0, 1)`, with k in [0, 6) its place on the circle. All that is multiplied by the range
/// here, so that nothing is divided.
struct Hue {
    max: f32,
    range: f32,
    place: f32,
}

impl Hue {
    #[inline(always)]
    fn of([red, green, blue]: [f32; 3], sixths: f32) -> Hue {
        let max = greater(greater(red, green), blue);
        let range = max - less(less(red, green), blue);
        let place = if max == red {
            green - blue
        } else if max == green {
            2.0 * range + (blue - red)
        } else {
            4.0 * range + (red - green)
        };
        Hue { max, range, place: wrap(place + (1.0 + sixths) * range, 6.0 * range) }
    }

    #[inline(always)]
    fn channel(&self, offset: f32) -> f32 {
        let k = wrap(self.place + offset * self.range, 6.0 * self.range);
        self.max - less(greater(less(k, 4.0 * self.range - k), 0.0), self.range)
    }
}

/// The greater of two numbers: one instruction, since it need not say what comes of those that are none.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The lesser of two numbers.
#[inline(always)]
fn less(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Brings a place below two circles back into one.
#[inline(always)]
fn wrap(place: f32, circle: f32) -> f32 {
    if place >= circle { place - circle } else { place }
}

#[inline(always)]
fn luma_sum(tile: &Tile<'_>) -> f32 {
    let mut sums = [0.0; LANES];
    match tile {
        Tile::Grey(grey) => add_lanes(&mut sums, grey),
        Tile::Rgb([red, green, blue]) => add_lumas(&mut sums, [red, green, blue]),
    }
    sums.iter().sum()
}

#[inline(always)]
fn add_lanes(sums: &mut [f32; LANES], values: &[f32]) {
    let mut held = *sums;
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, value) in held.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    *sums = held;
    sums.iter_mut().zip(rest).for_each(|(sum, value)| *sum += value);
}

#[inline(always)]
fn add_lumas(sums: &mut [f32; LANES], [red, green, blue]: [&[f32]; 3]) {
    let mut held = *sums;
    let chunks =
        red.as_chunks::<LANES>().0.iter().zip(green.as_chunks::<LANES>().0).zip(blue.as_chunks::<LANES>().0);
    for ((red, green), blue) in chunks {
        for (((sum, red), green), blue) in held.iter_mut().zip(red).zip(green).zip(blue) {
            *sum += luma([*red, *green, *blue]);
        }
    }
    *sums = held;
    for at in red.len() / LANES * LANES..red.len() {
        sums[at % LANES] += luma([red[at], green[at], blue[at]]);
    }
}

/// Inverts the values at or above `threshold`.
pub(super) fn solarize(planes: &mut [f32], threshold: f32) {
    Invert { planes, threshold }.dispatch();
}

struct Invert<'a> {
    planes: &'a mut [f32],
    threshold: f32,
}

impl Kernel for Invert<'_> {
    #[inline(always)]
    fn run(self, _: Option<Wide>) {
        let invert = |value: f32| if value >= self.threshold { 1.0 - value } else { value };
        self.planes.iter_mut().for_each(|value| *value = invert(*value));
    }
}

#[cfg(test)]
mod tests;
