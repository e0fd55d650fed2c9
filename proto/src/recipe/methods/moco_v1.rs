//! Parameters of MoCo v1 (CVPR 2020; code facebookresearch/moco @ cb10789).
//!
//! With the CIFAR stem queue, momentum, batch and decay are those of
//! MoCo v2.

use super::{MocoV2, Parameters, Projector, Published, QueueUse};
use crate::{
    recipe::{Decay, Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of MoCo v1: those of MoCo v2 with other defaults.
///
/// Temperature: 0.07 (code). Projector: linear, 128 out (code). Queue and momentum: as MoCo v2's.
#[derive(Clone, Debug, PartialEq)]
pub struct MocoV1(pub MocoV2);

impl AsRef<MocoV2> for MocoV1 {
    fn as_ref(&self) -> &MocoV2 {
        &self.0
    }
}

impl Parameters for MocoV1 {
    type Wire = v1::MocoV1;

    fn check(wire: &v1::MocoV1, encoder: &Encoder, at: &Scope) -> Self {
        let (queue_size, momentum) = MocoV2::memory(encoder.stem());
        let projector = Projector::plain(Vec::new(), 128);
        Self(MocoV2 {
            temperature: at.number("temperature", wire.temperature, 0.07, positive_to(100.0)),
            queue_size: at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
        })
    }

    fn published(&self, stem: Stem) -> Published {
        let decay = Decay::Steps { milestones: vec![120, 160], factor: 0.1 };
        Published { decay, ..MocoV2::trained_with(stem) }
    }

    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        vec![View::moco_v1(size); 2]
    }

    fn queue(&self) -> Option<QueueUse> {
        self.0.queue()
    }

    fn to_wire(&self) -> v1::MocoV1 {
        let v1::MocoV2 { temperature, queue_size, momentum, projector } = self.0.to_wire();
        v1::MocoV1 { temperature, queue_size, momentum, projector }
    }
}
