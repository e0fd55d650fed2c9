//! Process groups: the ranks of one generation, and what they do together.

use std::time::Duration;

use cxx::{SharedPtr, UniquePtr, WeakPtr};
use tch::Tensor;

use crate::store::millis;
use crate::tensor::{adopt, lend};
use crate::{Error, Store, ffi};

/// How [`all_reduce`](ProcessGroup::all_reduce) combines the ranks' tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReduceOp {
    /// Adds them up.
    Sum,
    /// Takes the smallest of each element.
    Min,
    /// Takes the largest of each element.
    Max,
}

impl From<ReduceOp> for ffi::ReduceOp {
    fn from(op: ReduceOp) -> Self {
        match op {
            ReduceOp::Sum => ffi::ReduceOp::Sum,
            ReduceOp::Min => ffi::ReduceOp::Min,
            ReduceOp::Max => ffi::ReduceOp::Max,
        }
    }
}

/// The library that carries the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// TCP between CPUs.
    Gloo,
    /// NVIDIA's library between CUDA devices; needs the feature `cuda`.
    Nccl,
}

/// How a rank joins a group.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// Tells the groups of one store apart; the same on all ranks.
    pub name: String,
    /// The library that carries the tensors.
    pub backend: Backend,
    /// This rank's number, below `world_size`.
    pub rank: u32,
    /// The number of ranks.
    pub world_size: u32,
    /// How long meeting, and then each operation, may take.
    pub timeout: Duration,
    /// The address that this rank binds and the others connect to (Gloo).
    pub address: String,
    /// This rank's CUDA device (NCCL).
    pub device_index: u32,
}

/// A handle of a group; clones are the same group.
///
/// All ranks call the same operations in the same order. Operations of one handle and its clones must not race each
/// other either: which one a peer's operation meets is decided by order alone.
///
/// Dropping the last handle waits for operations in flight, unless the group was [aborted](Self::abort). Each ends within
/// the group's time-out at every step of its ring, and most of the time at once when a peer's connection ends. Gloo does
/// not notice that end in the middle of a message: whoever leaves peers that may be gone or hang aborts first.
#[derive(Clone)]
pub struct ProcessGroup {
    pub(crate) inner: SharedPtr<ffi::Group>,
    rank: u32,
    world_size: u32,
}

impl ProcessGroup {
    /// Meets the other ranks through the store.
    ///
    /// # Errors
    /// `Timeout` when not all ranks come, `Unavailable` when the backend is not there: no feature `cuda`, no GPU.
    pub fn connect(store: &Store, options: &GroupOptions) -> Result<ProcessGroup, Error> {
        let config = ffi::GroupConfig {
            is_nccl: options.backend == Backend::Nccl,
            name: options.name.clone(),
            rank: options.rank as i32,
            world_size: options.world_size as i32,
            timeout_ms: millis(options.timeout),
            address: options.address.clone(),
            device_index: options.device_index as i32,
        };
        let inner = ffi::connect_group(&store.inner, &config).map_err(|error| {
            let (rank, world_size) = (options.rank, options.world_size);
            Error::from(error)
                .during(format_args!("connect rank {rank} of {world_size} in group {}", options.name))
        })?;
        Ok(ProcessGroup { inner, rank: options.rank, world_size: options.world_size })
    }

    /// Returns this rank's number.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Returns the number of ranks.
    pub fn world_size(&self) -> u32 {
        self.world_size
    }

    /// Combines a tensor over the ranks, in place, and waits for it.
    ///
    /// # Errors
    /// `PeerLost` or `Timeout`, after which the group is of no more use.
    pub fn all_reduce(&self, tensor: &Tensor, op: ReduceOp) -> Result<(), Error> {
        self.all_reduce_async(tensor, op)?.wait()
    }

    /// Starts combining a tensor over the ranks, in place.
    ///
    /// # Errors
    /// When the operation cannot be started; how it went is told by [`Work::wait`].
    pub fn all_reduce_async(&self, tensor: &Tensor, op: ReduceOp) -> Result<Work, Error> {
        let inner = self.inner.all_reduce(lend(tensor), op.into()).map_err(during("all-reduce"))?;
        Ok(Work { inner, action: "all-reduce" })
    }

