//! Takes back what an unfinished step changed.
//!
//! All that ranks do together comes before the first change that only a finished step makes (weights, optimiser state,
//! memory). What comes earlier, the momentum branch's update and running statistics, is kept here, so that a step that a
//! lost peer cut short can be taken again with other ranks, to the same bits.

use tch::{Tensor, no_grad};

use crate::{methods::Method, nn::Role};

/// The tensors that a forward pass changes, and what they held before it.
pub(super) struct Undo {
    tensors: Vec<Tensor>,
    kept: Vec<Tensor>,
}

impl Undo {
    /// Of all that is neither trained by gradients nor memory.
    pub fn new(method: &dyn Method) -> Self {
        let is_changed_early = |role: Role, is_trained: bool| role != Role::Memory && !is_trained;
        let entries = method.entries().into_iter();
        let changed = entries.filter(|entry| is_changed_early(entry.role, entry.tensor.requires_grad()));
        let tensors: Vec<Tensor> = changed.map(|entry| entry.tensor).collect();
        Self { kept: tensors.iter().map(|tensor| tensor.detach().copy()).collect(), tensors }
    }

    /// Keeps what they hold now.
    pub fn keep(&mut self) {
        copy(&self.tensors, &self.kept);
    }

    /// Gives back what was kept.
    pub fn restore(&self) {
        copy(&self.kept, &self.tensors);
    }
}

fn copy(sources: &[Tensor], targets: &[Tensor]) {
    no_grad(|| sources.iter().zip(targets).for_each(|(source, target)| target.shallow_clone().copy_(source)));
}
