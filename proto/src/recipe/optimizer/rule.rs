//! The rules by which a gradient becomes a step.

use crate::{
    recipe::methods::Published,
    scope::{Scope, positive_to},
    v1::{self, optimizer::Kind},
};

/// The rule of all parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// SGD with a trust ratio.
    Lars(Lars),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
}

impl Rule {
    pub(super) fn check(wire: Option<Kind>, kind: RuleKind, pace: &Pace, at: &Scope) -> Self {
        match wire.unwrap_or(kind.with_no_field_given()) {
            Kind::Sgd(wire) => Self::Sgd(Sgd::check(&wire, pace, &at.field("sgd"))),
            Kind::Lars(wire) => Self::Lars(Lars::check(&wire, pace, &at.field("lars"))),
            Kind::Adamw(wire) => Self::AdamW(AdamW::check(&wire, pace, &at.field("adamw"))),
        }
    }

    pub(super) fn to_wire(&self) -> Kind {
        match self {
            Self::Sgd(sgd) => Kind::Sgd(sgd.to_wire()),
            Self::Lars(lars) => Kind::Lars(lars.to_wire()),
            Self::AdamW(adamw) => Kind::Adamw(adamw.to_wire()),
        }
    }
}

/// A rule without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::recipe) enum RuleKind {
    Sgd,
    Lars,
    AdamW,
}

/// What the defaults of a rule depend on.
pub(super) struct Pace {
    /// Peak learning rate of the global batch.
    lr: f64,
    weight_decay: f64,
    pub exclude_1d: bool,
}

impl RuleKind {
    pub(super) fn of(wire: &Kind) -> Self {
        match wire {
            Kind::Sgd(_) => Self::Sgd,
            Kind::Lars(_) => Self::Lars,
            Kind::Adamw(_) => Self::AdamW,
        }
    }

    fn with_no_field_given(self) -> Kind {
        match self {
            Self::Sgd => Kind::Sgd(v1::Sgd::default()),
            Self::Lars => Kind::Lars(v1::Lars::default()),
            Self::AdamW => Kind::Adamw(v1::AdamW::default()),
        }
    }

    /// The published pace where the method's source trains by this rule; else that of MoCo v2 (SGD) or of MoCo v3 (LARS
    /// for ResNets, AdamW for ViTs), which train the same networks.
    pub(super) fn pace(self, published: &Published, global_batch: u32) -> Pace {
        let (lr_per_256, weight_decay, exclude_1d) = match self {
            _ if self == published.rule => {
                (published.lr_per_256, published.weight_decay, published.exclude_1d)
            }
            Self::Sgd => (0.03, 1e-4, false),
            Self::Lars => (0.3, 1e-6, true),
            Self::AdamW => (1.5e-4, 0.1, false),
        };
        Pace { lr: lr_per_256 * f64::from(global_batch) / 256.0, weight_decay, exclude_1d }
    }
}

/// Stochastic gradient descent as PyTorch's SGD: decay is added to the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// Peak learning rate. Default: that of the method's source per 256 images of the global batch (linear scaling), 0.03
    /// (MoCo v2) where the source trains by another rule.
    pub lr: f64,
    /// Momentum. Default 0.9 (MoCo, SCE).
    pub momentum: f64,
    /// Weight decay. Default: that of the method's source, 1e-4 (MoCo v2) where it trains by another rule.
    pub weight_decay: f64,
    /// Nesterov's form. Default false (MoCo, SCE).
    pub nesterov: bool,
}

impl Sgd {
    fn check(wire: &v1::Sgd, pace: &Pace, at: &Scope) -> Self {
        let sgd = Self {
            lr: at.number("lr", wire.lr, pace.lr, positive_to(1e4)),
            momentum: at.number("momentum", wire.momentum, 0.9, 0.0..1.0),
            weight_decay: at.number("weight_decay", wire.weight_decay, pace.weight_decay, 0.0..=1.0),
            nesterov: wire.nesterov.unwrap_or(false),
        };
        if sgd.nesterov && sgd.momentum == 0.0 {
            at.violate("nesterov", "needs a momentum above 0: raise `momentum` or leave it out");
        }
        sgd
    }

