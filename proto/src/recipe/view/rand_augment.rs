//! Random operations on pixels of 8 bits, as InfoMin and CLSA draw them.

use super::ImageOp;
use crate::{
    scope::Scope,
    v1::{self, rand_augment},
};

/// So many operations, drawn from a pool with replacement.
#[derive(Clone, Debug, PartialEq)]
pub struct RandAugment {
    /// Operations that are drawn. Default 2 (InfoMin).
    pub n_ops: u32,
    /// Probability that an operation which was drawn runs. Default 0.5 (InfoMin, CLSA).
    pub probability: f64,
    /// How strong each operation is. Default normal about 10 (InfoMin).
    pub level: Level,
    /// The pool. Default: InfoMin's fifteen.
    pub ops: Vec<RandAugmentOp>,
    /// How rotate, shear and translate read between pixels: one of these each time. Default bilinear and bicubic
    /// (InfoMin).
    pub interpolations: Vec<Interpolation>,
    /// What they leave uncovered. Default the mean colour (InfoMin).
    pub fill: Fill,
    /// Run before grayscale rather than at its own place. Default true (InfoMin).
    pub before_grayscale: bool,
}

impl RandAugment {
    /// InfoMin's: two of fifteen operations (HobbitLong/PyContrast @ 84f94ea, `rand-n2-m10-mstd0.5`).
    pub fn infomin() -> Self {
        use ImageOp::*;
        let pool = [
            AutoContrast,
            Equalize,
            Invert,
            Rotate,
            Posterize,
            Solarize,
            SolarizeAdd,
            Color,
            Contrast,
            Brightness,
            Sharpness,
            ShearX,
            ShearY,
            TranslateX,
            TranslateY,
        ];
        Self {
            n_ops: 2,
            probability: 0.5,
            level: Level::Normal { mean: 10.0, std: 0.5 },
            ops: pool.map(RandAugmentOp::infomin).to_vec(),
            interpolations: vec![Interpolation::Bilinear, Interpolation::Bicubic],
            fill: Fill::Mean,
            before_grayscale: true,
        }
    }

    /// CMC's: the same, of the eight that leave colours alone (same source, `_RAND_TRANSFORMS_CMC`).
    pub fn cmc() -> Self {
        use ImageOp::*;
        let pool = [AutoContrast, Identity, Rotate, Sharpness, ShearX, ShearY, TranslateX, TranslateY];
        Self { ops: pool.map(RandAugmentOp::infomin).to_vec(), ..Self::infomin() }
    }

    /// CLSA's: five of fourteen operations, after everything else (maple-research-lab/CLSA @ 37df76c).
    pub fn clsa() -> Self {
        use ImageOp::*;
        let pool = [
            (AutoContrast, 0.0, 0.0),
            (Brightness, 0.05, 0.95),
            (Color, 0.05, 0.95),
            (Contrast, 0.05, 0.95),
            (Equalize, 0.0, 0.0),
            (Identity, 0.0, 0.0),
            (Posterize, 4.0, 8.0),
            (Rotate, 0.0, 30.0),
            (Sharpness, 0.05, 0.95),
            (ShearX, 0.0, 0.3),
            (ShearY, 0.0, 0.3),
            (Solarize, 256.0, 0.0),
            (TranslateX, 0.0, 0.3),
            (TranslateY, 0.0, 0.3),
        ];
        Self {
            n_ops: 5,
            probability: 0.5,
            level: Level::Uniform { min: 1, max: 9 },
            ops: pool.map(|(op, from, to)| RandAugmentOp { op, from, to }).to_vec(),
            interpolations: vec![Interpolation::Nearest],
            fill: Fill::Black,
            before_grayscale: false,
        }
    }

    pub(super) fn check(wire: &v1::RandAugment, at: &Scope) -> Self {
        let default = Self::infomin();
        let ops: Vec<_> = (0..)
            .zip(&wire.ops)
            .map(|(idx, wire)| RandAugmentOp::check(wire, &at.item("ops", idx)))
            .collect();
        let interpolations: Vec<_> =
            wire.interpolations.iter().map(|&wire| Interpolation::check(wire, at)).collect();
        Self {
            n_ops: at.number("n_ops", wire.n_ops, default.n_ops, 1..=64),
            probability: at.number("probability", wire.probability, default.probability, 0.0..=1.0),
            level: Level::check(wire.level.as_ref(), at),
            ops: if ops.is_empty() { default.ops } else { ops },
            interpolations: if interpolations.is_empty() { default.interpolations } else { interpolations },
            fill: Fill::check(wire.fill, at),
            before_grayscale: wire.before_grayscale.unwrap_or(default.before_grayscale),
        }
    }

    pub(super) fn to_wire(&self) -> v1::RandAugment {
        v1::RandAugment {
            n_ops: Some(self.n_ops),
            probability: Some(self.probability),
            level: Some(self.level.to_wire()),
            ops: self.ops.iter().map(|op| op.to_wire()).collect(),
            interpolations: self.interpolations.iter().map(|each| each.to_wire().into()).collect(),
            fill: self.fill.to_wire().into(),
            before_grayscale: Some(self.before_grayscale),
        }
    }
}

