//! Optimiser steps over lists of tensors.
//!
//! All steps update in place, and leave parameters whose gradient is undefined alone. What a rule keeps from step to
//! step starts as zeros (`zeros_like`, so that it lies in memory as its parameter does).

use std::borrow::Borrow;

use tch::Tensor;

use crate::tensor::{adopt, lend_all};
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

/// The settings of one step of LARS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LarsStep {
    /// The learning rate; momentum buffers do not hold it.
    pub lr: f64,
    /// How much of the step before is kept; with 0, no momentum buffers are needed.
    pub momentum: f64,
    /// The pull of weights towards zero, added to the gradient before it is scaled.
    pub weight_decay: f64,
    /// The norm that each gradient is scaled to, as a share of its parameter's; where either norm is 0, none is scaled.
    pub trust_coefficient: f64,
}

/// The settings of one step of AdamW, with the meaning they have in `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// The learning rate.
    pub lr: f64,
    /// How much of the mean gradient is kept.
    pub beta1: f64,
    /// How much of the mean squared gradient is kept.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// The share of a weight that a step at learning rate 1 takes away.
    pub weight_decay: f64,
}

/// What AdamW keeps of the past, one tensor a parameter each.
#[derive(Debug, Clone, Copy)]
pub struct AdamWMemory<'a> {
    /// Moving averages of the gradient.
    pub means: &'a [Tensor],
    /// Moving averages of the squared gradient.
    pub squares: &'a [Tensor],
    /// Steps taken, f32, one element each, on the parameter's device.
    pub counts: &'a [Tensor],
}

/// Takes a step of SGD. From momenta of zero, the first one sets them to the gradient, as `torch.optim.SGD` does.
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
    check_lengths("sgd step", parameters, gradients, &needed(momentum_buffers, step.momentum))?;
    let SgdStep { lr, momentum, weight_decay, nesterov } = step;
    let config = ffi::SgdConfig { lr, momentum, weight_decay, nesterov };
    ffi::fused_sgd(&lend_all(parameters), &lend_all(gradients), &lend_all(momentum_buffers), &config)
        .map_err(|error| Error::from(error).during("sgd step"))
}

/// Takes a step of LARS: each gradient, with its decay, is scaled to a norm in proportion to that of its parameter.
///
/// # Errors
/// When the lists differ in length, or a tensor in shape or kind.
pub fn fused_lars(
    parameters: &[Tensor],
    gradients: &[Tensor],
    momentum_buffers: &[Tensor],
    step: LarsStep,
) -> Result<(), Error> {
    check_lengths("lars step", parameters, gradients, &needed(momentum_buffers, step.momentum))?;
    let LarsStep { lr, momentum, weight_decay, trust_coefficient } = step;
    let config = ffi::LarsConfig { lr, momentum, weight_decay, trust_coefficient };
    ffi::fused_lars(&lend_all(parameters), &lend_all(gradients), &lend_all(momentum_buffers), &config)
        .map_err(|error| Error::from(error).during("lars step"))
}

/// Takes a step of AdamW and counts it.
///
/// # Errors
/// When the lists differ in length, or a tensor in shape or kind.
pub fn fused_adamw(
    parameters: &[Tensor],
    gradients: &[Tensor],
    memory: AdamWMemory<'_>,
    step: AdamWStep,
) -> Result<(), Error> {
    let AdamWMemory { means, squares, counts } = memory;
    let kept = [("means", means.len()), ("mean squares", squares.len()), ("counts", counts.len())];
    check_lengths("adamw step", parameters, gradients, &kept)?;
    let (means, squares, counts) = (lend_all(means), lend_all(squares), lend_all(counts));
    let memory = ffi::AdamWMemory { means: &means, squares: &squares, counts: &counts };
    let AdamWStep { lr, beta1, beta2, epsilon, weight_decay } = step;
    let config = ffi::AdamWConfig { lr, beta1, beta2, epsilon, weight_decay };
    ffi::fused_adamw(&lend_all(parameters), &lend_all(gradients), &memory, &config)
        .map_err(|error| Error::from(error).during("adamw step"))
}

/// Scales gradients down, in place, where the norm of all of them together is above `max_norm`. Returns the norm that
/// they had, on their device and not waited for; undefined gradients count as 0.
///
/// # Errors
/// When the gradients differ in kind or device.
pub fn clip_gradients(gradients: &[Tensor], max_norm: f64) -> Result<Tensor, Error> {
    let norm = ffi::clip_gradients(&lend_all(gradients), max_norm);
    norm.map(adopt).map_err(|error| Error::from(error).during("gradient clipping"))
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

/// Without momentum nothing is kept.
fn needed<M>(momentum_buffers: &[M], momentum: f64) -> Vec<(&'static str, usize)> {
    if momentum == 0.0 { vec![] } else { vec![("momentum buffers", momentum_buffers.len())] }
}

fn check_lengths<P, G>(
    during: &str,
    parameters: &[P],
    gradients: &[G],
    kept: &[(&str, usize)],
) -> Result<(), Error> {
    let n_parameters = parameters.len();
    let lists: Vec<_> = [("gradients", gradients.len())].iter().chain(kept).copied().collect();
    if lists.iter().all(|&(_, len)| len == n_parameters) {
        return Ok(());
    }
    let others: Vec<String> = lists.iter().map(|(name, len)| format!("{len} {name}")).collect();
    let message = format!("{during}: {n_parameters} parameters, {}", others.join(", "));
    Err(Error::new(ErrorKind::Other, message))
}
