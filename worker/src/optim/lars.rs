//! Layer-wise adaptive rate scaling.

use kindred_bridge::{Error, LarsStep, fused_lars};
use tch::Tensor;

use super::{optimizer::Rule, parameters::Parameters};

/// LARS in the form of MoCo v3 and SCE.
///
/// ```text
/// d = g + λ w
/// v ← m v + d · c ‖w‖ / ‖d‖      d as it is where either norm is 0
/// w ← w - lr v
/// ```
///
/// # Source
/// You et al., Large Batch Training of Convolutional Networks (arXiv 1708.03888), algorithm 1, which has the rate inside
/// the momentum and the decay inside the ratio; code facebookresearch/moco-v3 @ c349e6e and CEA-LIST/SCE @ 07cbe63, which
/// are followed.
pub(super) struct Lars {
    step: LarsStep,
    parameters: Parameters,
    momenta: Vec<Tensor>,
}

impl Lars {
    /// Starts with momenta of zero. The rate of `step` is not used.
    pub fn new(step: LarsStep, parameters: Parameters) -> Self {
        Self { step, momenta: parameters.zeros(), parameters }
    }
}

impl Rule for Lars {
    fn step(&mut self, lr: f64) -> Result<(), Error> {
        let gradients = self.parameters.gradients();
        fused_lars(self.parameters.tensors(), &gradients, &self.momenta, LarsStep { lr, ..self.step })
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.parameters.state("momentum", &self.momenta).collect()
    }
}
