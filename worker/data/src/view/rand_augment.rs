//! RandAugment: a few operations on pixels of 8 bits, drawn from a pool.
//!
//! Everything is drawn always, so that no draw shifts another.

use std::f64::consts::TAU;

use kindred_proto::recipe::{Fill, ImageOp, Interpolation, Level, RandAugment, RandAugmentOp};

use super::affine::Affine;
use super::bytes::Bytes;
use crate::philox::Stream;

/// Runs what is drawn on square planes in [0, 1] of side `size`; `mean` is the data's, one value per channel.
pub(super) fn run(
    recipe: &RandAugment,
    stream: &mut Stream,
    (planes, size): (&mut [f32], usize),
    mean: &[f64],
    bytes: &mut Bytes,
) {
    let mut is_set = false;
    for _ in 0..recipe.n_ops {
        let Some(drawn) = draw(recipe, stream) else { continue };
        if !is_set {
            bytes.set(planes, size);
            is_set = true;
        }
        drawn.run(bytes, &fill(recipe.fill, mean));
    }
    if is_set {
        bytes.write(planes);
    }
}

/// An operation that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Drawn {
    op: ImageOp,
    argument: f64,
    interpolation: Interpolation,
}

fn draw(recipe: &RandAugment, stream: &mut Stream) -> Option<Drawn> {
    let op = recipe.ops[stream.below(recipe.ops.len() as u32) as usize];
    let happens = stream.chance(recipe.probability);
    let level = draw_level(recipe.level, stream);
    let sign = if stream.chance(0.5) { -1.0 } else { 1.0 };
    let interpolation = recipe.interpolations[stream.below(recipe.interpolations.len() as u32) as usize];
    let argument = argument(op, level) * if has_sign(op.op) { sign } else { 1.0 };
    (happens && op.op != ImageOp::Identity).then_some(Drawn { op: op.op, argument, interpolation })
}

fn draw_level(level: Level, stream: &mut Stream) -> f64 {
    match level {
        Level::Normal { mean, std } => {
            // Box and Muller: 1 - u lies in (0, 1].
            let (radius, turn) = ((-2.0 * (1.0 - stream.unit()).ln()).sqrt(), TAU * stream.unit());
            (mean + std * radius * turn.cos()).clamp(0.0, 10.0)
        }
        Level::Uniform { min, max } => f64::from(min + stream.below(max - min + 1)),
    }
}

/// What an operation is given at `level`. Whole numbers are rounded towards that of level 0.
fn argument(op: RandAugmentOp, level: f64) -> f64 {
    let span = (op.to - op.from) * level / 10.0;
    match op.op {
        ImageOp::Posterize | ImageOp::Solarize | ImageOp::SolarizeAdd => op.from + span.trunc(),
        _ => op.from + span,
    }
}

fn has_sign(op: ImageOp) -> bool {
    use ImageOp::{Rotate, ShearX, ShearY, TranslateX, TranslateY};
    matches!(op, Rotate | ShearX | ShearY | TranslateX | TranslateY)
}

fn fill(fill: Fill, mean: &[f64]) -> Vec<u8> {
    let value = |&mean: &f64| match fill {
        Fill::Mean => (255.0 * mean).round_ties_even() as u8,
        Fill::Black => 0,
    };
    mean.iter().map(value).collect()
}

impl Drawn {
    fn run(self, bytes: &mut Bytes, fill: &[u8]) {
        let (argument, factor, size) = (self.argument, self.argument as f32, bytes.size);
        match self.op {
            ImageOp::Identity => {}
            ImageOp::AutoContrast => bytes.auto_contrast(),
            ImageOp::Equalize => bytes.equalize(),
            ImageOp::Invert => bytes.invert(),
            ImageOp::Posterize => bytes.posterize(argument as u32),
            ImageOp::Solarize => bytes.solarize(argument as u32),
            ImageOp::SolarizeAdd => bytes.solarize_add(argument as u8),
            ImageOp::Color => bytes.color(factor),
            ImageOp::Contrast => bytes.contrast(factor),
            ImageOp::Brightness => bytes.brightness(factor),
            ImageOp::Sharpness => bytes.sharpness(factor),
            ImageOp::Rotate => self.transform(Affine::rotate(argument, size), bytes, fill),
            ImageOp::ShearX => self.transform(Affine::shear_x(argument), bytes, fill),
            ImageOp::ShearY => self.transform(Affine::shear_y(argument), bytes, fill),
            ImageOp::TranslateX => self.transform(Affine::translate_x(self.n_pixels(size)), bytes, fill),
            ImageOp::TranslateY => self.transform(Affine::translate_y(self.n_pixels(size)), bytes, fill),
        }
    }

    fn transform(self, affine: Affine, bytes: &mut Bytes, fill: &[u8]) {
        affine.run(bytes, self.interpolation, fill);
    }

    /// How far a translation moves: whole pixels where none is read between pixels.
    fn n_pixels(self, size: usize) -> f64 {
        let n_pixels = self.argument * size as f64;
        if self.interpolation == Interpolation::Nearest { n_pixels.trunc() } else { n_pixels }
    }
}

#[cfg(test)]
mod tests;
