//! How the learning rate moves.

use super::methods::Published;
use crate::{
    scope::{Scope, positive_to},
    v1::{self, schedule},
};

/// How the learning rate moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Length of the linear warm-up in epochs. Default: none for MoCo v2; for SCE 10 (5 with the CIFAR stem; code),
    /// but at most a tenth of the epochs.
    pub warmup_epochs: f64,
    /// What follows. Default: cosine.
    pub decay: Decay,
}

/// What follows the warm-up.
#[derive(Clone, Debug, PartialEq)]
pub enum Decay {
    /// Half a cosine down to `final_share` of the peak.
    Cosine {
        /// Evaluated once per epoch rather than once per step. Default true for MoCo v2, false for SCE (code).
        per_epoch: bool,
        /// Share of the peak that is left at the end. Default 0.
        final_share: f64,
    },
    /// Multiplied by `factor` at each milestone.
    Steps {
        /// Epochs, growing.
        milestones: Vec<u32>,
        /// Factor. Default 0.1 (MoCo v1).
        factor: f64,
    },
    /// The peak, to the end.
    Constant,
}

impl Schedule {
    pub(super) fn check(wire: Option<&v1::Schedule>, published: &Published, epochs: u32, at: &Scope) -> Self {
        let wire = wire.cloned().unwrap_or_default();
        let epochs = f64::from(epochs);
        let warmup_epochs = published.warmup_epochs.min(epochs / 10.0);
        Self {
            warmup_epochs: at.number("warmup_epochs", wire.warmup_epochs, warmup_epochs, 0.0..=epochs),
            decay: Decay::check(wire.decay.as_ref(), published, at),
        }
    }

    pub(super) fn to_wire(&self) -> v1::Schedule {
        v1::Schedule { warmup_epochs: Some(self.warmup_epochs), decay: Some(self.decay.to_wire()) }
    }
}

impl Decay {
    fn check(wire: Option<&schedule::Decay>, published: &Published, at: &Scope) -> Self {
        match wire {
            Some(schedule::Decay::Cosine(wire)) => Self::cosine(wire, published, &at.field("cosine")),
            Some(schedule::Decay::Steps(wire)) => Self::steps(wire, &at.field("steps")),
            Some(schedule::Decay::Constant(_)) => Self::Constant,
            None => Self::cosine(&v1::Cosine::default(), published, &at.field("cosine")),
        }
    }

    fn cosine(wire: &v1::Cosine, published: &Published, at: &Scope) -> Self {
        Self::Cosine {
            per_epoch: wire.per_epoch.unwrap_or(published.cosine_per_epoch),
            final_share: at.number("final_share", wire.final_share, 0.0, 0.0..=1.0),
        }
    }

    fn steps(wire: &v1::Steps, at: &Scope) -> Self {
        let milestones = wire.milestones.clone();
        let grows = milestones.iter().zip(milestones.iter().skip(1)).all(|(one, next)| one < next);
        if milestones.is_empty() || milestones[0] == 0 || !grows {
            let shown: Vec<_> = milestones.iter().take(16).collect();
            at.violate("milestones", format!("must be growing epochs from 1 on, not {shown:?}"));
        }
        Self::Steps { milestones, factor: at.number("factor", wire.factor, 0.1, positive_to(1.0)) }
    }

    fn to_wire(&self) -> schedule::Decay {
        match self {
            &Self::Cosine { per_epoch, final_share } => schedule::Decay::Cosine(v1::Cosine {
                per_epoch: Some(per_epoch),
                final_share: Some(final_share),
            }),
            Self::Steps { milestones, factor } => {
                schedule::Decay::Steps(v1::Steps { milestones: milestones.clone(), factor: Some(*factor) })
            }
            Self::Constant => schedule::Decay::Constant(v1::Constant {}),
        }
    }
}
