//! tch's tensors as C++ sees them, and back.

use std::borrow::Borrow;

use crate::ffi;

/// Lends a tensor to one call into C++.
pub(crate) fn lend(tensor: &tch::Tensor) -> &ffi::Tensor {
    // SAFETY: tch's `C_tensor` is an `at::Tensor`, alive as long as `tensor`; `ffi::Tensor` is opaque, so Rust reads
    // nothing through the reference.
    unsafe { &*tensor.as_ptr().cast::<ffi::Tensor>() }
}

/// Lends several tensors to one call into C++; they must outlive it.
pub(crate) fn lend_all<T: Borrow<tch::Tensor>>(tensors: &[T]) -> Vec<ffi::TensorRef> {
    tensors.iter().map(|tensor| ffi::TensorRef { tensor: lend(tensor.borrow()) }).collect()
}

/// Takes over a tensor that C++ made with `new`.
pub(crate) fn adopt(tensor: *mut ffi::Tensor) -> tch::Tensor {
    // SAFETY: every function of the bridge that returns a pointer returns a fresh `new at::Tensor`, which is what tch
    // deletes when the handle is dropped.
    unsafe { tch::Tensor::from_ptr(tensor.cast()) }
}
