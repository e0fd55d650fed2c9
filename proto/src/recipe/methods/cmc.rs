//! Parameters of CMC in its form with queues (code HobbitLong/PyContrast @ 84f94ea, "CMCv2").
//!
//! With the CIFAR stem queue, momentum, batch and decay are those of MoCo v2.

use super::{MocoV2, Parameters, Projector, Published, QueueUse};
use crate::{
    recipe::{Decay, Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of CMC.
#[derive(Clone, Debug, PartialEq)]
pub struct Cmc {
    /// Temperature of the logits. Default 0.2 (code).
    pub temperature: f64,
    /// Keys in each of the two queues. Default 65,536 (code; 4,096 with the CIFAR stem, MoCo v2).
    pub queue_size: u32,
    /// Momentum of the key encoder. Default 0.999 (code; 0.99 with the CIFAR stem, MoCo v2).
    pub momentum: f64,
    /// Projector of each half. Default: one hidden layer of that half's feature width, 128 out, no BN (code).
    pub projector: Projector,
}

impl Parameters for Cmc {
    type Wire = v1::Cmc;

    /// Brightness, colours.
    const SPLIT_CHANNELS: u32 = 1;

    fn check(wire: &v1::Cmc, encoder: &Encoder, at: &Scope) -> Self {
        let half = encoder.half();
        if half.is_none() {
            at.refuse("needs colour images and a ResNet in two halves: see `encoder.resnet.split_channels`");
        }
        let half = half.as_ref().unwrap_or(encoder);
        let (queue_size, momentum) = MocoV2::memory(encoder.stem());
        let projector = Projector::plain(vec![half.feature_dim()], 128);
        Self {
            temperature: at.number("temperature", wire.temperature, 0.2, positive_to(100.0)),
            queue_size: at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), projector, half, at),
        }
    }

    /// The cosine ends at 0.1³ of the peak, and its first epoch has number 1.
    fn published(&self, stem: Stem) -> Published {
        let decay = Decay::Cosine { per_epoch: true, final_share: 1e-3, first_epoch: 1 };
        Published { decay, ..MocoV2::trained_with(stem) }
    }

    /// "E" twice, in Y'DbDr.
    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        vec![View::cmc_v2(size); 2]
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::Cmc {
        v1::Cmc {
            temperature: Some(self.temperature),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
        }
    }
}
