//! What each image is turned into.

use super::data::{DataSource, per_channel};
use crate::{
    scope::{Scope, positive_to},
    v1,
};

mod color;
mod crop;
mod image_op;
mod published;
mod rand_augment;
mod space;

pub use color::{ColorJitter, GaussianBlur, Solarize};
pub use crop::{Jigsaw, RandomResizedCrop};
pub use image_op::ImageOp;
pub use rand_augment::{Fill, Interpolation, Level, RandAugment, RandAugmentOp};
pub use space::{ColorSpace, Statistics};

/// One view: the operations in the order in which they run.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Cut and scale.
    pub crop: RandomResizedCrop,
    /// Brightness, contrast, saturation and hue, in random order.
    pub color_jitter: Option<ColorJitter>,
    /// Probability of turning grey.
    pub grayscale_probability: f64,
    /// Gaussian blur.
    pub blur: Option<GaussianBlur>,
    /// Inversion of bright pixels.
    pub solarize: Option<Solarize>,
    /// Random operations on pixels of 8 bits.
    pub rand_augment: Option<RandAugment>,
    /// Probability of a mirror image.
    pub horizontal_flip_probability: f64,
    /// Random patches of a grid of cells, instead of the whole.
    pub jigsaw: Option<Jigsaw>,
    /// What the network sees. Default RGB, or grey for grey images.
    pub color_space: ColorSpace,
    /// How this view is normalised. Default: by the statistics of the data, or of the colour space.
    pub statistics: Option<Statistics>,
}

impl View {
    /// How many images the network sees of this view.
    pub fn n_patches(&self) -> u32 {
        self.jigsaw.as_ref().map_or(1, |jigsaw| jigsaw.grid * jigsaw.grid)
    }

    /// Side in pixels of what the network sees.
    pub fn output_size(&self) -> u32 {
        self.jigsaw.as_ref().map_or(self.crop.size, |jigsaw| jigsaw.patch_size)
    }

    /// What is not given is that of `size` pixels of `data`.
    pub(super) fn check(wire: &v1::View, (size, data): (u32, &DataSource), at: &Scope) -> Self {
        let probability = |field, given| at.number(field, given, 0.0, 0.0..=1.0);
        let default =
            if wire.jigsaw.is_some() { Self::jigsaw(size).crop } else { RandomResizedCrop::published(size) };
        let crop = RandomResizedCrop::check(&wire.crop.unwrap_or_default(), default, &at.field("crop"));
        let color_space = ColorSpace::check(wire.color_space, at);
        Self {
            color_jitter: wire.color_jitter.map(|wire| ColorJitter::check(&wire, &at.field("color_jitter"))),
            grayscale_probability: probability("grayscale_probability", wire.grayscale_probability),
            blur: wire.blur.map(|wire| GaussianBlur::check(&wire, &at.field("blur"))),
            solarize: wire.solarize.map(|wire| Solarize::check(&wire, &at.field("solarize"))),
            rand_augment: wire
                .rand_augment
                .as_ref()
                .map(|wire| RandAugment::check(wire, &at.field("rand_augment"))),
            horizontal_flip_probability: probability(
                "horizontal_flip_probability",
                wire.horizontal_flip_probability,
            ),
            jigsaw: wire.jigsaw.map(|wire| Jigsaw::check(&wire, crop.size, &at.field("jigsaw"))),
            statistics: check_statistics((&wire.mean, &wire.std), (color_space, data), at),
            color_space,
            crop,
        }
    }

    pub(super) fn to_wire(&self) -> v1::View {
        let (mean, std) =
            self.statistics.as_ref().map(|found| (found.mean.clone(), found.std.clone())).unwrap_or_default();
        v1::View {
            crop: Some(self.crop.to_wire()),
            color_jitter: self.color_jitter.as_ref().map(ColorJitter::to_wire),
            grayscale_probability: Some(self.grayscale_probability),
            blur: self.blur.as_ref().map(GaussianBlur::to_wire),
            solarize: self.solarize.as_ref().map(Solarize::to_wire),
            horizontal_flip_probability: Some(self.horizontal_flip_probability),
            rand_augment: self.rand_augment.as_ref().map(RandAugment::to_wire),
            jigsaw: self.jigsaw.as_ref().map(Jigsaw::to_wire),
            color_space: self.color_space.to_wire().into(),
            mean,
            std,
        }
    }
}

/// Where one of the two is given, the other is that of the data or of the colour space.
fn check_statistics(
    (mean, std): (&[f64], &[f64]),
    (space, data): (ColorSpace, &DataSource),
    at: &Scope,
) -> Option<Statistics> {
    let published = space.statistics();
    if published.is_none() && mean.is_empty() && std.is_empty() {
        return None;
    }
    let default = published.unwrap_or_else(|| Statistics { mean: data.mean.clone(), std: data.std.clone() });
    for &value in mean {
        at.within("mean", value, -1000.0..=1000.0);
    }
    for &value in std {
        at.within("std", value, positive_to(1000.0));
    }
    let (mean, std) =
        (per_channel(at, ("mean", mean), &default.mean), per_channel(at, ("std", std), &default.std));
    Some(Statistics { mean, std })
}

/// A length in pixels that was published for images of 224, for images of `size`.
fn scaled(published: u32, size: u32) -> u32 {
    (published * size + 112) / 224
}
