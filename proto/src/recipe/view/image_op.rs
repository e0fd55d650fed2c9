//! The operations of RandAugment's pools.

use crate::{scope::Scope, v1::rand_augment_op::Kind};

/// An operation on pixels of 8 bits, as Pillow defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageOp {
    /// Nothing.
    Identity,
    /// Stretches each channel to [0, 255].
    AutoContrast,
    /// Flattens each channel's histogram.
    Equalize,
    /// 255 less the value.
    Invert,
    /// Turns by degrees, of either sign.
    Rotate,
    /// Keeps the highest bits; a whole number of them.
    Posterize,
    /// Inverts values at or above a threshold, a whole number up to 256.
    Solarize,
    /// Adds a whole number to values below 128.
    SolarizeAdd,
    /// Blends with the grey image; factor 0 is grey, 1 changes nothing.
    Color,
    /// Blends with the mean grey.
    Contrast,
    /// Blends with black.
    Brightness,
    /// Blends with the smoothed image.
    Sharpness,
    /// Shifts rows by a share of their place, of either sign.
    ShearX,
    /// Shifts columns by a share of their place, of either sign.
    ShearY,
    /// Moves by a share of the width, of either sign.
    TranslateX,
    /// Moves by a share of the height, of either sign.
    TranslateY,
}

impl ImageOp {
    /// Its argument at levels 0 and 10, as InfoMin has it; `None` where it takes none.
    pub(super) fn infomin_range(self) -> Option<(f64, f64)> {
        Some(match self {
            Self::Identity | Self::AutoContrast | Self::Equalize | Self::Invert => return None,
            Self::Rotate => (0.0, 30.0),
            Self::Posterize => (0.0, 4.0),
            Self::Solarize => (0.0, 256.0),
            Self::SolarizeAdd => (0.0, 110.0),
            Self::Color | Self::Contrast | Self::Brightness | Self::Sharpness => (0.1, 1.9),
            Self::ShearX | Self::ShearY => (0.0, 0.3),
            Self::TranslateX | Self::TranslateY => (0.0, 0.45),
        })
    }

    /// The bound of its argument.
    pub(super) fn greatest_argument(self) -> Option<f64> {
        Some(match self {
            Self::Identity | Self::AutoContrast | Self::Equalize | Self::Invert => return None,
            Self::Rotate => 180.0,
            Self::Posterize => 8.0,
            Self::Solarize => 256.0,
            Self::SolarizeAdd => 255.0,
            Self::Color | Self::Contrast | Self::Brightness | Self::Sharpness => 10.0,
            Self::ShearX | Self::ShearY | Self::TranslateX | Self::TranslateY => 1.0,
        })
    }

    pub(super) fn check(wire: i32, at: &Scope) -> Self {
        let kind = at.known("op", wire).unwrap_or_default();
        if kind == Kind::Unspecified {
            at.violate("op", "names no operation: give one, as in `op: rotate`");
        }
        KINDS.iter().find(|(_, wire)| *wire == kind).map_or(Self::Identity, |(op, _)| *op)
    }

    pub(super) fn to_wire(self) -> Kind {
        KINDS.iter().find(|(op, _)| *op == self).map_or(Kind::Unspecified, |(_, wire)| *wire)
    }
}

/// Every operation, here and on the wire.
const KINDS: [(ImageOp, Kind); 16] = [
    (ImageOp::Identity, Kind::Identity),
    (ImageOp::AutoContrast, Kind::AutoContrast),
    (ImageOp::Equalize, Kind::Equalize),
    (ImageOp::Invert, Kind::Invert),
    (ImageOp::Rotate, Kind::Rotate),
    (ImageOp::Posterize, Kind::Posterize),
    (ImageOp::Solarize, Kind::Solarize),
    (ImageOp::SolarizeAdd, Kind::SolarizeAdd),
    (ImageOp::Color, Kind::Color),
    (ImageOp::Contrast, Kind::Contrast),
    (ImageOp::Brightness, Kind::Brightness),
    (ImageOp::Sharpness, Kind::Sharpness),
    (ImageOp::ShearX, Kind::ShearX),
    (ImageOp::ShearY, Kind::ShearY),
    (ImageOp::TranslateX, Kind::TranslateX),
    (ImageOp::TranslateY, Kind::TranslateY),
];
