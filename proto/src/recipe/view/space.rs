//! Colour spaces, and the statistics of their channels.

use crate::{
    scope::Scope,
    v1::{self, view},
};

/// What the channels of an image mean; scaled as scikit-image scales them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorSpace {
    /// The image's own channels, in [0, 1].
    #[default]
    Rgb,
    /// CIE L*a*b* under D65: L in [0, 100].
    Lab,
    /// SECAM: Y in [0, 1], Db and Dr in [-1.333, 1.333].
    YDbDr,
    /// NTSC: Y in [0, 1], I in [-0.596, 0.596], Q in [-0.523, 0.523].
    Yiq,
    /// Analogue component video: Y in [0, 1], Pb and Pr in [-0.5, 0.5].
    YPbPr,
    /// Digital component video: Y in [16, 235], Cb and Cr in [16, 240].
    YCbCr,
}

impl ColorSpace {
    const NAMES: [(&'static str, Self); 6] = [
        ("rgb", Self::Rgb),
        ("lab", Self::Lab),
        ("ydbdr", Self::YDbDr),
        ("yiq", Self::Yiq),
        ("ypbpr", Self::YPbPr),
        ("ycbcr", Self::YCbCr),
    ];

    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, space)| *space == self).expect("each has a name").0
    }

    /// That of a name in a recipe.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(other, _)| *other == name).map(|&(_, space)| space)
    }

    /// Statistics to normalise by; none for RGB, whose are those of the data.
    ///
    /// # Source
    /// Y'DbDr: HobbitLong/PyContrast @ 84f94ea. Lab and Y'CbCr: HobbitLong/CMC @ 7b227be. The other two were published
    /// with none: they have the middle and half of the range of each channel, as CMC's for Lab are.
    pub fn statistics(self) -> Option<Statistics> {
        let (mean, std) = match self {
            Self::Rgb => return None,
            Self::Lab => ([50.0, 6.025, -6.6895], [50.0, 92.208, 101.1675]),
            Self::YDbDr => ([0.457, -0.082, -0.052], [0.5, 1.331, 1.333]),
            Self::Yiq => ([0.5, 0.0, 0.0], [0.5, 0.596, 0.523]),
            Self::YPbPr => ([0.5, 0.0, 0.0], [0.5, 0.5, 0.5]),
            Self::YCbCr => ([116.151, 121.080, 132.342], [109.500, 111.855, 111.964]),
        };
        Some(Statistics { mean: mean.to_vec(), std: std.to_vec() })
    }

    pub(super) fn check(wire: i32, at: &Scope) -> Self {
        match at.known("color_space", wire).unwrap_or_default() {
            view::ColorSpace::Unspecified | view::ColorSpace::Rgb => Self::Rgb,
            view::ColorSpace::Lab => Self::Lab,
            view::ColorSpace::Ydbdr => Self::YDbDr,
            view::ColorSpace::Yiq => Self::Yiq,
            view::ColorSpace::Ypbpr => Self::YPbPr,
            view::ColorSpace::Ycbcr => Self::YCbCr,
        }
    }

    /// The image's own channels are what is meant where nothing is said.
    pub(super) fn to_wire(self) -> v1::view::ColorSpace {
        match self {
            Self::Rgb => view::ColorSpace::Unspecified,
            Self::Lab => view::ColorSpace::Lab,
            Self::YDbDr => view::ColorSpace::Ydbdr,
            Self::Yiq => view::ColorSpace::Yiq,
            Self::YPbPr => view::ColorSpace::Ypbpr,
            Self::YCbCr => view::ColorSpace::Ycbcr,
        }
    }
}

/// Mean and standard deviation, one of each per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// What is subtracted.
    pub mean: Vec<f64>,
    /// What is divided by.
    pub std: Vec<f64>,
}
