//! Parameters of PCL (ICLR 2021; code salesforce/PCL @ 964da1f), those of its second version.
//!
//! With the CIFAR stem, for which nothing is published, queue, momentum and training are MoCo v2's.

use super::{Clustering, Parameters, Projector, Published, QueueUse};
use crate::{
    recipe::{Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1::{self, pcl},
};

/// Parameters of PCL.
#[derive(Clone, Debug, PartialEq)]
pub struct Pcl {
    /// Temperature of the logits of instances, and mean concentration of prototypes. Default 0.2 (README).
    pub temperature: f64,
    /// Keys in the queue. Default 16,384 (code; 4,096 with the CIFAR stem).
    pub queue_size: u32,
    /// Momentum of the key encoder. Default 0.999 (code; 0.99 with the CIFAR stem).
    pub momentum: f64,
    /// Projector of both branches. Default: one hidden layer of the feature width, 128 out, no BN (README, `--mlp`).
    pub projector: Projector,
    /// How prototypes are found.
    pub clustering: Clustering,
    /// Prototypes that a step contrasts with, as far as there are so many. Default: `queue_size` (code).
    pub n_negative_prototypes: u32,
    /// With which prototypes an image is compared. Default those of the batch (code).
    pub prototype_columns: PrototypeColumns,
}

impl Parameters for Pcl {
    type Wire = v1::Pcl;

    fn check(wire: &v1::Pcl, encoder: &Encoder, at: &Scope) -> Self {
        let (queue_size, momentum) = queue_and_momentum(encoder.stem());
        let queue_size = at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24);
        let n_negatives = wire.n_negative_prototypes;
        Self {
            temperature: at.number("temperature", wire.temperature, 0.2, positive_to(100.0)),
            queue_size,
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), mlp(encoder), encoder, at),
            clustering: Clustering::check(wire.clustering.as_ref(), encoder, at),
            n_negative_prototypes: at.number("n_negative_prototypes", n_negatives, queue_size, 1..=1 << 24),
            prototype_columns: PrototypeColumns::check(wire.prototype_columns, at),
        }
    }

    fn published(&self, stem: Stem) -> Published {
        training(stem)
    }

    /// MoCo v2's, twice.
    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        vec![View::moco_v2(size); 2]
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::Pcl {
        v1::Pcl {
            temperature: Some(self.temperature),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
            clustering: Some(self.clustering.to_wire()),
            n_negative_prototypes: Some(self.n_negative_prototypes),
            prototype_columns: self.prototype_columns.to_wire().into(),
        }
    }
}

/// Those of PCL; with the CIFAR stem of MoCo's notebook.
pub(super) fn queue_and_momentum(stem: Stem) -> (u32, f64) {
    match stem {
        Stem::Cifar => (4_096, 0.99),
        Stem::ImageNet => (16_384, 0.999),
    }
}

/// MoCo v2's projector.
pub(super) fn mlp(encoder: &Encoder) -> Projector {
    Projector::plain(vec![encoder.feature_dim()], 128)
}

/// MoCo v2's training.
pub(super) fn training(stem: Stem) -> Published {
    let (global_batch, weight_decay) = match stem {
        Stem::Cifar => (512, 5e-4),
        Stem::ImageNet => (256, 1e-4),
    };
    Published { global_batch, weight_decay, ..Published::MOCO }
}

/// With which prototypes an image is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrototypeColumns {
    /// Those of the whole batch, and negatives that none of its images belongs to (code).
    Batch,
    /// Its own, and negatives of its own (paper).
    Image,
}

impl PrototypeColumns {
    fn check(number: i32, at: &Scope) -> Self {
        match at.known("prototype_columns", number).unwrap_or_default() {
            pcl::PrototypeColumns::Batch | pcl::PrototypeColumns::Unspecified => Self::Batch,
            pcl::PrototypeColumns::Image => Self::Image,
        }
    }

    fn to_wire(self) -> pcl::PrototypeColumns {
        match self {
            Self::Batch => pcl::PrototypeColumns::Batch,
            Self::Image => pcl::PrototypeColumns::Image,
        }
    }
}
