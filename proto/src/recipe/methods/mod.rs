//! One checked parameter struct per method.
//!
//! Adding a method to the recipe: a message in `recipe.proto`, a file here, and one arm in each match below.

use super::{ResNet, Stem, View};
use crate::{
    scope::Scope,
    v1::{self, method::Kind},
};

mod heads;
mod moco_v2;
mod sce;

pub use heads::{Predictor, Projector};
pub use moco_v2::MocoV2;
pub use sce::{MomentumSchedule, Sce, SelfMode};

/// The objective and its networks.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// MoCo v2.
    MocoV2(MocoV2),
    /// SCE.
    Sce(Sce),
}

/// What a method's source trains with beside its own parameters: the defaults of the rest of the recipe.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Published {
    pub global_batch: u32,
    /// Peak learning rate per 256 images of the global batch.
    pub lr_per_256: f64,
    pub weight_decay: f64,
    pub warmup_epochs: f64,
    /// Whether the cosine moves once per epoch rather than once per step.
    pub cosine_per_epoch: bool,
}

impl Method {
    /// How many views each image is turned into.
    pub fn n_views(&self) -> usize {
        match self {
            Self::MocoV2(_) | Self::Sce(_) => 2,
        }
    }

    /// How many keys a step of `global_batch` images writes into the queue.
    pub fn keys_per_step(&self, global_batch: u32) -> u64 {
        let n_key_views = match self {
            Self::MocoV2(_) => 1,
            Self::Sce(sce) => 1 + u64::from(sce.symmetric),
        };
        n_key_views * u64::from(global_batch)
    }

    pub(super) fn check(wire: Option<&v1::Method>, encoder: &ResNet, at: &Scope) -> Self {
        match wire.and_then(|method| method.kind.as_ref()) {
            Some(Kind::MocoV2(wire)) => Self::MocoV2(MocoV2::check(wire, encoder, &at.field("moco_v2"))),
            Some(Kind::Sce(wire)) => Self::Sce(Sce::check(wire, encoder, &at.field("sce"))),
            None => {
                at.refuse("names no method: give `moco_v2: {}` or `sce: {}`");
                Self::Sce(Sce::check(&v1::Sce::default(), encoder, at))
            }
        }
    }

    /// A queue holds at least the keys of one step: writing more would overwrite keys of the same step.
    pub(super) fn check_queue(&self, global_batch: u32, at: &Scope) {
        let (field, queue_size) = match self {
            Self::MocoV2(moco) => ("moco_v2.queue_size", moco.queue_size),
            Self::Sce(sce) => ("sce.queue_size", sce.queue_size),
        };
        let n_keys = self.keys_per_step(global_batch);
        if u64::from(queue_size) < n_keys {
            at.violate(field, format!("must be at least {n_keys}, the keys of one step, not {queue_size}"));
        }
    }

    pub(super) fn published(&self, stem: Stem) -> Published {
        match self {
            Self::MocoV2(_) => MocoV2::published(stem),
            Self::Sce(_) => Sce::published(stem),
        }
    }

    pub(super) fn published_views(&self, stem: Stem, size: u32) -> Vec<View> {
        match self {
            Self::MocoV2(_) => MocoV2::published_views(stem, size),
            Self::Sce(_) => Sce::published_views(stem, size),
        }
    }

    pub(super) fn to_wire(&self) -> v1::Method {
        let kind = match self {
            Self::MocoV2(moco) => Kind::MocoV2(moco.to_wire()),
            Self::Sce(sce) => Kind::Sce(sce.to_wire()),
        };
        v1::Method { kind: Some(kind) }
    }
}
