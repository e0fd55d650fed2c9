//! Operations on colours and on neighbours: jitter, blur, solarize.

use crate::{
    scope::{Scope, positive_to},
    v1,
};

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
    pub const PUBLISHED: Self =
        Self { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };

    /// That of SimCLR, of SwAV and of InfoMin, whose strength is 1.
    pub fn simclr(strength: f64) -> Self {
        let most = 0.8 * strength;
        Self { probability: 0.8, brightness: most, contrast: most, saturation: most, hue: 0.2 * strength }
    }

    pub(super) fn check(wire: &v1::ColorJitter, at: &Scope) -> Self {
        let default = Self::PUBLISHED;
        Self {
            probability: at.number("probability", wire.probability, default.probability, 0.0..=1.0),
            brightness: at.number("brightness", wire.brightness, default.brightness, 0.0..=10.0),
            contrast: at.number("contrast", wire.contrast, default.contrast, 0.0..=10.0),
            saturation: at.number("saturation", wire.saturation, default.saturation, 0.0..=10.0),
            hue: at.number("hue", wire.hue, default.hue, 0.0..=0.5),
        }
    }

    pub(super) fn to_wire(&self) -> v1::ColorJitter {
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
    /// MoCo v2's range of deviations, which all later pipelines took over.
    pub fn published(probability: f64) -> Self {
        Self { probability, sigma_min: 0.1, sigma_max: 2.0 }
    }

    pub(super) fn check(wire: &v1::GaussianBlur, at: &Scope) -> Self {
        let default = Self::published(0.5);
        let blur = Self {
            probability: at.number("probability", wire.probability, default.probability, 0.0..=1.0),
            sigma_min: at.number("sigma_min", wire.sigma_min, default.sigma_min, positive_to(100.0)),
            sigma_max: at.number("sigma_max", wire.sigma_max, default.sigma_max, positive_to(100.0)),
        };
        at.ordered(("sigma_min", blur.sigma_min), ("sigma_max", blur.sigma_max));
        blur
    }

    pub(super) fn to_wire(&self) -> v1::GaussianBlur {
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
    /// That of SCE's second global view, which is BYOL's.
    pub const PUBLISHED: Self = Self { probability: 0.2, threshold: 0.5 };

    pub(super) fn check(wire: &v1::Solarize, at: &Scope) -> Self {
        Self {
            probability: at.number("probability", wire.probability, Self::PUBLISHED.probability, 0.0..=1.0),
            threshold: at.number("threshold", wire.threshold, Self::PUBLISHED.threshold, 0.0..=1.0),
        }
    }

    pub(super) fn to_wire(&self) -> v1::Solarize {
        v1::Solarize { probability: Some(self.probability), threshold: Some(self.threshold) }
    }
}
