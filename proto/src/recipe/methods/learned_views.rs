//! Parameters of learned views (Tian et al., What Makes for Good Views for Contrastive Learning, NeurIPS 2020).
//!
//! The source gives objectives; networks and training are ours, since its code was not released.

use super::{Parameters, Projector, Published};
use crate::{
    recipe::{Decay, Encoder, Stem, View, optimizer::RuleKind},
    scope::{Scope, positive_to},
    v1,
};

/// Parameters of learned views.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedViews {
    /// Temperature of the logits. Default 0.1 (ours).
    pub temperature: f64,
    /// Whether the flow's couplings add, or scale and add. Default true (ours; the paper has both).
    pub preserves_volume: bool,
    /// Couplings, two at least: every channel moves. Default 4 (ours).
    pub n_couplings: u32,
    /// Width of a coupling's hidden layer. Default 64 (ours).
    pub hidden_dim: u32,
    /// Share of the labelled training images whose labels the flow may see; 0 is the unsupervised game. Default 0.
    pub labelled_share: f64,
    /// Epochs of the game; after them the flow stands still. Default 50 (ours).
    pub game_epochs: u32,
    /// Projector of both encoders. Default: one hidden layer of the feature width, 128 out, no BN (ours).
    pub projector: Projector,
}

impl Parameters for LearnedViews {
    type Wire = v1::LearnedViews;

    /// One channel, and the others.
    const SPLIT_CHANNELS: u32 = 1;

    fn check(wire: &v1::LearnedViews, encoder: &Encoder, at: &Scope) -> Self {
        let half = encoder.half();
        if half.is_none() {
            at.refuse("needs colour images and a ResNet in two halves: see `encoder.resnet.split_channels`");
        }
        let half = half.as_ref().unwrap_or(encoder);
        let projector = Projector::plain(vec![half.feature_dim()], 128);
        Self {
            temperature: at.number("temperature", wire.temperature, 0.1, positive_to(100.0)),
            preserves_volume: wire.preserves_volume.unwrap_or(true),
            n_couplings: at.number("n_couplings", wire.n_couplings, 4, 2..=64),
            hidden_dim: at.number("hidden_dim", wire.hidden_dim, 64, 1..=65_536),
            labelled_share: at.number("labelled_share", wire.labelled_share, 0.0, 0.0..=1.0),
            game_epochs: wire.game_epochs.unwrap_or(50),
            projector: Projector::check(wire.projector.as_ref(), projector, half, at),
        }
    }

    /// Adam (ours). The flow goes at the encoders' rate: at a fifth of it they win, and views keep what they share; a group of
    /// `online.encoder.flow.` sets another.
    fn published(&self, _: Stem) -> Published {
        Published {
            rule: RuleKind::AdamW,
            lr_per_256: 1e-3,
            weight_decay: 0.0,
            decay: Decay::Constant,
            ..Published::MOCO
        }
    }

    /// One view, of which the flow makes two.
    fn published_views(&self, _: Stem, size: u32) -> Vec<View> {
        vec![View::weak(size)]
    }

    fn needs_labels(&self) -> bool {
        self.labelled_share > 0.0
    }

    fn to_wire(&self) -> v1::LearnedViews {
        v1::LearnedViews {
            temperature: Some(self.temperature),
            preserves_volume: Some(self.preserves_volume),
            n_couplings: Some(self.n_couplings),
            hidden_dim: Some(self.hidden_dim),
            labelled_share: Some(self.labelled_share),
            game_epochs: Some(self.game_epochs),
            projector: Some(self.projector.to_wire()),
        }
    }
}
