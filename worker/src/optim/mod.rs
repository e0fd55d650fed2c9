//! Optimisers and learning-rate schedules.
//!
//! Called by `train` after the gradients are reduced. A rule is one file, which knows nothing of schedules and of what
//! the recipe excludes: [`Optimizer`] does. Non-goals: gradients, their reduction, loss scaling.

mod adamw;
mod lars;
mod optimizer;
mod parameters;
mod schedule;
mod sgd;
#[cfg(test)]
mod tests;

pub use optimizer::{Optimizer, check_groups};
pub use schedule::learning_rate;
