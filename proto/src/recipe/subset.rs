//! A part of the training images.

use crate::{
    scope::{Scope, positive_to},
    v1::{self, subset::Kind},
};

/// Which images are kept: a function of their labels and a seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Subset {
    /// The rule.
    pub kind: SubsetKind,
    /// Draws classes and images; apart from the training's seed, so that many trainings share one subset. Default 0.
    pub seed: u64,
}

/// How many images of each class are kept; which ones, the seed draws.
#[derive(Clone, Debug, PartialEq)]
pub enum SubsetKind {
    /// The class at place r of C, in a drawn order, keeps `n ratio^(-r / (C - 1))` of the n images of the largest class,
    /// rounded, or all that it has if those are fewer; at least one (Cui et al., arXiv 1901.05555, section 5.1).
    LongTail {
        /// Images of the largest class per image of the smallest. Default 100 (Cui et al.).
        ratio: f64,
    },
    /// Some classes in full, others with a few images, the rest not at all (ISD's unbalanced data).
    LargeAndRare {
        /// Classes in full. Default 8 (ISD).
        n_large: u32,
        /// Classes with a few images. Default: all that are not large; ISD has 30.
        n_rare: Option<u32>,
        /// Images of each rare class. Default 100 (ISD).
        rare_size: u64,
    },
    /// The same number of each class, rounded, or all that a class has if those are fewer; at least one.
    Balanced {
        /// Share of all images: 0.01 and 0.1 are the usual ones. Default 0.1.
        share: f64,
    },
}

impl Subset {
    pub(crate) fn check(wire: &v1::Subset, at: &Scope) -> Option<Self> {
        let Some(kind) = &wire.kind else {
            at.refuse(
                "names no rule: give `long_tail: {}`, `large_and_rare: {}` or `balanced: {share: 0.1}`",
            );
            return None;
        };
        Some(Self { kind: SubsetKind::check(kind, at), seed: wire.seed.unwrap_or(0) })
    }

    pub(crate) fn to_wire(&self) -> v1::Subset {
        v1::Subset { kind: Some(self.kind.to_wire()), seed: Some(self.seed) }
    }
}

impl SubsetKind {
    fn check(wire: &Kind, at: &Scope) -> Self {
        match wire {
            Kind::LongTail(wire) => {
                Self::LongTail { ratio: at.field("long_tail").number("ratio", wire.ratio, 100.0, 1.0..=1e9) }
            }
            Kind::LargeAndRare(wire) => {
                let at = at.field("large_and_rare");
                Self::LargeAndRare {
                    n_large: at.number("n_large", wire.n_large, 8, 1..),
                    n_rare: at.optional("n_rare", wire.n_rare, 1..),
                    rare_size: at.number("rare_size", wire.rare_size, 100, 1..),
                }
            }
            Kind::Balanced(wire) => Self::Balanced {
                share: at.field("balanced").number("share", wire.share, 0.1, positive_to(1.0)),
            },
        }
    }

    fn to_wire(&self) -> Kind {
        match *self {
            Self::LongTail { ratio } => Kind::LongTail(v1::LongTail { ratio: Some(ratio) }),
            Self::LargeAndRare { n_large, n_rare, rare_size } => Kind::LargeAndRare(v1::LargeAndRare {
                n_large: Some(n_large),
                n_rare,
                rare_size: Some(rare_size),
            }),
            Self::Balanced { share } => Kind::Balanced(v1::Balanced { share: Some(share) }),
        }
    }
}
