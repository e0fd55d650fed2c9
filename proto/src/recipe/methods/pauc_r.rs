//! Parameters of PAUC-R (reconstruction): this project's reading of the abstract of PAUC (Mo, Sun and Li, BMVC 2022,
//! arXiv 2210.10194), not the paper's formula.
//!
//! What it has in common with PCL has PCL's defaults; weights are (ours).

use super::{
    Clustering, Parameters, Projector, Published, QueueUse,
    pcl::{mlp, queue_and_momentum, training},
};
use crate::{
    recipe::{Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of PAUC-R (reconstruction).
#[derive(Clone, Debug, PartialEq)]
pub struct PaucR {
    /// Temperature of the logits of instances, and mean concentration of prototypes. Default 0.2 (PCL).
    pub temperature: f64,
    /// Keys in the queue. Default 16,384 (PCL; 4,096 with the CIFAR stem).
    pub queue_size: u32,
    /// Momentum of the key encoder. Default 0.999 (PCL; 0.99 with the CIFAR stem).
    pub momentum: f64,
    /// Projector of both branches. Default as PCL.
    pub projector: Projector,
    /// How prototypes are found. Default as PCL.
    pub clustering: Clustering,
    /// Weight of the alignment of images with their prototypes. Default 1 (ours).
    pub align_weight: f64,
    /// Weight of the uniformity of prototypes. Default 1 (ours).
    pub uniformity_weight: f64,
    /// Weight of the correlation between dimensions of prototypes. Default 0.1 (ours).
    pub correlation_weight: f64,
    /// Weight of ProtoNCE over all prototypes. Default 0 (ours).
    pub prototype_weight: f64,
    /// Scale of squared distances between prototypes in the uniformity. Default 2 (Wang and Isola, ICML 2020).
    pub uniformity_scale: f64,
    /// Weight of correlations between different dimensions. Default 0.005 (Barlow Twins, ICML 2021).
    pub off_diagonal_weight: f64,
}

impl Parameters for PaucR {
    type Wire = v1::PaucR;

    fn check(wire: &v1::PaucR, encoder: &Encoder, at: &Scope) -> Self {
        let (queue_size, momentum) = queue_and_momentum(encoder.stem());
        let weight = |field, given, default| at.number(field, given, default, 0.0..=1e6);
        Self {
            temperature: at.number("temperature", wire.temperature, 0.2, positive_to(100.0)),
            queue_size: at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), mlp(encoder), encoder, at),
            clustering: Clustering::check(wire.clustering.as_ref(), encoder, at),
            align_weight: weight("align_weight", wire.align_weight, 1.0),
            uniformity_weight: weight("uniformity_weight", wire.uniformity_weight, 1.0),
            correlation_weight: weight("correlation_weight", wire.correlation_weight, 0.1),
            prototype_weight: weight("prototype_weight", wire.prototype_weight, 0.0),
            uniformity_scale: at.number("uniformity_scale", wire.uniformity_scale, 2.0, positive_to(100.0)),
            off_diagonal_weight: weight("off_diagonal_weight", wire.off_diagonal_weight, 0.005),
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

    fn to_wire(&self) -> v1::PaucR {
        v1::PaucR {
            temperature: Some(self.temperature),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
            clustering: Some(self.clustering.to_wire()),
            align_weight: Some(self.align_weight),
            uniformity_weight: Some(self.uniformity_weight),
            correlation_weight: Some(self.correlation_weight),
            prototype_weight: Some(self.prototype_weight),
            uniformity_scale: Some(self.uniformity_scale),
            off_diagonal_weight: Some(self.off_diagonal_weight),
        }
    }
}