/// How strong an operation is: a number from 0 to 10, drawn each time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    /// Normal, and cut off at 0 and 10.
    Normal {
        /// Mean. Default 10 (InfoMin).
        mean: f64,
        /// Standard deviation. Default 0.5 (InfoMin).
        std: f64,
    },
    /// A whole number.
    Uniform {
        /// Least. Default 1 (CLSA).
        min: u32,
        /// Greatest. Default 9 (CLSA).
        max: u32,
    },
}

impl Level {
    fn check(wire: Option<&rand_augment::Level>, at: &Scope) -> Self {
        match wire {
            Some(rand_augment::Level::Uniform(wire)) => {
                let at = &at.field("uniform");
                let min = at.number("min", wire.min, 1, 0..=10);
                let max = at.number("max", wire.max, 9, 0..=10);
                at.ordered(("min", min), ("max", max));
                Self::Uniform { min, max }
            }
            Some(rand_augment::Level::Normal(wire)) => Self::check_normal(*wire, at),
            None => Self::check_normal(v1::NormalLevel::default(), at),
        }
    }

    fn check_normal(wire: v1::NormalLevel, at: &Scope) -> Self {
        let at = &at.field("normal");
        Self::Normal {
            mean: at.number("mean", wire.mean, 10.0, 0.0..=10.0),
            std: at.number("std", wire.std, 0.5, 0.0..=10.0),
        }
    }

    fn to_wire(self) -> rand_augment::Level {
        match self {
            Self::Normal { mean, std } => {
                rand_augment::Level::Normal(v1::NormalLevel { mean: Some(mean), std: Some(std) })
            }
            Self::Uniform { min, max } => {
                rand_augment::Level::Uniform(v1::UniformLevel { min: Some(min), max: Some(max) })
            }
        }
    }
}

/// One operation of a pool, with its argument: `from + (to - from) * level / 10`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandAugmentOp {
    /// What it does.
    pub op: ImageOp,
    /// Its argument at level 0. Default InfoMin's; 0 where it takes none.
    pub from: f64,
    /// Its argument at level 10. Default InfoMin's; 0 where it takes none.
    pub to: f64,
}

impl RandAugmentOp {
    fn infomin(op: ImageOp) -> Self {
        let (from, to) = op.infomin_range().unwrap_or_default();
        Self { op, from, to }
    }

    fn check(wire: &v1::RandAugmentOp, at: &Scope) -> Self {
        let default = Self::infomin(ImageOp::check(wire.op, at));
        let Some(most) = default.op.greatest_argument() else {
            if wire.from.or(wire.to).is_some() {
                at.violate(
                    "from",
                    "has no meaning for an operation without argument: leave `from` and `to` out",
                );
            }
            return default;
        };
        Self {
            from: at.number("from", wire.from, default.from, 0.0..=most),
            to: at.number("to", wire.to, default.to, 0.0..=most),
            ..default
        }
    }

    fn to_wire(self) -> v1::RandAugmentOp {
        let has_argument = self.op.greatest_argument().is_some();
        let given = |value: f64| has_argument.then_some(value);
        v1::RandAugmentOp { op: self.op.to_wire().into(), from: given(self.from), to: given(self.to) }
    }
}

/// How a value between pixels is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The pixel that the place lies in; translations are whole pixels, rounded towards 0.
    Nearest,
    /// Between four pixels.
    Bilinear,
    /// Between sixteen pixels.
    Bicubic,
}

impl Interpolation {
    fn check(wire: i32, at: &Scope) -> Self {
        match at.known("interpolations", wire).unwrap_or_default() {
            rand_augment::Interpolation::Unspecified => {
                at.violate("interpolations", "must each be nearest, bilinear or bicubic");
                Self::Nearest
            }
            rand_augment::Interpolation::Nearest => Self::Nearest,
            rand_augment::Interpolation::Bilinear => Self::Bilinear,
            rand_augment::Interpolation::Bicubic => Self::Bicubic,
        }
    }

    fn to_wire(self) -> rand_augment::Interpolation {
        match self {
            Self::Nearest => rand_augment::Interpolation::Nearest,
            Self::Bilinear => rand_augment::Interpolation::Bilinear,
            Self::Bicubic => rand_augment::Interpolation::Bicubic,
        }
    }
}

/// The colour of what no pixel covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// The data's mean.
    Mean,
    /// Black.
    Black,
}

impl Fill {
    fn check(wire: i32, at: &Scope) -> Self {
        match at.known("fill", wire).unwrap_or_default() {
            rand_augment::Fill::Black => Self::Black,
            rand_augment::Fill::Mean | rand_augment::Fill::Unspecified => Self::Mean,
        }
    }

    fn to_wire(self) -> rand_augment::Fill {
        match self {
            Self::Mean => rand_augment::Fill::Mean,
            Self::Black => rand_augment::Fill::Black,
        }
    }
}
