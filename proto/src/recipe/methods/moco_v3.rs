//! Parameters of MoCo v3 (ICCV 2021; code facebookresearch/moco-v3 @ c349e6e), those of 300 epochs with ResNet-50.
//!
//! The source synchronises batch normalisation. With the CIFAR stem, for which nothing is published, widths are (ours), and
//! the training is SCE's.

use super::{MomentumSchedule, Parameters, Predictor, Projector, Published};
use crate::{
    recipe::{Decay, Encoder, Stem, View, optimizer::RuleKind},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of MoCo v3.
#[derive(Clone, Debug, PartialEq)]
pub struct MocoV3 {
    /// Temperature of the logits. Default 1 (code; 0.2 with the CIFAR stem (ours), as its ViTs).
    pub temperature: f64,
    /// Momentum of the target branch at step 0. Default 0.99 (code).
    pub momentum: f64,
    /// How it moves. Default cosine towards one (code).
    pub momentum_schedule: MomentumSchedule,
    /// Projector of both branches. Default: one hidden layer of 4,096, 256 out, BN after both (code); the feature width
    /// and 128 with the CIFAR stem.
    pub projector: Projector,
    /// Predictor of the online branch. Default: the projector's hidden width, no bias (code).
    pub predictor: Predictor,
}

impl Parameters for MocoV3 {
    type Wire = v1::MocoV3;

    fn check(wire: &v1::MocoV3, encoder: &Encoder, at: &Scope) -> Self {
        let (temperature, hidden_dim, out_dim) = match encoder.stem() {
            Stem::Cifar => (0.2, encoder.feature_dim(), 128),
            Stem::ImageNet => (1.0, 4_096, 256),
        };
        let projector = Projector {
            batch_norm: true,
            last_batch_norm: true,
            ..Projector::plain(vec![hidden_dim], out_dim)
        };
        let predictor = Predictor { hidden_dim, last_bias: false };
        let schedule = MomentumSchedule::CosineTowardsOne;
        Self {
            temperature: at.number("temperature", wire.temperature, temperature, positive_to(100.0)),
            momentum: at.number("momentum", wire.momentum, 0.99, 0.0..=1.0),
            momentum_schedule: MomentumSchedule::check(wire.momentum_schedule, schedule, at),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
            predictor: Predictor::check_required(wire.predictor.as_ref(), predictor, at),
        }
    }

    fn published(&self, stem: Stem) -> Published {
        let published = Published { decay: Decay::COSINE_PER_STEP, ..Published::MOCO };
        match stem {
            Stem::Cifar => {
                Published { lr_per_256: 0.06, weight_decay: 5e-4, warmup_epochs: 5.0, ..published }
            }
            Stem::ImageNet => Published {
                epochs: 300,
                global_batch: 4_096,
                rule: RuleKind::Lars,
                lr_per_256: 0.3,
                weight_decay: 1e-6,
                exclude_1d: true,
                warmup_epochs: 10.0,
                ..published
            },
        }
    }

    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        View::moco_v3(size)
    }

    fn to_wire(&self) -> v1::MocoV3 {
        v1::MocoV3 {
            temperature: Some(self.temperature),
            momentum: Some(self.momentum),
            momentum_schedule: self.momentum_schedule.to_wire().into(),
            projector: Some(self.projector.to_wire()),
            predictor: Some(Predictor::to_wire(Some(&self.predictor))),
        }
    }
}
