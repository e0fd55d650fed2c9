//! Parameters of InfoMin Aug (NeurIPS 2020; code HobbitLong/PyContrast @ 84f94ea).
//!
//! With the CIFAR stem queue, momentum, batch and decay are those of MoCo v2.

use super::{MocoV2, Parameters, Projector, Published, QueueUse};
use crate::{
    recipe::{Decay, Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of InfoMin Aug.
#[derive(Clone, Debug, PartialEq)]
pub struct Infomin {
    /// Temperature of the logits. Default 0.15 (code).
    pub temperature: f64,
    /// Share of the patches in the loss; at 0 there are none, and no third view. Default 0.5 (code).
    pub beta: f64,
    /// Keys in the queue. Default 65,536 (code; 4,096 with the CIFAR stem, MoCo v2).
    pub queue_size: u32,
    /// Momentum of the key encoder. Default 0.999 (code; 0.99 with the CIFAR stem, MoCo v2).
    pub momentum: f64,
    /// Projector of both branches, and of each patch before patches are joined. Default: one hidden layer of the feature
    /// width, 128 out, no BN (code).
    pub projector: Projector,
}

impl Parameters for Infomin {
    type Wire = v1::Infomin;

    fn check(wire: &v1::Infomin, encoder: &Encoder, at: &Scope) -> Self {
        let (queue_size, momentum) = MocoV2::memory(encoder.stem());
        let projector = Projector::plain(vec![encoder.feature_dim()], 128);
        Self {
            temperature: at.number("temperature", wire.temperature, 0.15, positive_to(100.0)),
            beta: at.number("beta", wire.beta, 0.5, 0.0..=1.0),
            queue_size: at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
        }
    }

    /// The cosine ends at 0.1³ of the peak, and its first epoch has number 1.
    fn published(&self, stem: Stem) -> Published {
        let decay = Decay::Cosine { per_epoch: true, final_share: 1e-3, first_epoch: 1 };
        Published { decay, ..MocoV2::trained_with(stem) }
    }

    /// "D" twice, then the patches.
    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        let mut views = vec![View::infomin_d(size); 2];
        views.extend((self.beta > 0.0).then(|| View::jigsaw(size)));
        views
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::Infomin {
        v1::Infomin {
            temperature: Some(self.temperature),
            beta: Some(self.beta),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
        }
    }
}
