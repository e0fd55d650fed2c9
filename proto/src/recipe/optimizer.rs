//! How gradients become steps, and how fast.

use super::methods::Published;
use crate::{
    scope::{Scope, positive_to},
    v1::{self, optimizer::Kind},
};

/// Stochastic gradient descent as PyTorch's SGD: decay is added to the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// Peak learning rate. Default: 0.03 per 256 images of the global batch (MoCo v2's, with its linear scaling rule;
    /// 0.06 for SCE with the CIFAR stem, code).
    pub lr: f64,
    /// Momentum. Default 0.9 (MoCo, SCE).
    pub momentum: f64,
    /// Weight decay. Default 1e-4, with the CIFAR stem 5e-4 (MoCo, SCE).
    pub weight_decay: f64,
    /// Nesterov's form. Default false (MoCo, SCE).
    pub nesterov: bool,
}

impl Sgd {
    pub(super) fn check(
        wire: Option<&v1::Optimizer>,
        published: &Published,
        global_batch: u32,
        at: &Scope,
    ) -> Self {
        let wire = match wire.and_then(|optimizer| optimizer.kind) {
            Some(Kind::Sgd(sgd)) => sgd,
            None => v1::Sgd::default(),
        };
        let at = &at.field("sgd");
        let default_lr = published.lr_per_256 * f64::from(global_batch) / 256.0;
        let sgd = Self {
            lr: at.number("lr", wire.lr, default_lr, positive_to(1e4)),
            momentum: at.number("momentum", wire.momentum, 0.9, 0.0..1.0),
            weight_decay: at.number("weight_decay", wire.weight_decay, published.weight_decay, 0.0..=1.0),
            nesterov: wire.nesterov.unwrap_or(false),
        };
        if sgd.nesterov && sgd.momentum == 0.0 {
            at.violate("nesterov", "needs a momentum above 0: raise `momentum` or leave it out");
        }
        sgd
    }

    pub(super) fn to_wire(&self) -> v1::Optimizer {
        let sgd = v1::Sgd {
            lr: Some(self.lr),
            momentum: Some(self.momentum),
            weight_decay: Some(self.weight_decay),
            nesterov: Some(self.nesterov),
        };
        v1::Optimizer { kind: Some(Kind::Sgd(sgd)) }
    }
}
