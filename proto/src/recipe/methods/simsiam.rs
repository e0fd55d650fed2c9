//! Parameters of SimSiam (CVPR 2021; code facebookresearch/simsiam @ a7bc177).
//!
//! With the CIFAR stem the training is that of the paper's appendix D. The source synchronises batch normalisation.

use super::{Parameters, Predictor, Projector, Published};
use crate::{
    recipe::{Encoder, ParameterGroup, Stem, View},
    scope::Scope,
    v1,
};

/// Parameters of SimSiam.
#[derive(Clone, Debug, PartialEq)]
pub struct Simsiam {
    /// Projector. Default: three layers of 2,048 with BN after each (code; two with the CIFAR stem, paper).
    pub projector: Projector,
    /// Predictor. Default: a quarter of the embedding's width, with bias (code).
    pub predictor: Predictor,
}

impl Parameters for Simsiam {
    type Wire = v1::Simsiam;

    fn check(wire: &v1::Simsiam, encoder: &Encoder, at: &Scope) -> Self {
        let n_hidden = if encoder.stem() == Stem::Cifar { 1 } else { 2 };
        let projector = Projector {
            batch_norm: true,
            last_batch_norm: true,
            ..Projector::plain(vec![2_048; n_hidden], 2_048)
        };
        let projector = Projector::check(wire.projector.as_ref(), projector, encoder, at);
        let predictor = Predictor { hidden_dim: (projector.out_dim / 4).max(1), last_bias: true };
        let predictor = Predictor::check_required(wire.predictor.as_ref(), predictor, at);
        Self { projector, predictor }
    }

    /// The predictor's rate stays at the peak (code, `--fix-pred-lr`).
    fn published(&self, stem: Stem) -> Published {
        let predictor = ParameterGroup {
            prefix: "online.predictor.".to_owned(),
            lr_scale: 1.0,
            weight_decay: None,
            constant_lr: true,
        };
        let (epochs, lr_per_256, weight_decay) = match stem {
            Stem::Cifar => (800, 0.03, 5e-4),
            Stem::ImageNet => (100, 0.05, 1e-4),
        };
        let groups = vec![predictor];
        Published { epochs, global_batch: 512, lr_per_256, weight_decay, groups, ..Published::MOCO }
    }

    /// MoCo v2's, twice; of small images without its smaller crops.
    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        let mut view = View::moco_v2(size);
        view.crop.scale_min = 0.2;
        vec![view; 2]
    }

    fn to_wire(&self) -> v1::Simsiam {
        v1::Simsiam {
            projector: Some(self.projector.to_wire()),
            predictor: Some(Predictor::to_wire(Some(&self.predictor))),
        }
    }
}
