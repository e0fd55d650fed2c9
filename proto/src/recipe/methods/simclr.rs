//! Parameters of SimCLR (ICML 2020; code google-research/simclr @ 383d414).
//!
//! The defaults are those of the README's commands, with the CIFAR stem of its CIFAR-10 one. The source synchronises batch
//! normalisation.

use super::{Parameters, Projector, Published};
use crate::{
    recipe::{Decay, Encoder, Stem, View, optimizer::RuleKind},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of SimCLR.
#[derive(Clone, Debug, PartialEq)]
pub struct Simclr {
    /// Temperature of the logits. Default 0.1 (0.5 with the CIFAR stem; README).
    pub temperature: f64,
    /// Projector. Default: one hidden layer of the feature width, 128 out, BN after both (code; its last BN also has a
    /// scale).
    pub projector: Projector,
}

impl Parameters for Simclr {
    type Wire = v1::Simclr;

    fn check(wire: &v1::Simclr, encoder: &Encoder, at: &Scope) -> Self {
        let temperature = if encoder.stem() == Stem::Cifar { 0.5 } else { 0.1 };
        let projector = Projector {
            batch_norm: true,
            last_batch_norm: true,
            ..Projector::plain(vec![encoder.feature_dim()], 128)
        };
        Self {
            temperature: at.number("temperature", wire.temperature, temperature, positive_to(100.0)),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
        }
    }

    fn published(&self, stem: Stem) -> Published {
        let (epochs, global_batch, lr_per_256) = match stem {
            Stem::Cifar => (1_000, 512, 1.0),
            Stem::ImageNet => (100, 4_096, 0.3),
        };
        Published {
            epochs,
            global_batch,
            rule: RuleKind::Lars,
            lr_per_256,
            exclude_1d: true,
            warmup_epochs: 10.0,
            decay: Decay::COSINE_PER_STEP,
            ..Published::MOCO
        }
    }

    /// Colours are jittered at full strength, at half of it with the CIFAR stem (README).
    fn published_views(&self, stem: Stem, size: u32) -> Vec<View> {
        let strength = if stem == Stem::Cifar { 0.5 } else { 1.0 };
        vec![View::simclr(size, strength); 2]
    }

    fn to_wire(&self) -> v1::Simclr {
        v1::Simclr { temperature: Some(self.temperature), projector: Some(self.projector.to_wire()) }
    }
}
