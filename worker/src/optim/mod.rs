//! Optimisers and learning-rate schedules.
//!
//! Called by `train::step` after the gradients are reduced. Non-goals: gradients, their reduction, loss scaling.

mod schedule;
mod sgd;

pub use schedule::learning_rate;
pub use sgd::Optimizer;
