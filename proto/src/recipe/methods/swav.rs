//! Parameters of SwAV (NeurIPS 2020; code facebookresearch/swav @ 06b1b7c), those of 800 epochs with batches of 4,096.
//!
//! The source synchronises batch normalisation. With the CIFAR stem, for which nothing is published, widths and numbers of
//! prototypes and of frozen steps are (ours), and the training is SCE's but for the end of the cosine.

use super::{Parameters, Projector, Published, QueueUse};
use crate::{
    recipe::{Decay, Encoder, Stem, View, WarmupForm, optimizer::RuleKind},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of SwAV.
#[derive(Clone, Debug, PartialEq)]
pub struct Swav {
    /// Temperature of the predictions. Default 0.1 (code).
    pub temperature: f64,
    /// Prototypes. Default 3,000 (code; 300 with the CIFAR stem).
    pub n_prototypes: u32,
    /// Sharpness of the codes. Default 0.05 (code).
    pub epsilon: f64,
    /// Rounds of Sinkhorn and Knopp. Default 3 (code).
    pub sinkhorn_iterations: u32,
    /// Steps in which the prototypes stay put. Default 313, one epoch (code; 200 with the CIFAR stem).
    pub freeze_prototypes_steps: u64,
    /// Past embeddings of each of the two views that take part in the codes. Default 0 (code; 3,840 for batches of 256).
    pub queue_size: u32,
    /// The epoch, from 0, in which the queue begins. Default 15 (code).
    pub queue_start_epoch: u32,
    /// Projector. Default: one hidden layer of 2,048 with BN, 128 out (code); the feature width with the CIFAR stem.
    pub projector: Projector,
}

impl Parameters for Swav {
    type Wire = v1::Swav;

    fn check(wire: &v1::Swav, encoder: &Encoder, at: &Scope) -> Self {
        let (n_prototypes, frozen_steps, hidden_dim) = match encoder.stem() {
            Stem::Cifar => (300, 200, encoder.feature_dim()),
            Stem::ImageNet => (3_000, 313, 2_048),
        };
        let projector = Projector { batch_norm: true, ..Projector::plain(vec![hidden_dim], 128) };
        Self {
            temperature: at.number("temperature", wire.temperature, 0.1, positive_to(100.0)),
            n_prototypes: at.number("n_prototypes", wire.n_prototypes, n_prototypes, 2..=1 << 20),
            epsilon: at.number("epsilon", wire.epsilon, 0.05, positive_to(100.0)),
            sinkhorn_iterations: at.number("sinkhorn_iterations", wire.sinkhorn_iterations, 3, 1..=1_000),
            freeze_prototypes_steps: wire.freeze_prototypes_steps.unwrap_or(frozen_steps),
            queue_size: at.number("queue_size", wire.queue_size, 0, 0..=1 << 24),
            queue_start_epoch: wire.queue_start_epoch.unwrap_or(15),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
        }
    }

    fn published(&self, stem: Stem) -> Published {
        let decay = Decay::Cosine { per_epoch: false, final_share: 1e-3, first_epoch: 0 };
        let published = Published { warmup_form: WarmupForm::ToLastStep, decay, ..Published::MOCO };
        match stem {
            Stem::Cifar => {
                Published { lr_per_256: 0.06, weight_decay: 5e-4, warmup_epochs: 5.0, ..published }
            }
            Stem::ImageNet => Published {
                epochs: 800,
                global_batch: 4_096,
                rule: RuleKind::Lars,
                lr_per_256: 0.3,
                weight_decay: 1e-6,
                warmup_epochs: 10.0,
                ..published
            },
        }
    }

    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        View::swav_multi_crop(size)
    }

    fn queue(&self) -> Option<QueueUse> {
        (self.queue_size > 0).then_some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::Swav {
        v1::Swav {
            temperature: Some(self.temperature),
            n_prototypes: Some(self.n_prototypes),
            epsilon: Some(self.epsilon),
            sinkhorn_iterations: Some(self.sinkhorn_iterations),
            freeze_prototypes_steps: Some(self.freeze_prototypes_steps),
            queue_size: Some(self.queue_size),
            queue_start_epoch: Some(self.queue_start_epoch),
            projector: Some(self.projector.to_wire()),
        }
    }
}
