//! What each image is turned into.

use crate::{
    scope::{Scope, positive_to},
    v1,
};

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
    /// Probability of a mirror image.
    pub horizontal_flip_probability: f64,
}

impl View {
    /// A crop of [0.2, 1] of the area and a mirror image half of the time, which every published pipeline has.
    pub(super) fn weak(size: u32) -> Self {
        Self {
            crop: RandomResizedCrop::published(size),
            color_jitter: None,
            grayscale_probability: 0.0,
            blur: None,
            solarize: None,
            horizontal_flip_probability: 0.5,
        }
    }

    pub(super) fn check(wire: &v1::View, size: u32, at: &Scope) -> Self {
        let probability = |field, given| at.number(field, given, 0.0, 0.0..=1.0);
        let crop = wire.crop.unwrap_or_default();
        Self {
            crop: RandomResizedCrop::check(&crop, size, &at.field("crop")),
            color_jitter: wire.color_jitter.map(|wire| ColorJitter::check(&wire, &at.field("color_jitter"))),
            grayscale_probability: probability("grayscale_probability", wire.grayscale_probability),
            blur: wire.blur.map(|wire| GaussianBlur::check(&wire, &at.field("blur"))),
            solarize: wire.solarize.map(|wire| Solarize::check(&wire, &at.field("solarize"))),
            horizontal_flip_probability: probability(
                "horizontal_flip_probability",
                wire.horizontal_flip_probability,
            ),
        }
    }

    pub(super) fn to_wire(&self) -> v1::View {
        v1::View {
            crop: Some(self.crop.to_wire()),
            color_jitter: self.color_jitter.as_ref().map(ColorJitter::to_wire),
            grayscale_probability: Some(self.grayscale_probability),
            blur: self.blur.as_ref().map(GaussianBlur::to_wire),
            solarize: self.solarize.as_ref().map(Solarize::to_wire),
            horizontal_flip_probability: Some(self.horizontal_flip_probability),
        }
    }
}

/// Cut and scale, as torchvision's RandomResizedCrop.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomResizedCrop {
    /// Side of the output in pixels. Default: 224 with the ImageNet stem (MoCo v2, SCE); with the CIFAR stem 32, or
    /// for Fashion-MNIST the 28 that its images have.
    pub size: u32,
    /// Least share of the area. Default 0.2 (MoCo v2, SCE).
    pub scale_min: f64,
    /// Greatest share of the area. Default 1.
    pub scale_max: f64,
    /// Least aspect ratio. Default 3/4 (torchvision).
    pub ratio_min: f64,
    /// Greatest aspect ratio. Default 4/3 (torchvision).
    pub ratio_max: f64,
}

impl RandomResizedCrop {
    pub(super) fn published(size: u32) -> Self {
        Self { size, scale_min: 0.2, scale_max: 1.0, ratio_min: 3.0 / 4.0, ratio_max: 4.0 / 3.0 }
    }

    fn check(wire: &v1::RandomResizedCrop, size: u32, at: &Scope) -> Self {
        let default = Self::published(size);
        let crop = Self {
            size: at.number("size", wire.size, size, 8..=1024),
            scale_min: at.number("scale_min", wire.scale_min, default.scale_min, positive_to(1.0)),
            scale_max: at.number("scale_max", wire.scale_max, default.scale_max, positive_to(1.0)),
            ratio_min: at.number("ratio_min", wire.ratio_min, default.ratio_min, 0.01..=100.0),
            ratio_max: at.number("ratio_max", wire.ratio_max, default.ratio_max, 0.01..=100.0),
        };
        at.ordered(("scale_min", crop.scale_min), ("scale_max", crop.scale_max));
        at.ordered(("ratio_min", crop.ratio_min), ("ratio_max", crop.ratio_max));
        crop
    }

    fn to_wire(&self) -> v1::RandomResizedCrop {
        v1::RandomResizedCrop {
            size: Some(self.size),
            scale_min: Some(self.scale_min),
            scale_max: Some(self.scale_max),
            ratio_min: Some(self.ratio_min),
            ratio_max: Some(self.ratio_max),
        }
    }
}

