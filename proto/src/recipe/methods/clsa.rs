//! Parameters of CLSA (TPAMI 2022; code maple-research-lab/CLSA @ 37df76c), which is MoCo v2 but for its strong views.

use super::{MocoV2, Parameters, Projector, Published, QueueUse, crops};
use crate::{
    recipe::{Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of CLSA.
#[derive(Clone, Debug, PartialEq)]
pub struct Clsa {
    /// Temperature of the weak queries' logits. Default 0.2 (code; 0.1 with the CIFAR stem, MoCo v2).
    pub temperature: f64,
    /// Keys in the queue. Default 65,536 (code; 4,096 with the CIFAR stem, MoCo v2).
    pub queue_size: u32,
    /// Momentum of the key encoder. Default 0.999 (code; 0.99 with the CIFAR stem, MoCo v2).
    pub momentum: f64,
    /// Projector of both branches. Default: one hidden layer of the feature width, 128 out, no BN (code).
    pub projector: Projector,
    /// Weight of what strong queries learn from weak ones. Default 1 (code).
    pub strong_weight: f64,
    /// Temperature of what strong queries learn from weak ones. Default: `temperature` (code).
    pub strong_temperature: f64,
    /// Weak queries, of falling size from the whole on. Default 1, which is CLSA-Single (code).
    pub weak_views: u32,
    /// Strong queries, of rising size from 96 of 224 pixels on; with the CIFAR stem of falling size from the whole on.
    /// Default 1, which is CLSA-Single (code).
    pub strong_views: u32,
}

impl Parameters for Clsa {
    type Wire = v1::Clsa;

    fn check(wire: &v1::Clsa, encoder: &Encoder, at: &Scope) -> Self {
        let moco = MocoV2::check(&v1::MocoV2::default(), encoder, at);
        let temperature = at.number("temperature", wire.temperature, moco.temperature, positive_to(100.0));
        let strong_temperature = wire.strong_temperature;
        Self {
            temperature,
            queue_size: at.number("queue_size", wire.queue_size, moco.queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, moco.momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), moco.projector, encoder, at),
            strong_weight: at.number("strong_weight", wire.strong_weight, 1.0, 0.0..=1e3),
            strong_temperature: at.number(
                "strong_temperature",
                strong_temperature,
                temperature,
                positive_to(100.0),
            ),
            weak_views: at.number("weak_views", wire.weak_views, 1, 1..=5),
            strong_views: at.number("strong_views", wire.strong_views, 1, 1..=5),
        }
    }

    fn published(&self, stem: Stem) -> Published {
        MocoV2::trained_with(stem)
    }

    /// The key, the weak queries, the strong ones.
    fn published_views(&self, stem: Stem, size: u32) -> Vec<View> {
        let strong = View::clsa_strong(size);
        let strong = match stem {
            Stem::Cifar => crops::largest(&strong, self.strong_views),
            Stem::ImageNet => crops::smallest(&strong, self.strong_views),
        };
        let weak = crops::largest(&View::moco_v2(size), self.weak_views);
        [View::moco_v2(size)].into_iter().chain(weak).chain(strong).collect()
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::Clsa {
        v1::Clsa {
            temperature: Some(self.temperature),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
            strong_weight: Some(self.strong_weight),
            strong_temperature: Some(self.strong_temperature),
            weak_views: Some(self.weak_views),
            strong_views: Some(self.strong_views),
        }
    }
}