    fn to_wire(&self) -> v1::Sgd {
        v1::Sgd {
            lr: Some(self.lr),
            momentum: Some(self.momentum),
            weight_decay: Some(self.weight_decay),
            nesterov: Some(self.nesterov),
        }
    }
}

/// Layer-wise adaptive rate scaling, in MoCo v3's and SCE's form: the gradient with its decay is scaled to
/// `trust_coefficient` times the norm of the parameter, then goes through momentum, then is taken times the rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Lars {
    /// Peak learning rate. Default: that of the method's source per 256 images of the global batch (linear scaling), 0.3
    /// (MoCo v3, SCE) where the source trains by another rule.
    pub lr: f64,
    /// Momentum. Default 0.9 (MoCo v3, SCE; code).
    pub momentum: f64,
    /// Weight decay. Default: that of the method's source, 1e-6 (MoCo v3, SCE) where it trains by another rule.
    pub weight_decay: f64,
    /// Norm of a scaled gradient as a share of its parameter's. Default 0.001 (MoCo v3, SCE; code).
    pub trust_coefficient: f64,
}

impl Lars {
    fn check(wire: &v1::Lars, pace: &Pace, at: &Scope) -> Self {
        let trust_coefficient = wire.trust_coefficient;
        Self {
            lr: at.number("lr", wire.lr, pace.lr, positive_to(1e4)),
            momentum: at.number("momentum", wire.momentum, 0.9, 0.0..1.0),
            weight_decay: at.number("weight_decay", wire.weight_decay, pace.weight_decay, 0.0..=1.0),
            trust_coefficient: at.number("trust_coefficient", trust_coefficient, 1e-3, positive_to(1.0)),
        }
    }

    fn to_wire(&self) -> v1::Lars {
        v1::Lars {
            lr: Some(self.lr),
            momentum: Some(self.momentum),
            weight_decay: Some(self.weight_decay),
            trust_coefficient: Some(self.trust_coefficient),
        }
    }
}

/// Adam with decoupled weight decay as PyTorch's AdamW.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// Peak learning rate. Default: that of the method's source per 256 images of the global batch (linear scaling),
    /// 1.5e-4 (MoCo v3 with ViTs) where the source trains by another rule.
    pub lr: f64,
    /// Share of the mean gradient that is kept from step to step. Default 0.9 (PyTorch).
    pub beta1: f64,
    /// Share of the mean squared gradient that is kept from step to step. Default 0.999 (PyTorch).
    pub beta2: f64,
    /// Added to the root of the mean square. Default 1e-8 (PyTorch).
    pub epsilon: f64,
    /// Share of a parameter that a step at learning rate 1 takes away. Default: that of the method's source, 0.1 (MoCo v3
    /// with ViTs) where it trains by another rule.
    pub weight_decay: f64,
}

impl AdamW {
    fn check(wire: &v1::AdamW, pace: &Pace, at: &Scope) -> Self {
        Self {
            lr: at.number("lr", wire.lr, pace.lr, positive_to(1e4)),
            beta1: at.number("beta1", wire.beta1, 0.9, 0.0..1.0),
            beta2: at.number("beta2", wire.beta2, 0.999, 0.0..1.0),
            epsilon: at.number("epsilon", wire.epsilon, 1e-8, positive_to(1.0)),
            weight_decay: at.number("weight_decay", wire.weight_decay, pace.weight_decay, 0.0..=1.0),
        }
    }

    fn to_wire(&self) -> v1::AdamW {
        v1::AdamW {
            lr: Some(self.lr),
            beta1: Some(self.beta1),
            beta2: Some(self.beta2),
            epsilon: Some(self.epsilon),
            weight_decay: Some(self.weight_decay),
        }
    }
}
