//! Parameters of MoCo v2 (arXiv 2003.04297; code facebookresearch/moco @ cb10789).
//!
//! With the CIFAR stem the defaults are those of the CIFAR-10 notebook of the same authors (@ f736491), but for the
//! projector, which stays that of v2, and the groups of batch normalisation, which are the ranks.

use super::{Parameters, Projector, Published, QueueUse};
use crate::{
    recipe::{Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of MoCo v2.
#[derive(Clone, Debug, PartialEq)]
pub struct MocoV2 {
    /// Temperature of the logits. Default 0.2 (code, `--moco-t` of v2; 0.1 with the CIFAR stem, notebook).
    pub temperature: f64,
    /// Keys in the queue. Default 65,536 (code; 4,096 with the CIFAR stem, notebook).
    pub queue_size: u32,
    /// Momentum of the key encoder. Default 0.999 (code; 0.99 with the CIFAR stem, notebook).
    pub momentum: f64,
    /// Projector of both branches. Default: one hidden layer of the feature width, 128 out, no BN (code, `--mlp`).
    pub projector: Projector,
}

impl MocoV2 {
    /// Keys in the queue and momentum of the key encoder, for methods that take them over.
    pub(super) fn memory(stem: Stem) -> (u32, f64) {
        match stem {
            Stem::Cifar => (4_096, 0.99),
            Stem::ImageNet => (65_536, 0.999),
        }
    }

    /// The rest of the recipe, for methods that take it over.
    pub(super) fn trained_with(stem: Stem) -> Published {
        let (global_batch, weight_decay) = match stem {
            Stem::Cifar => (512, 5e-4),
            Stem::ImageNet => (256, 1e-4),
        };
        Published { global_batch, weight_decay, ..Published::MOCO }
    }
}

impl AsRef<Self> for MocoV2 {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Parameters for MocoV2 {
    type Wire = v1::MocoV2;

    fn check(wire: &v1::MocoV2, encoder: &Encoder, at: &Scope) -> Self {
        let temperature = if encoder.stem() == Stem::Cifar { 0.1 } else { 0.2 };
        let (queue_size, momentum) = Self::memory(encoder.stem());
        let projector = Projector::plain(vec![encoder.feature_dim()], 128);
        Self {
            temperature: at.number("temperature", wire.temperature, temperature, positive_to(100.0)),
            queue_size: at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
        }
    }

    fn published(&self, stem: Stem) -> Published {
        Self::trained_with(stem)
    }

    /// "aug+" twice.
    fn published_views(&self, _: Stem, size: u32) -> Vec<View> {
        vec![View::moco_v2(size); 2]
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::MocoV2 {
        v1::MocoV2 {
            temperature: Some(self.temperature),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
        }
    }
}
