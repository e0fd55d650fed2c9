//! Memory: layout of tensors, and the C library's allocator.

use tch::Tensor;

use crate::ffi;
use crate::tensor::{adopt, lend};

/// Returns the tensor with its channels last in memory; its shape stays `[B, C, H, W]`.
///
/// # Panics
/// When the tensor does not have four dimensions.
pub fn channels_last(tensor: &Tensor) -> Tensor {
    ffi::channels_last(lend(tensor)).map(adopt).expect("an image batch has four dimensions")
}

/// Lets the C library keep freed memory, and take big blocks from it: says whether it agreed.
///
/// Otherwise every activation above 32 MiB is mapped, zeroed and unmapped again at each step. Called once, first
/// thing in a rank's `main`; libtorch asks the C library directly, so Rust's global allocator has no say.
pub fn tune_allocator() -> bool {
    ffi::keep_big_blocks_on_the_heap()
}
