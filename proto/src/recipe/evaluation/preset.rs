//! The probes that the sources publish.

use super::linear::{Decay, Descent, Rule, Scaling};
use crate::{scope::Scope, v1::linear_probe};

/// Whose protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Kindred's own.
    Lbfgs,
    /// MoCo (facebookresearch/moco @ cb10789).
    Moco,
    /// ISD (UMBCvision/ISD @ 4bdd603).
    Isd,
    /// SANE on CIFAR-10 (supplement).
    Sane,
    /// SANE on ImageNet (supplement).
    SaneImagenet,
    /// InfoMin (HobbitLong/PyContrast @ 84f94ea).
    Infomin,
    /// SCE on ImageNet (CEA-LIST/SCE @ 07cbe63).
    Sce,
    /// PCL (salesforce/PCL @ 964da1f).
    Pcl,
}

impl Preset {
    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lbfgs => "lbfgs",
            Self::Moco => "moco",
            Self::Isd => "isd",
            Self::Sane => "sane",
            Self::SaneImagenet => "sane_imagenet",
            Self::Infomin => "infomin",
            Self::Sce => "sce",
            Self::Pcl => "pcl",
        }
    }

    pub(super) fn scaling(self) -> Scaling {
        match self {
            Self::Lbfgs => Scaling::Standard,
            Self::Isd => Scaling::UnitStandard,
            _ => Scaling::None,
        }
    }

    /// The published numbers, at the published batch. What a source does not say is MoCo's: SANE's batch and, on
    /// ImageNet, its decay. ISD's script moves its scheduler at the start of an epoch, so that its milestones 15, 30
    /// and 40 act one epoch earlier.
    pub(super) fn published(self) -> Descent {
        let steps = |milestones: &[u32], factor| Decay::Steps { milestones: milestones.to_vec(), factor };
        let moco = Descent {
            rule: Rule::Sgd { momentum: 0.9 },
            epochs: 100,
            batch: 256,
            lr: 30.0,
            weight_decay: 0.0,
            decay: steps(&[60, 80], 0.1),
        };
        match self {
            Self::Lbfgs | Self::Moco => moco,
            Self::Isd => {
                Descent { epochs: 40, lr: 0.01, weight_decay: 1e-4, decay: steps(&[14, 29, 39], 0.1), ..moco }
            }
            Self::Sane => Descent { rule: Rule::Adam, epochs: 200, lr: 0.01, decay: Decay::Constant, ..moco },
            Self::SaneImagenet => Descent { lr: 10.0, decay: Decay::Cosine, ..moco },
            Self::Infomin => Descent { epochs: 60, decay: steps(&[30, 40, 50], 0.2), ..moco },
            Self::Sce => Descent { epochs: 90, batch: 1024, lr: 0.4, decay: Decay::Cosine, ..moco },
            Self::Pcl => Descent { lr: 5.0, ..moco },
        }
    }

    pub(super) fn check(number: i32, at: &Scope) -> Self {
        match at.known("preset", number).unwrap_or_default() {
            linear_probe::Preset::Lbfgs | linear_probe::Preset::Unspecified => Self::Lbfgs,
            linear_probe::Preset::Moco => Self::Moco,
            linear_probe::Preset::Isd => Self::Isd,
            linear_probe::Preset::Sane => Self::Sane,
            linear_probe::Preset::SaneImagenet => Self::SaneImagenet,
            linear_probe::Preset::Infomin => Self::Infomin,
            linear_probe::Preset::Sce => Self::Sce,
            linear_probe::Preset::Pcl => Self::Pcl,
        }
    }

    pub(super) fn to_wire(self) -> linear_probe::Preset {
        match self {
            Self::Lbfgs => linear_probe::Preset::Lbfgs,
            Self::Moco => linear_probe::Preset::Moco,
            Self::Isd => linear_probe::Preset::Isd,
            Self::Sane => linear_probe::Preset::Sane,
            Self::SaneImagenet => linear_probe::Preset::SaneImagenet,
            Self::Infomin => linear_probe::Preset::Infomin,
            Self::Sce => linear_probe::Preset::Sce,
            Self::Pcl => linear_probe::Preset::Pcl,
        }
    }
}
