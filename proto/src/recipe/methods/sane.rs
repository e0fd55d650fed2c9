//! Parameters of SANE (NeurIPS 2021).
//!
//! No code was released. What the paper does not state is this project's choice, and named as such.

use super::{MocoV2, Parameters, Projector, Published, QueueUse, Share, crops};
use crate::{
    recipe::{Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1::{self, sane},
};

/// Parameters of SANE.
#[derive(Clone, Debug, PartialEq)]
pub struct Sane {
    /// Temperature of the logits. Default 0.2 (paper).
    pub temperature: f64,
    /// Factor of the temperature in the refined labels, at most 1. Default 1 (0.8 with the CIFAR stem; paper).
    pub label_temperature: f64,
    /// Keys in the queue. Default 65,536 (4,096 with the CIFAR stem; paper).
    pub queue_size: u32,
    /// Momentum of the target branch. Default 0.999 (0.99 with the CIFAR stem; choice: MoCo v2's).
    pub momentum: f64,
    /// Projector of both branches. Default: two hidden layers of the feature width, 128 out, no BN (choice: the paper has
    /// three layers and names no width).
    pub projector: Projector,
    /// Weight of the refined labels at the start. Default 0.5 (0 with the CIFAR stem; paper).
    pub label_weight_start: f64,
    /// Weight of the refined labels at the end. Default 10 (1 with the CIFAR stem; paper).
    pub label_weight_end: f64,
    /// Share of the loss on mixed images. Default 0.5 (choice: where the paper's table 5 peaks).
    pub mixup_share: f64,
    /// Both parameters of the beta distribution of the query's share. Default 0.1 (2 with the CIFAR stem; paper).
    pub mixup_concentration: f64,
    /// Pairs of views that are mixed, of rising size from 96 of 224 pixels on; with the CIFAR stem of falling size from
    /// the whole on. Default 1 (SANE-Single; paper); 5 is SANE-Multi.
    pub mixup_views: u32,
    /// Whether the key's side of a mixed pair is strongly augmented. Default false (paper's weak form).
    pub strong: bool,
    /// What draws its own share. Default a group of images (choice: one share a batch, as mixup's reference code).
    pub mixup_scope: MixupScope,
    /// Consecutive images of the global batch among which partners are drawn. Default: the group of batch normalisation,
    /// or where it has none the batch of a rank (choice: no image crosses ranks).
    pub mixup_group_size: u32,
    /// Whether labels are refined by p, the target's estimate. Default true (paper; off in its ablations).
    pub estimate: bool,
    /// Whether labels are refined by q, the estimate without the own key. Default true (as `estimate`).
    pub masked_estimate: bool,
    /// Whether images are mixed; else the query's side of a pair is seen as it is. Default true (as `estimate`).
    pub mixup: bool,
    /// Whether labels are refined by what the online branch makes of the key's view, at one more forward pass without gradient,
    /// rather than by the key. Default false (choice: the paper's formula is open here, its algorithm evaluates the key).
    pub online_anchor: bool,
}

impl Parameters for Sane {
    type Wire = v1::Sane;

    fn check(wire: &v1::Sane, encoder: &Encoder, at: &Scope) -> Self {
        let (label_temperature, start, end, concentration) = match encoder.stem() {
            Stem::Cifar => (0.8, 0.0, 1.0, 2.0),
            Stem::ImageNet => (1.0, 0.5, 10.0, 0.1),
        };
        let (queue_size, momentum) = MocoV2::memory(encoder.stem());
        let projector = Projector::plain(vec![encoder.feature_dim(); 2], 128);
        let given_concentration = wire.mixup_concentration;
        Self {
            temperature: at.number("temperature", wire.temperature, 0.2, positive_to(100.0)),
            label_temperature: at.number(
                "label_temperature",
                wire.label_temperature,
                label_temperature,
                positive_to(1.0),
            ),
            queue_size: at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
            label_weight_start: at.number("label_weight_start", wire.label_weight_start, start, 0.0..=1e3),
            label_weight_end: at.number("label_weight_end", wire.label_weight_end, end, 0.0..=1e3),
            mixup_share: at.number("mixup_share", wire.mixup_share, 0.5, 0.0..=1.0),
            mixup_concentration: at.number(
                "mixup_concentration",
                given_concentration,
                concentration,
                0.01..=100.0,
            ),
            mixup_views: at.number("mixup_views", wire.mixup_views, 1, 1..=5),
            strong: wire.strong.unwrap_or(false),
            mixup_scope: MixupScope::check(wire.mixup_scope, at),
            mixup_group_size: at.optional("mixup_group_size", wire.mixup_group_size, 1..).unwrap_or(0),
            estimate: wire.estimate.unwrap_or(true),
            masked_estimate: wire.masked_estimate.unwrap_or(true),
            mixup: wire.mixup.unwrap_or(true),
            online_anchor: wire.online_anchor.unwrap_or(false),
        }
    }

    fn settle(&mut self, share: &Share, at: &Scope) {
        if self.mixup_group_size == 0 {
            self.mixup_group_size = share.group.unwrap_or(share.n_images);
        }
        if !share.n_images.is_multiple_of(self.mixup_group_size) {
            let (size, n_images) = (self.mixup_group_size, share.n_images);
            let message = format!("must divide the batch of a rank, {n_images} images, not be {size}");
            at.violate("mixup_group_size", message);
        }
    }

    /// As MoCo v2 on ImageNet, for either stem (paper).
    fn published(&self, _stem: Stem) -> Published {
        Published::MOCO
    }

    /// Query and key, then pairs of which the second is strong where asked for.
    fn published_views(&self, stem: Stem, size: u32) -> Vec<View> {
        let weak = View::moco_v2(size);
        let key_side = if self.strong { View::clsa_strong(size) } else { weak.clone() };
        let at_sizes = |view: &View| match stem {
            Stem::Cifar => crops::largest(view, self.mixup_views),
            Stem::ImageNet => crops::smallest(view, self.mixup_views),
        };
        let pairs =
            at_sizes(&weak).into_iter().zip(at_sizes(&key_side)).flat_map(|(one, other)| [one, other]);
        [weak.clone(), weak.clone()].into_iter().chain(pairs).collect()
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::Sane {
        v1::Sane {
            temperature: Some(self.temperature),
            label_temperature: Some(self.label_temperature),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
            label_weight_start: Some(self.label_weight_start),
            label_weight_end: Some(self.label_weight_end),
            mixup_share: Some(self.mixup_share),
            mixup_concentration: Some(self.mixup_concentration),
            mixup_views: Some(self.mixup_views),
            strong: Some(self.strong),
            mixup_scope: self.mixup_scope.to_wire().into(),
            mixup_group_size: Some(self.mixup_group_size),
            estimate: Some(self.estimate),
            masked_estimate: Some(self.masked_estimate),
            mixup: Some(self.mixup),
            online_anchor: Some(self.online_anchor),
        }
    }
}

/// What draws its own share of a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixupScope {
    /// A group of images.
    Group,
    /// Each image.
    Image,
}

impl MixupScope {
    fn check(number: i32, at: &Scope) -> Self {
        match at.known("mixup_scope", number).unwrap_or_default() {
            sane::MixupScope::Group | sane::MixupScope::Unspecified => Self::Group,
            sane::MixupScope::Image => Self::Image,
        }
    }

    fn to_wire(self) -> sane::MixupScope {
        match self {
            Self::Group => sane::MixupScope::Group,
            Self::Image => sane::MixupScope::Image,
        }
    }
}
