//! Gradient averaging that overlaps the backward pass.

use std::borrow::Borrow;

use cxx::UniquePtr;
use tch::Tensor;

use crate::tensor::lend_all;
use crate::{Error, ProcessGroup, ffi};

/// How gradients are put together before they are reduced. All ranks use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReducerOptions {
    /// The size of a bucket, in bytes.
    pub bucket_bytes: u64,
    /// The size of the bucket of the first parameters, in bytes: the last one to be reduced is better small.
    pub first_bucket_bytes: u64,
}

impl Default for ReducerOptions {
    /// What PyTorch's DistributedDataParallel uses.
    fn default() -> Self {
        ReducerOptions { bucket_bytes: 25 << 20, first_bucket_bytes: 1 << 20 }
    }
}

/// Averages the gradients of parameters over the ranks of a group while the backward pass runs.
///
/// Each step: clear the gradients, [`prepare_forward`](Self::prepare_forward), forward,
/// [`prepare_backward`](Self::prepare_backward) with every tensor the loss is made from or the loss itself, then one
/// [`backward`](crate::backward). For gradient accumulation, `prepare_backward` comes before the last micro-batch only.
///
/// Buckets are laid out once, from sizes and order of the parameters alone, so a reducer that is made anew gives the
/// same bits. After any error it is of no more use: drop it, clear the gradients, and make another.
pub struct Reducer {
    inner: UniquePtr<ffi::Reducer>,
}

impl Reducer {
    /// Hooks into the parameters. The group must be used by nothing else.
    ///
    /// # Errors
    /// When a parameter wants no gradient, or when parameters differ between ranks.
    pub fn new<T: Borrow<Tensor>>(
        group: &ProcessGroup,
        parameters: &[T],
        options: ReducerOptions,
    ) -> Result<Reducer, Error> {
        let parameters = lend_all(parameters);
        let inner =
            ffi::new_reducer(&group.inner, &parameters, options.bucket_bytes, options.first_bucket_bytes)
                .map_err(|error| Error::from(error).during("build the reducer"))?;
        Ok(Reducer { inner })
    }

    /// Marks the start of the forward pass.
    ///
    /// # Errors
    /// When the step before did not end.
    pub fn prepare_forward(&mut self) -> Result<(), Error> {
        let inner = self.inner.pin_mut().prepare_forward();
        inner.map_err(|error| Error::from(error).during("prepare the forward pass"))
    }

    /// Marks the end of the forward pass: the next backward pass reduces. Parameters that no output depends on keep
    /// their gradients as they are, where that is so on all ranks.
    ///
    /// # Errors
    /// When the step before did not end.
    pub fn prepare_backward<T: Borrow<Tensor>>(&mut self, outputs: &[T]) -> Result<(), Error> {
        let inner = self.inner.pin_mut().prepare_backward(&lend_all(outputs));
        inner.map_err(|error| Error::from(error).during("prepare the backward pass"))
    }
}
