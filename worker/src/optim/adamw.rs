//! Adam with decoupled weight decay.

use kindred_bridge::{AdamWMemory, AdamWStep, Error, fused_adamw};
use tch::{Kind, Tensor};

use super::{optimizer::Rule, parameters::Parameters};

/// AdamW as PyTorch's.
///
/// # Source
/// Loshchilov and Hutter, Decoupled Weight Decay Regularization (ICLR 2019), algorithm 2, with the decay scaled by the
/// learning rate as PyTorch has it.
pub(super) struct AdamW {
    step: AdamWStep,
    parameters: Parameters,
    means: Vec<Tensor>,
    squares: Vec<Tensor>,
    /// Steps taken: a parameter without gradient falls behind.
    counts: Vec<Tensor>,
}

impl AdamW {
    /// Starts with averages of zero, which each step corrects for. The rate of `step` is not used.
    pub fn new(step: AdamWStep, parameters: Parameters) -> Self {
        let count = |parameter: &Tensor| Tensor::zeros([1], (Kind::Float, parameter.device()));
        let counts = parameters.tensors().iter().map(count).collect();
        Self { step, means: parameters.zeros(), squares: parameters.zeros(), counts, parameters }
    }
}

impl Rule for AdamW {
    fn step(&mut self, lr: f64) -> Result<(), Error> {
        let gradients = self.parameters.gradients();
        let memory = AdamWMemory { means: &self.means, squares: &self.squares, counts: &self.counts };
        fused_adamw(self.parameters.tensors(), &gradients, memory, AdamWStep { lr, ..self.step })
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let means = self.parameters.state("mean", &self.means);
        let squares = self.parameters.state("mean_square", &self.squares);
        means.chain(squares).chain(self.parameters.state("count", &self.counts)).collect()
    }
}
