//! Linear probes, by whose protocol.

use super::Preset;
use crate::{
    scope::{Scope, positive_to},
    v1::{self, linear_probe as wire},
};

/// A linear classifier on frozen features.
///
/// Features are computed once, from images that are not augmented, where the published protocols crop and flip anew
/// in each epoch: figures are comparable with one another, not to the digit with the papers'.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbe {
    /// Whose protocol the defaults are. Default: L-BFGS.
    pub preset: Preset,
    /// How it is fitted. Default: the preset's.
    pub solver: Solver,
    /// What is done to the features first. Default: the preset's.
    pub scaling: Scaling,
    /// Share of the training images that it is fitted to, the same of each class, drawn by the seed. Default: all.
    pub labelled_share: Option<f64>,
}

/// How a probe is fitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Solver {
    /// Full-batch L-BFGS.
    Lbfgs(Lbfgs),
    /// Steps on small batches.
    Descent(Descent),
}

/// Full-batch L-BFGS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lbfgs {
    /// Iterations. Default 100 (scikit-learn's LogisticRegression).
    pub max_iterations: u32,
    /// Weight of the squared norm of the weights. Default 1e-4.
    pub l2: f64,
}

/// Steps on small batches. Defaults: the preset's; milestones stay where they are when `epochs` changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Descent {
    /// What a gradient does.
    pub rule: Rule,
    /// Passes over the training images.
    pub epochs: u32,
    /// Images per step over all ranks; the last batch of an epoch may be smaller.
    pub batch: u32,
    /// Learning rate of the first epoch.
    pub lr: f64,
    /// Weight decay, added to the gradient of weights and biases.
    pub weight_decay: f64,
    /// How the learning rate moves.
    pub decay: Decay,
}

/// What a gradient does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent, PyTorch's.
    Sgd {
        /// Default 0.9 in all presets.
        momentum: f64,
    },
    /// Adam with PyTorch's constants.
    Adam,
}

/// How a probe's learning rate moves: once per epoch, counted from 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Decay {
    /// Not at all.
    Constant,
    /// To zero.
    Cosine,
    /// Multiplied at each milestone.
    Steps {
        /// Epochs.
        milestones: Vec<u32>,
        /// By how much. Default 0.1, or the preset's.
        factor: f64,
    },
}

/// What is done to the features first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Nothing.
    None,
    /// Mean 0 and variance 1 over the training images.
    Standard,
    /// Rows of unit length, then as `Standard`.
    UnitStandard,
}

impl LinearProbe {
    pub(super) fn check(wire: &v1::LinearProbe, at: &Scope) -> Self {
        let preset = Preset::check(wire.preset, at);
        Self {
            preset,
            solver: match preset {
                Preset::Lbfgs => Solver::Lbfgs(Lbfgs::check(wire, at)),
                _ => Solver::Descent(Descent::check(wire, preset, at)),
            },
            scaling: match at.known("scaling", wire.scaling).unwrap_or_default() {
                wire::Scaling::Unspecified => preset.scaling(),
                wire::Scaling::None => Scaling::None,
                wire::Scaling::Standard => Scaling::Standard,
                wire::Scaling::UnitStandard => Scaling::UnitStandard,
            },
            labelled_share: at.optional("labelled_share", wire.labelled_share, positive_to(1.0)),
        }
    }

    pub(super) fn to_wire(&self) -> v1::LinearProbe {
        let scaling = match self.scaling {
            Scaling::None => wire::Scaling::None,
            Scaling::Standard => wire::Scaling::Standard,
            Scaling::UnitStandard => wire::Scaling::UnitStandard,
        };
        let solver = match &self.solver {
            Solver::Lbfgs(lbfgs) => lbfgs.to_wire(),
            Solver::Descent(descent) => descent.to_wire(),
        };
        v1::LinearProbe {
            enabled: Some(true),
            preset: self.preset.to_wire().into(),
            scaling: scaling.into(),
            labelled_share: self.labelled_share,
            ..solver
        }
    }
}

