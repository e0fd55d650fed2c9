//! Stochastic gradient descent with momentum.

use kindred_bridge::{Error, SgdStep, fused_sgd};
use tch::Tensor;

use super::{optimizer::Rule, parameters::Parameters};

/// SGD as PyTorch's: decay is added to the gradient, momentum is not damped.
pub(super) struct Sgd {
    step: SgdStep,
    parameters: Parameters,
    momenta: Vec<Tensor>,
}

impl Sgd {
    /// Starts with momenta of zero, which makes the first step PyTorch's first step. The rate of `step` is not used.
    pub fn new(step: SgdStep, parameters: Parameters) -> Self {
        Self { step, momenta: parameters.zeros(), parameters }
    }
}

impl Rule for Sgd {
    fn step(&mut self, lr: f64) -> Result<(), Error> {
        let gradients = self.parameters.gradients();
        fused_sgd(self.parameters.tensors(), &gradients, &self.momenta, SgdStep { lr, ..self.step })
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.parameters.state("momentum", &self.momenta).collect()
    }
}