    /// Collects every rank's tensor, without gradient.
    ///
    /// # Shapes
    /// `[...]` on each rank, the same on all, to `[world_size, ...]` in rank order.
    ///
    /// # Errors
    /// `PeerLost` or `Timeout`, after which the group is of no more use.
    pub fn all_gather(&self, local: &Tensor) -> Result<Tensor, Error> {
        self.inner.all_gather(lend(local)).map(adopt).map_err(during("all-gather"))
    }

    /// Collects every rank's tensor, with gradient: what the ranks' losses say about this rank's tensor is summed.
    ///
    /// The backward pass communicates in this group, so all ranks run it, and Reducer has a group of its own.
    ///
    /// # Shapes
    /// As [`all_gather`](Self::all_gather).
    ///
    /// # Errors
    /// As [`all_gather`](Self::all_gather); those of the backward pass come out of [`backward`](crate::backward).
    pub fn all_gather_with_grad(&self, local: &Tensor) -> Result<Tensor, Error> {
        ffi::all_gather_with_grad(&self.inner, lend(local)).map(adopt).map_err(during("all-gather"))
    }

    /// Overwrites a tensor with that of `root`, and waits for it.
    ///
    /// # Errors
    /// `PeerLost` or `Timeout`, after which the group is of no more use.
    pub fn broadcast(&self, tensor: &Tensor, root: u32) -> Result<(), Error> {
        let inner = self.inner.broadcast(lend(tensor), root).map_err(during("broadcast"))?;
        Work { inner, action: "broadcast" }.wait()
    }

    /// Waits until all ranks have come here.
    ///
    /// # Errors
    /// `PeerLost` or `Timeout`, after which the group is of no more use.
    pub fn barrier(&self) -> Result<(), Error> {
        self.inner.barrier().map_err(during("barrier"))
    }

    /// Refuses all further operations and fails those in flight as `PeerLost`. Their tensors may still change until the
    /// group's time-out (Gloo). The other ranks hear of it as of a lost peer, if they have not left as well.
    ///
    /// # Errors
    /// When NCCL fails to abort.
    pub fn abort(&self) -> Result<(), Error> {
        self.aborter().abort()
    }

    /// What can abort the group from another thread. It does not keep the group.
    pub fn aborter(&self) -> Aborter {
        Aborter { inner: SharedPtr::downgrade(&self.inner) }
    }
}

/// Aborts a group, as [`ProcessGroup::abort`] does, if it is still there.
#[derive(Clone)]
pub struct Aborter {
    inner: WeakPtr<ffi::Group>,
}

impl Aborter {
    /// Aborts.
    ///
    /// # Errors
    /// When NCCL fails to abort.
    pub fn abort(&self) -> Result<(), Error> {
        let inner = self.inner.upgrade();
        let Some(group) = inner.as_ref() else { return Ok(()) };
        group.abort().map_err(during("abort the group"))
    }
}

/// An operation in flight. Dropping it waits for it.
#[must_use = "an operation is waited for at once when it is dropped"]
pub struct Work {
    inner: UniquePtr<ffi::Work>,
    action: &'static str,
}

impl Work {
    /// Waits for the operation: on the CPU until it is done, with CUDA until the current stream waits for it.
    ///
    /// # Errors
    /// `PeerLost` or `Timeout`, after which the group is of no more use.
    pub fn wait(mut self) -> Result<(), Error> {
        let inner = std::mem::replace(&mut self.inner, UniquePtr::null());
        inner.wait().map_err(during(self.action))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.as_ref() {
            // Nobody is left to be told; the group's next operation fails as well.
            let _ = inner.wait();
        }
    }
}

fn during(action: &'static str) -> impl FnOnce(cxx::Exception) -> Error {
    move |exception| Error::from(exception).during(action)
}
