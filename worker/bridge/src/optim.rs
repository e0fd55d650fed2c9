//! Optimiser steps over lists of tensors.

use std::borrow::Borrow;

use tch::Tensor;

use crate::tensor::lend_all;
use crate::{Error, ErrorKind, ffi};

/// The settings of one step of SGD, with the meaning they have in `torch.optim.SGD` (dampening 0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// The learning rate.
    pub lr: f64,
    /// How much of the step before is kept; with 0, no momentum buffers are needed.
    pub momentum: f64,
    /// The pull of weights towards zero, added to the gradient.
    pub weight_decay: f64,
    /// Whether the momentum looks one step ahead.
    pub nesterov: bool,
}

/// Updates parameters and momentum buffers in place. Parameters whose gradient is undefined are left alone.
///
/// Momentum buffers start as zeros (`zeros_like`, so that they lie in memory as their parameters do): the first step
/// then sets them to the gradient, as `torch.optim.SGD` does.
///
/// # Errors
/// When the lists differ in length, or a tensor in shape or kind.
pub fn fused_sgd<P, G, M>(
    parameters: &[P],
    gradients: &[G],
    momentum_buffers: &[M],
    step: SgdStep,
) -> Result<(), Error>
where
    P: Borrow<Tensor>,
    G: Borrow<Tensor>,
    M: Borrow<Tensor>,
{
    let n_buffers = if step.momentum == 0.0 { 0 } else { parameters.len() };
    if gradients.len() != parameters.len() || momentum_buffers.len() < n_buffers {
        let (n, n_gradients, n_buffers) = (parameters.len(), gradients.len(), momentum_buffers.len());
        let message =
            format!("sgd step: {n} parameters, {n_gradients} gradients, {n_buffers} momentum buffers");
        return Err(Error::new(ErrorKind::Other, message));
    }
    let SgdStep { lr, momentum, weight_decay, nesterov } = step;
    let config = ffi::SgdConfig { lr, momentum, weight_decay, nesterov };
    ffi::fused_sgd(&lend_all(parameters), &lend_all(gradients), &lend_all(momentum_buffers), &config)
        .map_err(|error| Error::from(error).during("sgd step"))
}

/// Moves targets towards sources, in place and without gradient: `target += weight * (source - target)`.
///
/// # Errors
/// When the lists differ in length, or a tensor in shape or kind.
pub fn foreach_lerp<T, S>(targets: &[T], sources: &[S], weight: f64) -> Result<(), Error>
where
    T: Borrow<Tensor>,
    S: Borrow<Tensor>,
{
    let result = ffi::foreach_lerp(&lend_all(targets), &lend_all(sources), weight);
    result.map_err(|error| Error::from(error).during("moving average"))
}
