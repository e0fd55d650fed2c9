//! libtorch's distributed engine and the few operations that tch lacks, as safe Rust.
//!
//! All C++ and all `unsafe` of the workspace are here. Every exception of C++ becomes an [`Error`], and a panic of a
//! [`KeyValueStore`] becomes an exception, so neither ends the process. What a training step is, and which group is for
//! what, is decided by the callers (kindred-worker's `collective`, `train`, `optim`, `nn`).

mod autocast;
mod autograd;
mod error;
mod ffi;
mod group;
mod memory;
mod optim;
mod reducer;
mod store;
mod tensor;

pub use autocast::with_autocast;
pub use autograd::{backward, clear_grads};
pub use error::{Error, ErrorKind};
pub use group::{Aborter, Backend, GroupOptions, ProcessGroup, ReduceOp, Work};
pub use memory::{channels_last, tune_allocator};
pub use optim::{
    AdamWMemory, AdamWStep, LarsStep, SgdStep, clip_gradients, foreach_lerp, fused_adamw, fused_lars,
    fused_sgd,
};
pub use reducer::{Reducer, ReducerOptions};
pub use store::{KeyValueStore, Store};
