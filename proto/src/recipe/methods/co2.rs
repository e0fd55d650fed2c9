//! Parameters of CO2 (ICLR 2021), which is MoCo v2 but for its consistency.
//!
//! Neither weight nor temperature of the consistency could be read in the paper, whose code was not released: their
//! defaults are this project's.

use super::{MocoV2, Parameters, Projector, Published, QueueUse};
use crate::{
    recipe::{Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of CO2.
#[derive(Clone, Debug, PartialEq)]
pub struct Co2 {
    /// Temperature of the logits. Default 0.2 (0.1 with the CIFAR stem; MoCo v2).
    pub temperature: f64,
    /// Keys in the queue. Default 65,536 (4,096 with the CIFAR stem; MoCo v2).
    pub queue_size: u32,
    /// Momentum of the key encoder. Default 0.999 (0.99 with the CIFAR stem; MoCo v2).
    pub momentum: f64,
    /// Projector of both branches. Default: one hidden layer of the feature width, 128 out, no BN (MoCo v2).
    pub projector: Projector,
    /// Weight of the consistency. Default 1 (no source).
    pub consistency_weight: f64,
    /// Temperature of what is to be consistent. Default 0.05 (no source).
    pub consistency_temperature: f64,
    /// Whether the own key is a column of what is to be consistent. Default false (paper).
    pub includes_positive: bool,
}

impl Parameters for Co2 {
    type Wire = v1::Co2;

    fn check(wire: &v1::Co2, encoder: &Encoder, at: &Scope) -> Self {
        let moco = MocoV2::check(&v1::MocoV2::default(), encoder, at);
        let consistency_temperature = wire.consistency_temperature;
        Self {
            temperature: at.number("temperature", wire.temperature, moco.temperature, positive_to(100.0)),
            queue_size: at.number("queue_size", wire.queue_size, moco.queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, moco.momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), moco.projector, encoder, at),
            consistency_weight: at.number("consistency_weight", wire.consistency_weight, 1.0, 0.0..=1e3),
            consistency_temperature: at.number(
                "consistency_temperature",
                consistency_temperature,
                0.05,
                positive_to(100.0),
            ),
            includes_positive: wire.includes_positive.unwrap_or(false),
        }
    }

    fn published(&self, stem: Stem) -> Published {
        MocoV2::trained_with(stem)
    }

    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        vec![View::moco_v2(size); 2]
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::Co2 {
        v1::Co2 {
            temperature: Some(self.temperature),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
            consistency_weight: Some(self.consistency_weight),
            consistency_temperature: Some(self.consistency_temperature),
            includes_positive: Some(self.includes_positive),
        }
    }
}
