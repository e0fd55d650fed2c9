//! The backward pass.

use std::borrow::Borrow;

use tch::Tensor;

use crate::tensor::{lend, lend_all};
use crate::{Error, ffi};

/// Computes the gradients of a scalar. tch's own form would panic when a peer is lost on the way.
///
/// # Errors
/// `PeerLost` or `Timeout` from a [`Reducer`](crate::Reducer) or from
/// [`all_gather_with_grad`](crate::ProcessGroup::all_gather_with_grad); gradients are then of no use.
pub fn backward(root: &Tensor) -> Result<(), Error> {
    ffi::backward(lend(root)).map_err(|error| Error::from(error).during("backward pass"))
}

/// Makes the gradients undefined, which also frees those that are views of a [`Reducer`](crate::Reducer)'s buckets.
pub fn clear_grads<T: Borrow<Tensor>>(parameters: &[T]) {
    ffi::clear_grads(&lend_all(parameters)).expect("every defined tensor has a place for its gradient");
}
