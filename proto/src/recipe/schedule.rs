//! How the learning rate moves.

use super::methods::Published;
use crate::{
    scope::{Scope, positive_to},
    v1::{self, schedule},
};

/// How the learning rate moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Length of the linear warm-up in epochs. Default: that of the method's source, but at most a tenth of the epochs.
    pub warmup_epochs: f64,
    /// Where the warm-up leads. Default: as the method's source.
    pub warmup_form: WarmupForm,
    /// Learning rate at step 0 as a share of the peak, where there is a warm-up. Default 0 (SCE, ReSSL, MoCo v3).
    pub warmup_start_share: f64,
    /// What follows. Default: as the method's source.
    pub decay: Decay,
}

/// Where the warm-up leads; with s the step and W the steps of the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmupForm {
    /// Rises with `s / (W - 1)`: at the peak with the last warm-up step, and once more with the first step of the decay
    /// (SCE, SwAV; code).
    ToLastStep,
    /// Rises with `s / W`: at the peak with the first step of the decay (ReSSL, MoCo v3; code).
    ToDecay,
    /// Rises with `s / W` towards where the decay is in the last epoch of the warm-up, over which it runs as well
    /// (InfoMin; code).
    IntoDecay,
}

/// What follows the warm-up.
#[derive(Clone, Debug, PartialEq)]
pub enum Decay {
    /// Half a cosine down to `final_share` of the peak.
    Cosine {
        /// Evaluated once per epoch rather than once per step. Default: as the method's source.
        per_epoch: bool,
        /// Share of the peak that is left at the end. Default 0, or that of the method's source.
        final_share: f64,
        /// Number of the first epoch, where evaluated per epoch: 0 (MoCo), or 1 (InfoMin), which ends at the final
        /// share. Default 0, or that of the method's source.
        first_epoch: u32,
    },
    /// Multiplied by `factor` at each milestone.
    Steps {
        /// Epochs, growing. Default, where the method's source has them: in proportion to the epochs.
        milestones: Vec<u32>,
        /// Factor. Default 0.1 (MoCo v1), or that of the method's source.
        factor: f64,
    },
    /// The peak, to the end.
    Constant,
}

impl Schedule {
    pub(super) fn check(wire: Option<&v1::Schedule>, published: &Published, epochs: u32, at: &Scope) -> Self {
        let wire = wire.cloned().unwrap_or_default();
        let n_epochs = f64::from(epochs);
        let warmup_epochs = published.warmup_epochs.min(n_epochs / 10.0);
        let start_share = wire.warmup_start_share;
        Self {
            warmup_epochs: at.number("warmup_epochs", wire.warmup_epochs, warmup_epochs, 0.0..=n_epochs),
            warmup_form: WarmupForm::check(wire.warmup_form, published, at),
            warmup_start_share: at.number("warmup_start_share", start_share, 0.0, 0.0..=1.0),
            decay: Decay::check(wire.decay.as_ref(), &published.decay_over(epochs), at),
        }
    }

    pub(super) fn to_wire(&self) -> v1::Schedule {
        v1::Schedule {
            warmup_epochs: Some(self.warmup_epochs),
            decay: Some(self.decay.to_wire()),
            warmup_form: self.warmup_form.to_wire().into(),
            warmup_start_share: Some(self.warmup_start_share),
        }
    }
}

impl WarmupForm {
    fn check(number: i32, published: &Published, at: &Scope) -> Self {
        match at.known("warmup_form", number).unwrap_or_default() {
            schedule::WarmupForm::Unspecified => published.warmup_form,
            schedule::WarmupForm::ToLastStep => Self::ToLastStep,
            schedule::WarmupForm::ToDecay => Self::ToDecay,
            schedule::WarmupForm::IntoDecay => Self::IntoDecay,
        }
    }

    fn to_wire(self) -> schedule::WarmupForm {
        match self {
            Self::ToLastStep => schedule::WarmupForm::ToLastStep,
            Self::ToDecay => schedule::WarmupForm::ToDecay,
            Self::IntoDecay => schedule::WarmupForm::IntoDecay,
        }
    }
}

impl Decay {
    /// MoCo's, once per epoch down to 0.
    pub const COSINE_PER_EPOCH: Self = Self::Cosine { per_epoch: true, final_share: 0.0, first_epoch: 0 };
    /// Once per step down to 0 (SCE, ReSSL, MoCo v3).
    pub const COSINE_PER_STEP: Self = Self::Cosine { per_epoch: false, final_share: 0.0, first_epoch: 0 };

    fn check(wire: Option<&schedule::Decay>, published: &Self, at: &Scope) -> Self {
        match wire {
            Some(schedule::Decay::Cosine(wire)) => Self::cosine(wire, published, &at.field("cosine")),
            Some(schedule::Decay::Steps(wire)) => Self::steps(wire, published, &at.field("steps")),
            Some(schedule::Decay::Constant(_)) => Self::Constant,
            None => published.clone(),
        }
    }

    fn cosine(wire: &v1::Cosine, published: &Self, at: &Scope) -> Self {
        let (per_epoch, final_share, first_epoch) = match *published {
            Self::Cosine { per_epoch, final_share, first_epoch } => (per_epoch, final_share, first_epoch),
            Self::Steps { .. } | Self::Constant => (false, 0.0, 0),
        };
        let per_epoch = wire.per_epoch.unwrap_or(per_epoch);
        if !per_epoch && wire.first_epoch.is_some_and(|given| given != 0) {
            at.violate("first_epoch", "has no meaning where `per_epoch` is false: leave it out");
        }
        let (given, default) = if per_epoch { (wire.first_epoch, first_epoch) } else { (None, 0) };
        Self::Cosine {
            per_epoch,
            final_share: at.number("final_share", wire.final_share, final_share, 0.0..=1.0),
            first_epoch: at.number("first_epoch", given, default, 0..=1),
        }
    }

    fn steps(wire: &v1::Steps, published: &Self, at: &Scope) -> Self {
        let (default_milestones, default_factor) = match published {
            Self::Steps { milestones, factor } => (milestones.as_slice(), *factor),
            Self::Cosine { .. } | Self::Constant => (&[][..], 0.1),
        };
        let milestones = if wire.milestones.is_empty() { default_milestones } else { &wire.milestones };
        let grows = milestones.iter().zip(milestones.iter().skip(1)).all(|(one, next)| one < next);
        if milestones.is_empty() || milestones[0] == 0 || !grows {
            let shown: Vec<_> = milestones.iter().take(16).collect();
            at.violate("milestones", format!("must be growing epochs from 1 on, not {shown:?}"));
        }
        let factor = at.number("factor", wire.factor, default_factor, positive_to(1.0));
        Self::Steps { milestones: milestones.to_vec(), factor }
    }

    fn to_wire(&self) -> schedule::Decay {
        match self {
            &Self::Cosine { per_epoch, final_share, first_epoch } => schedule::Decay::Cosine(v1::Cosine {
                per_epoch: Some(per_epoch),
                final_share: Some(final_share),
                first_epoch: Some(first_epoch),
            }),
            Self::Steps { milestones, factor } => {
                schedule::Decay::Steps(v1::Steps { milestones: milestones.clone(), factor: Some(*factor) })
            }
            Self::Constant => schedule::Decay::Constant(v1::Constant {}),
        }
    }
}
