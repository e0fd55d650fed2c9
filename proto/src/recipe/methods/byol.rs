//! Parameters of BYOL (NeurIPS 2020, arXiv 2006.07733).
//!
//! The source synchronises batch normalisation. For the one-directional form (`symmetric: false`) the defaults are those
//! of UMBCvision/ISD @ 4bdd603. With the CIFAR stem, for which nothing is published, the widths are (ours), and the
//! training is ISD's with the decay of MoCo's CIFAR-10 notebook.

use super::{MomentumSchedule, Parameters, Predictor, Projector, Published};
use crate::{
    recipe::{Decay, Encoder, Stem, View, optimizer::RuleKind},
    scope::Scope,
    v1,
};

/// Parameters of BYOL.
#[derive(Clone, Debug, PartialEq)]
pub struct Byol {
    /// Momentum of the target branch at step 0. Default 0.996 (paper; 0.99 in one direction, ISD's code).
    pub momentum: f64,
    /// How it moves. Default cosine towards one (paper; constant in one direction, ISD's code).
    pub momentum_schedule: MomentumSchedule,
    /// Both directions. Default true (paper).
    pub symmetric: bool,
    /// Projector of both branches. Default: one hidden layer of 4,096 with BN, 256 out (paper); in one direction twice
    /// the feature width and a quarter of it (ISD's code); with the CIFAR stem the feature width and 128 (ours).
    pub projector: Projector,
    /// Predictor of the online branch. Default: the projector's hidden width, with bias (paper, ISD's code).
    pub predictor: Predictor,
    /// Keys are normalised among shuffled images. Default false (paper); true in one direction (ISD's code).
    pub shuffle_bn: bool,
}

impl Parameters for Byol {
    type Wire = v1::Byol;

    fn check(wire: &v1::Byol, encoder: &Encoder, at: &Scope) -> Self {
        let symmetric = wire.symmetric.unwrap_or(true);
        let (momentum, schedule) = match symmetric {
            true => (0.996, MomentumSchedule::CosineTowardsOne),
            false => (0.99, MomentumSchedule::Constant),
        };
        let feature_dim = encoder.feature_dim();
        let (hidden_dim, out_dim) = match (symmetric, encoder.stem()) {
            (_, Stem::Cifar) => (feature_dim, 128),
            (true, Stem::ImageNet) => (4_096, 256),
            (false, Stem::ImageNet) => (2 * feature_dim, feature_dim / 4),
        };
        let projector = Projector { batch_norm: true, ..Projector::plain(vec![hidden_dim], out_dim) };
        let predictor = Predictor { hidden_dim, last_bias: true };
        Self {
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            momentum_schedule: MomentumSchedule::check(wire.momentum_schedule, schedule, at),
            symmetric,
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
            predictor: Predictor::check_required(wire.predictor.as_ref(), predictor, at),
            shuffle_bn: wire.shuffle_bn.unwrap_or(!symmetric),
        }
    }

    fn published(&self, stem: Stem) -> Published {
        let sgd = Published { lr_per_256: 0.05, ..Published::MOCO };
        match (self.symmetric, stem) {
            (_, Stem::Cifar) => Published { weight_decay: 5e-4, ..sgd },
            (false, Stem::ImageNet) => sgd,
            (true, Stem::ImageNet) => Published {
                epochs: 1_000,
                global_batch: 4_096,
                rule: RuleKind::Lars,
                lr_per_256: 0.2,
                weight_decay: 1.5e-6,
                exclude_1d: true,
                warmup_epochs: 10.0,
                decay: Decay::COSINE_PER_STEP,
                ..sgd
            },
        }
    }

    /// In one direction a weak view for the target, then a strong one.
    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        if self.symmetric { View::byol(size) } else { vec![View::weak(size), View::moco_v2(size)] }
    }

    fn to_wire(&self) -> v1::Byol {
        v1::Byol {
            momentum: Some(self.momentum),
            momentum_schedule: self.momentum_schedule.to_wire().into(),
            symmetric: Some(self.symmetric),
            projector: Some(self.projector.to_wire()),
            predictor: Some(Predictor::to_wire(Some(&self.predictor))),
            shuffle_bn: Some(self.shuffle_bn),
        }
    }
}