/// Factors as torchvision's ColorJitter: each is uniform in [max(0, 1 - x), 1 + x], hue in [-x, x].
#[derive(Clone, Debug, PartialEq)]
pub struct ColorJitter {
    /// Probability that the operation runs. Default 0.8.
    pub probability: f64,
    /// Brightness. Default 0.4.
    pub brightness: f64,
    /// Contrast. Default 0.4.
    pub contrast: f64,
    /// Saturation. Default 0.4.
    pub saturation: f64,
    /// Hue, at most 0.5. Default 0.1.
    pub hue: f64,
}

impl ColorJitter {
    /// That of MoCo v2 ("aug+"), and of SCE but for its saturation on ImageNet.
    pub(super) const PUBLISHED: Self =
        Self { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };

    fn check(wire: &v1::ColorJitter, at: &Scope) -> Self {
        let default = Self::PUBLISHED;
        Self {
            probability: at.number("probability", wire.probability, default.probability, 0.0..=1.0),
            brightness: at.number("brightness", wire.brightness, default.brightness, 0.0..=10.0),
            contrast: at.number("contrast", wire.contrast, default.contrast, 0.0..=10.0),
            saturation: at.number("saturation", wire.saturation, default.saturation, 0.0..=10.0),
            hue: at.number("hue", wire.hue, default.hue, 0.0..=0.5),
        }
    }

    fn to_wire(&self) -> v1::ColorJitter {
        v1::ColorJitter {
            probability: Some(self.probability),
            brightness: Some(self.brightness),
            contrast: Some(self.contrast),
            saturation: Some(self.saturation),
            hue: Some(self.hue),
        }
    }
}

/// Gaussian blur with a standard deviation uniform in [sigma_min, sigma_max] pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianBlur {
    /// Probability that the operation runs. Default 0.5 (MoCo v2).
    pub probability: f64,
    /// Least standard deviation in pixels. Default 0.1 (MoCo v2).
    pub sigma_min: f64,
    /// Greatest standard deviation in pixels. Default 2 (MoCo v2).
    pub sigma_max: f64,
}

impl GaussianBlur {
    pub(super) fn published(probability: f64) -> Self {
        Self { probability, sigma_min: 0.1, sigma_max: 2.0 }
    }

    fn check(wire: &v1::GaussianBlur, at: &Scope) -> Self {
        let default = Self::published(0.5);
        let blur = Self {
            probability: at.number("probability", wire.probability, default.probability, 0.0..=1.0),
            sigma_min: at.number("sigma_min", wire.sigma_min, default.sigma_min, positive_to(100.0)),
            sigma_max: at.number("sigma_max", wire.sigma_max, default.sigma_max, positive_to(100.0)),
        };
        at.ordered(("sigma_min", blur.sigma_min), ("sigma_max", blur.sigma_max));
        blur
    }

    fn to_wire(&self) -> v1::GaussianBlur {
        v1::GaussianBlur {
            probability: Some(self.probability),
            sigma_min: Some(self.sigma_min),
            sigma_max: Some(self.sigma_max),
        }
    }
}

/// Inversion of the pixels at or above a threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Solarize {
    /// Probability that the operation runs. Default 0.2 (SCE's second global view).
    pub probability: f64,
    /// Threshold in [0, 1]. Default 0.5 (SCE).
    pub threshold: f64,
}

impl Solarize {
    pub(super) const PUBLISHED: Self = Self { probability: 0.2, threshold: 0.5 };

    fn check(wire: &v1::Solarize, at: &Scope) -> Self {
        Self {
            probability: at.number("probability", wire.probability, Self::PUBLISHED.probability, 0.0..=1.0),
            threshold: at.number("threshold", wire.threshold, Self::PUBLISHED.threshold, 0.0..=1.0),
        }
    }

    fn to_wire(&self) -> v1::Solarize {
        v1::Solarize { probability: Some(self.probability), threshold: Some(self.threshold) }
    }
}
