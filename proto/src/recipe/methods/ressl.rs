//! Parameters of ReSSL (NeurIPS 2021; code KyleZheng1997/ReSSL @ 4d67daa).
//!
//! With the CIFAR stem projector, queue, momentum, rate and decay are those of SCE's CIFAR configuration.

use super::{Parameters, Projector, Published, QueueUse, crops};
use crate::{
    recipe::{Decay, Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of ReSSL.
#[derive(Clone, Debug, PartialEq)]
pub struct Ressl {
    /// Temperature of the student. Default 0.1 (code).
    pub temperature: f64,
    /// Temperature of the teacher, at most `temperature`. Default 0.04 (code).
    pub target_temperature: f64,
    /// Keys in the queue. Default 131,072 (code; 4,096 with the CIFAR stem).
    pub queue_size: u32,
    /// Momentum of the teacher. Default 0.999 (code; 0.99 with the CIFAR stem).
    pub momentum: f64,
    /// Projector of both branches. Default: one hidden layer of twice the feature width, 512 out, no BN (code); with the
    /// CIFAR stem one of the feature width with BN, 128 out.
    pub projector: Projector,
    /// Views of the student. Default 1; 5 is the published multi-crop (code), with the sizes of CLSA's crops.
    pub student_views: u32,
}

impl Parameters for Ressl {
    type Wire = v1::Ressl;

    fn check(wire: &v1::Ressl, encoder: &Encoder, at: &Scope) -> Self {
        let feature_dim = encoder.feature_dim();
        let (queue_size, momentum, projector) = match encoder.stem() {
            Stem::Cifar => {
                (4_096, 0.99, Projector { batch_norm: true, ..Projector::plain(vec![feature_dim], 128) })
            }
            Stem::ImageNet => (131_072, 0.999, Projector::plain(vec![2 * feature_dim], 512)),
        };
        let target_temperature = wire.target_temperature;
        let ressl = Self {
            temperature: at.number("temperature", wire.temperature, 0.1, positive_to(100.0)),
            target_temperature: at.number("target_temperature", target_temperature, 0.04, positive_to(100.0)),
            queue_size: at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
            student_views: at.number("student_views", wire.student_views, 1, 1..=5),
        };
        at.ordered(("target_temperature", ressl.target_temperature), ("temperature", ressl.temperature));
        ressl
    }

    fn published(&self, stem: Stem) -> Published {
        let (lr_per_256, weight_decay) = match stem {
            Stem::Cifar => (0.06, 5e-4),
            Stem::ImageNet => (0.05, 1e-4),
        };
        Published {
            lr_per_256,
            weight_decay,
            exclude_1d: true,
            warmup_epochs: 5.0,
            decay: Decay::COSINE_PER_STEP,
            ..Published::MOCO
        }
    }

    /// A weak view for the teacher, then MoCo v2's for the student, whole ones first.
    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        let student = crops::largest(&View::moco_v2(size), self.student_views);
        [View::weak(size)].into_iter().chain(student).collect()
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::Ressl {
        v1::Ressl {
            temperature: Some(self.temperature),
            target_temperature: Some(self.target_temperature),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
            student_views: Some(self.student_views),
        }
    }
}