impl Lbfgs {
    fn check(wire: &v1::LinearProbe, at: &Scope) -> Self {
        let others = [
            ("epochs", wire.epochs.is_some()),
            ("batch", wire.batch.is_some()),
            ("lr", wire.lr.is_some()),
            ("momentum", wire.momentum.is_some()),
            ("weight_decay", wire.weight_decay.is_some()),
            ("decay", wire.decay != 0),
            ("milestones", !wire.milestones.is_empty()),
            ("factor", wire.factor.is_some()),
        ];
        refuse_given(&others, "is no setting of L-BFGS: choose another `preset`, such as moco", at);
        Self {
            max_iterations: at.number("max_iterations", wire.max_iterations, 100, 1..=100_000),
            l2: at.number("l2", wire.l2, 1e-4, 0.0..=1e6),
        }
    }

    fn to_wire(self) -> v1::LinearProbe {
        v1::LinearProbe { max_iterations: Some(self.max_iterations), l2: Some(self.l2), ..Default::default() }
    }
}

impl Descent {
    fn check(wire: &v1::LinearProbe, preset: Preset, at: &Scope) -> Self {
        let others = [("max_iterations", wire.max_iterations.is_some()), ("l2", wire.l2.is_some())];
        refuse_given(&others, "is a setting of `preset: lbfgs` only", at);
        let published = preset.published();
        let batch = at.number("batch", wire.batch, published.batch, 1..=1 << 20);
        // SCE's rate is given per 256 images, the others' as it is.
        let share = if preset == Preset::Sce { f64::from(batch) / f64::from(published.batch) } else { 1.0 };
        Self {
            rule: Rule::check(wire, published.rule, at),
            epochs: at.number("epochs", wire.epochs, published.epochs, 1..=100_000),
            batch,
            lr: at.number("lr", wire.lr, published.lr * share, positive_to(1e4)),
            weight_decay: at.number("weight_decay", wire.weight_decay, published.weight_decay, 0.0..=1.0),
            decay: Decay::check(wire, published.decay, at),
        }
    }

    fn to_wire(&self) -> v1::LinearProbe {
        let (decay, milestones, factor) = match &self.decay {
            Decay::Constant => (wire::Decay::Constant, vec![], None),
            Decay::Cosine => (wire::Decay::Cosine, vec![], None),
            Decay::Steps { milestones, factor } => (wire::Decay::Steps, milestones.clone(), Some(*factor)),
        };
        v1::LinearProbe {
            epochs: Some(self.epochs),
            batch: Some(self.batch),
            lr: Some(self.lr),
            momentum: match self.rule {
                Rule::Sgd { momentum } => Some(momentum),
                Rule::Adam => None,
            },
            weight_decay: Some(self.weight_decay),
            decay: decay.into(),
            milestones,
            factor,
            ..Default::default()
        }
    }
}

impl Rule {
    fn check(wire: &v1::LinearProbe, published: Self, at: &Scope) -> Self {
        match published {
            Self::Sgd { momentum } => {
                Self::Sgd { momentum: at.number("momentum", wire.momentum, momentum, 0.0..1.0) }
            }
            Self::Adam => {
                refuse_given(&[("momentum", wire.momentum.is_some())], "is no setting of Adam", at);
                Self::Adam
            }
        }
    }
}

impl Decay {
    fn check(wire: &v1::LinearProbe, published: Self, at: &Scope) -> Self {
        let decay = match at.known("decay", wire.decay).unwrap_or_default() {
            wire::Decay::Unspecified => published,
            wire::Decay::Constant => Self::Constant,
            wire::Decay::Cosine => Self::Cosine,
            wire::Decay::Steps => match published {
                Self::Steps { .. } => published,
                _ => Self::Steps { milestones: vec![], factor: 0.1 },
            },
        };
        let Self::Steps { milestones, factor } = decay else {
            let steps = [("milestones", !wire.milestones.is_empty()), ("factor", wire.factor.is_some())];
            refuse_given(&steps, "has a meaning with `decay: steps` only", at);
            return decay;
        };
        let milestones = if wire.milestones.is_empty() { milestones } else { wire.milestones.clone() };
        let is_growing = milestones.windows(2).all(|pair| pair[0] < pair[1]);
        if milestones.first().is_none_or(|&first| first == 0) || !is_growing {
            at.violate("milestones", format!("must be growing epochs from 1 on, not {milestones:?}"));
        }
        Self::Steps { milestones, factor: at.number("factor", wire.factor, factor, positive_to(1.0)) }
    }
}

fn refuse_given(fields: &[(&str, bool)], why: &str, at: &Scope) {
    for (field, _) in fields.iter().filter(|(_, is_given)| *is_given) {
        at.violate(field, why);
    }
}
