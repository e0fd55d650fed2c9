//! Parameters of SCE (WACV 2023; code CEA-LIST/SCE @ 07cbe63).
//!
//! With the ImageNet stem the defaults are those of the two-crop ImageNet configuration, with the CIFAR stem those
//! of the CIFAR one; the former was published with a global batch of 4,096, to which its rate is in proportion.

use super::{MomentumSchedule, Parameters, Predictor, Projector, Published, QueueUse};
use crate::{
    recipe::{Decay, Encoder, Stem, View, WarmupForm, optimizer::RuleKind},
    scope::{Scope, positive_to},
    v1::{self, sce},
};

/// Parameters of SCE.
#[derive(Clone, Debug, PartialEq)]
pub struct Sce {
    /// Temperature of the online logits. Default 0.1 (code).
    pub temperature: f64,
    /// Temperature of the target relations, at most `temperature`. Default 0.07 (0.05 with the CIFAR stem; code).
    pub target_temperature: f64,
    /// Share of the one-hot target. Default 0.5 (code).
    pub lambda: f64,
    /// Keys in the queue. Default 65,536 (4,096 with the CIFAR stem; code).
    pub queue_size: u32,
    /// Momentum of the target branch at step 0. Default 0.99 (code).
    pub momentum: f64,
    /// How it moves. Default cosine to one (constant with the CIFAR stem; code).
    pub momentum_schedule: MomentumSchedule,
    /// Both directions. Default true (with the CIFAR stem and without local views false: view 0 is the target; code).
    pub symmetric: bool,
    /// What the own key is in the target relations. Default masked (paper).
    pub self_mode: SelfMode,
    /// Projector of both branches. Default: two hidden layers of the feature width, 256 out, BN after every layer;
    /// with local views hidden layers of twice that width; with the CIFAR stem one hidden layer of the feature width with
    /// BN, 128 out (code).
    pub projector: Projector,
    /// Predictor of the online branch. Default: one of width 4,096 (none with the CIFAR stem; code).
    pub predictor: Option<Predictor>,
    /// Keys are normalised among shuffled images. Default false (true with the CIFAR stem; code).
    pub shuffle_bn: bool,
    /// Small views beside the two global ones. Default 0; the multi-crop configuration has 4 (code).
    pub local_views: u32,
}

impl Parameters for Sce {
    type Wire = v1::Sce;

    fn check(wire: &v1::Sce, encoder: &Encoder, at: &Scope) -> Self {
        let is_cifar = encoder.stem() == Stem::Cifar;
        let (target_temperature, queue_size) = if is_cifar { (0.05, 4_096) } else { (0.07, 65_536) };
        let predictor = if is_cifar { None } else { Some(4_096) };
        let momentum_schedule =
            if is_cifar { MomentumSchedule::Constant } else { MomentumSchedule::CosineToOne };
        let local_views = at.number("local_views", wire.local_views, 0, 0..=16);
        let sce = Self {
            temperature: at.number("temperature", wire.temperature, 0.1, positive_to(100.0)),
            target_temperature: at.number(
                "target_temperature",
                wire.target_temperature,
                target_temperature,
                positive_to(100.0),
            ),
            lambda: at.number("lambda", wire.lambda, 0.5, 0.0..=1.0),
            queue_size: at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, 0.99, 0.0..=1.0),
            momentum_schedule: MomentumSchedule::check(wire.momentum_schedule, momentum_schedule, at),
            symmetric: wire.symmetric.unwrap_or(!is_cifar || local_views > 0),
            self_mode: SelfMode::check(wire.self_mode, at),
            projector: Projector::check(
                wire.projector.as_ref(),
                default_projector(encoder, local_views),
                encoder,
                at,
            ),
            predictor: Predictor::check(wire.predictor.as_ref(), predictor, at),
            shuffle_bn: wire.shuffle_bn.unwrap_or(is_cifar),
            local_views,
        };
        if local_views > 0 && !sce.symmetric {
            at.violate("symmetric", "must be true with `local_views`: both global views are targets");
        }
        at.ordered(("target_temperature", sce.target_temperature), ("temperature", sce.temperature));
        sce
    }

    fn published(&self, stem: Stem) -> Published {
        let published = Published {
            warmup_epochs: 10.0,
            warmup_form: WarmupForm::ToLastStep,
            decay: Decay::COSINE_PER_STEP,
            ..Published::MOCO
        };
        match stem {
            Stem::Cifar => {
                Published { lr_per_256: 0.06, weight_decay: 5e-4, warmup_epochs: 5.0, ..published }
            }
            Stem::ImageNet => Published {
                rule: RuleKind::Lars,
                lr_per_256: 0.3,
                weight_decay: 1e-6,
                exclude_1d: true,
                ..published
            },
        }
    }

    /// ImageNet: the two global views. CIFAR: a weak one for the target, then a strong one. Local views in the order of
    /// their published sizes, again from the largest after the fourth.
    fn published_views(&self, stem: Stem, size: u32) -> Vec<View> {
        if self.local_views > 0 {
            let mut views = View::sce_multi_crop(size);
            let local = views.split_off(2);
            views.extend(local.into_iter().cycle().take(self.local_views as usize));
            return views;
        }
        match stem {
            Stem::Cifar => View::sce_small(size),
            Stem::ImageNet => View::moco_v3(size),
        }
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 + u32::from(self.symmetric) })
    }

    fn to_wire(&self) -> v1::Sce {
        v1::Sce {
            temperature: Some(self.temperature),
            target_temperature: Some(self.target_temperature),
            lambda: Some(self.lambda),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            momentum_schedule: self.momentum_schedule.to_wire().into(),
            symmetric: Some(self.symmetric),
            self_mode: self.self_mode.to_wire().into(),
            projector: Some(self.projector.to_wire()),
            predictor: Some(Predictor::to_wire(self.predictor.as_ref())),
            shuffle_bn: Some(self.shuffle_bn),
            local_views: Some(self.local_views),
        }
    }
}

fn default_projector(encoder: &Encoder, local_views: u32) -> Projector {
    let feature_dim = encoder.feature_dim();
    match encoder.stem() {
        Stem::Cifar => Projector { batch_norm: true, ..Projector::plain(vec![feature_dim], 128) },
        Stem::ImageNet => {
            let hidden_dim = if local_views > 0 { 2 * feature_dim } else { feature_dim };
            let layers = Projector::plain(vec![hidden_dim; 2], 256);
            Projector { batch_norm: true, last_batch_norm: true, ..layers }
        }
    }
}

/// What the own key is in the target relations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfMode {
    /// Excluded (paper).
    Masked,
    /// Logit 0 (released code).
    ZeroLogit,
}

impl SelfMode {
    fn check(number: i32, at: &Scope) -> Self {
        match at.known("self_mode", number).unwrap_or_default() {
            sce::SelfMode::Masked | sce::SelfMode::Unspecified => Self::Masked,
            sce::SelfMode::ZeroLogit => Self::ZeroLogit,
        }
    }

    fn to_wire(self) -> sce::SelfMode {
        match self {
            Self::Masked => sce::SelfMode::Masked,
            Self::ZeroLogit => sce::SelfMode::ZeroLogit,
        }
    }
}
