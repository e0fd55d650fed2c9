//! What the ranks of a generation do together, outside of the gradient reduction.
//!
//! A [`Collective`] is the handle that training, methods' callers and checkpoints use; method files themselves do not.
//! It knows nothing of why ranks meet: train builds one per generation and drops it when a peer is lost.

pub mod bank;
mod digest;
pub mod kmeans;
pub mod queue;
mod share;
mod threads;
mod waiting;

use std::borrow::Borrow;
use std::sync::Arc;

use kindred_bridge::{
    Backend, ErrorKind, GroupOptions, ProcessGroup, ReduceOp, Reducer, ReducerOptions, Store,
};
use tch::{Device, Kind, Tensor, no_grad};

pub use digest::digest;
pub use kindred_bridge::Error;
pub use share::Share;
pub use threads::on_threads;
pub use waiting::Waiting;

/// Tensors that are broadcast together take no more than this.
const PARCEL_BYTES: usize = 32 << 20;

/// The ranks of one generation; clones are the same ranks.
///
/// All ranks call the same methods in the same order. After an error the handle is of no more use.
#[derive(Clone)]
pub struct Collective {
    rank: u32,
    world_size: u32,
    /// Where tensors must live for the backend to carry them; those that live elsewhere are taken there and back.
    device: Device,
    /// `None` in a world of one.
    groups: Option<Arc<Groups>>,
    waiting: Waiting,
}

struct Groups {
    /// Reducer's own: its operations start whenever the backward pass fills a bucket, in no order that others could
    /// join.
    gradients: ProcessGroup,
    tensors: ProcessGroup,
}

impl Collective {
    /// Meets the other ranks; `options.name` tells the generations of one store apart.
    ///
    /// # Errors
    /// As [`ProcessGroup::connect`].
    pub fn connect(store: &Store, options: &GroupOptions) -> Result<Collective, Error> {
        let group = |purpose: &str| {
            let name = format!("{}/{purpose}", options.name);
            ProcessGroup::connect(store, &GroupOptions { name, ..options.clone() })
        };
        let device = match options.backend {
            Backend::Gloo => Device::Cpu,
            Backend::Nccl => Device::Cuda(options.device_index as usize),
        };
        let groups = match options.world_size {
            1 => None,
            _ => Some(Arc::new(Groups { gradients: group("gradients")?, tensors: group("tensors")? })),
        };
        let waiting = Waiting::default();
        Ok(Collective { rank: options.rank, world_size: options.world_size, device, groups, waiting })
    }

    /// Makes a world of one, which needs nobody.
    pub fn single() -> Collective {
        Collective { rank: 0, world_size: 1, device: Device::Cpu, groups: None, waiting: Waiting::default() }
    }

    /// Returns this rank's number.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Returns the number of ranks.
    pub fn world_size(&self) -> u32 {
        self.world_size
    }

    /// Whether this rank waits for the others.
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Makes the reducer that averages gradients over the ranks; a world of one needs none.
    ///
    /// # Errors
    /// As [`Reducer::new`].
    pub fn reducer<T: Borrow<Tensor>>(&self, parameters: &[T]) -> Result<Option<Reducer>, Error> {
        let Some(groups) = &self.groups else { return Ok(None) };
        Reducer::new(&groups.gradients, parameters, ReducerOptions::default()).map(Some)
    }

    /// Collects the ranks' rows in rank order, without gradient.
    ///
    /// # Shapes
    /// `[B, ...]`, the same on every rank, to `[N, ...]` with `N = B * world_size`.
    ///
    /// # Errors
    /// When a peer is lost or hangs.
    pub fn gather(&self, rows: &Tensor) -> Result<Tensor, Error> {
        match &self.groups {
            None => Ok(rows.detach()),
            Some(groups) => no_grad(|| {
                let _waits = self.waiting.begin();
                let gathered = groups.tensors.all_gather(&rows.to_device(self.device))?;
                Ok(gathered.flatten(0, 1).to_device(rows.device()))
            }),
        }
    }

    /// Collects the ranks' rows in rank order, with gradient: each rank gets back what all ranks' losses say about its
    /// rows, summed. With gradients averaged over the ranks afterwards, the *mean over ranks* of the losses is what is
    /// minimised, exactly as if one rank had held all rows.
    ///
    /// # Shapes
    /// As [`gather`](Self::gather).
    ///
    /// # Errors
    /// When a peer is lost or hangs; during the backward pass, [`kindred_bridge::backward`] tells.
    pub fn gather_with_grad(&self, rows: &Tensor) -> Result<Tensor, Error> {
        match &self.groups {
            None => Ok(rows.shallow_clone()),
            Some(groups) => {
                let _waits = self.waiting.begin();
                let gathered = groups.tensors.all_gather_with_grad(&rows.to_device(self.device))?;
                Ok(gathered.flatten(0, 1).to_device(rows.device()))
            }
        }
    }

    /// Replaces each tensor by its mean over the ranks, in one operation and in the order given: the same bits on
    /// every rank.
    ///
    /// # Errors
    /// When a tensor is not of a floating-point kind, or a peer is lost or hangs.
    pub fn mean_<T: Borrow<Tensor>>(&self, tensors: &[T]) -> Result<(), Error> {
        if let Some(other) = tensors.iter().map(|tensor| tensor.borrow().kind()).find(|kind| !is_float(*kind))
        {
            return Err(Error::new(ErrorKind::Other, format!("mean over ranks: a tensor holds {other:?}")));
        }
        let Some(groups) = self.groups.as_ref().filter(|_| !tensors.is_empty()) else { return Ok(()) };
        let _waits = self.waiting.begin();
        no_grad(|| {
            let is_double = tensors.iter().any(|tensor| tensor.borrow().kind() == Kind::Double);
            let kind = if is_double { Kind::Double } else { Kind::Float };
            let part = |tensor: &T| tensor.borrow().reshape([-1]).to_device(self.device).to_kind(kind);
            let parts: Vec<Tensor> = tensors.iter().map(part).collect();
            let flat = Tensor::cat(&parts, 0);
            groups.tensors.all_reduce(&flat, ReduceOp::Sum)?;
            let flat = flat / f64::from(self.world_size);
            let sizes: Vec<i64> = parts.iter().map(|part| part.numel() as i64).collect();
            for (tensor, mean) in tensors.iter().zip(flat.split_with_sizes(&sizes, 0)) {
                let tensor = tensor.borrow();
                tensor.shallow_clone().copy_(&mean.view_as(tensor));
            }
            Ok(())
        })
    }

    /// Overwrites each tensor with that of `root`. Small ones travel together: what costs time is the number of operations.
    ///
    /// # Errors
    /// When a peer is lost or hangs.
    pub fn broadcast_<T: Borrow<Tensor>>(&self, tensors: &[T], root: u32) -> Result<(), Error> {
        let Some(groups) = &self.groups else { return Ok(()) };
        let _waits = self.waiting.begin();
        let tensors: Vec<&Tensor> = tensors.iter().map(Borrow::borrow).collect();
        no_grad(|| {
            parcels(&tensors).try_for_each(|parcel| {
                let parts: Vec<Tensor> =
                    parcel.iter().map(|tensor| tensor.reshape([-1]).to_device(self.device)).collect();
                let flat = Tensor::cat(&parts, 0);
                if flat.numel() == 0 {
                    return Ok(());
                }
                groups.tensors.broadcast(&flat, root)?;
                if self.rank != root {
                    let sizes: Vec<i64> = parts.iter().map(|part| part.numel() as i64).collect();
                    for (tensor, sent) in parcel.iter().zip(flat.split_with_sizes(&sizes, 0)) {
                        tensor.shallow_clone().copy_(&sent.view_as(tensor));
                    }
                }
                Ok(())
            })
        })
    }

    /// Collects a few bytes of every rank, of any length each, in rank order: digests, step numbers, names.
    ///
    /// # Errors
    /// When a peer is lost or hangs.
    pub fn gather_bytes(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        if self.groups.is_none() {
            return Ok(vec![bytes.to_vec()]);
        }
        let len = Tensor::from_slice(&[bytes.len() as i64]);
        let lens = to_vec::<i64>(&self.gather(&len)?);
        let longest = lens.iter().copied().max().unwrap_or(0);
        if longest == 0 {
            return Ok(vec![Vec::new(); lens.len()]);
        }
        let padded = Tensor::zeros([1, longest], (Kind::Uint8, Device::Cpu));
        padded.narrow(1, 0, bytes.len() as i64).copy_(&Tensor::from_slice(bytes).unsqueeze(0));
        let gathered = to_vec::<u8>(&self.gather(&padded)?);
        let rows = gathered.chunks_exact(longest as usize);
        Ok(rows.zip(&lens).map(|(row, len)| row[..*len as usize].to_vec()).collect())
    }

    /// Waits until all ranks have come here.
    ///
    /// # Errors
    /// When a peer is lost or hangs.
    pub fn barrier(&self) -> Result<(), Error> {
        let _waits = self.waiting.begin();
        self.groups.as_ref().map_or(Ok(()), |groups| groups.tensors.barrier())
    }

    /// Refuses all further operations and ends those in flight, on all ranks; see [`ProcessGroup::abort`].
    ///
    /// # Errors
    /// As [`ProcessGroup::abort`].
    pub fn abort(&self) -> Result<(), Error> {
        self.aborter().abort()
    }

    /// What can do that from another thread.
    pub fn aborter(&self) -> Aborter {
        let groups = self.groups.iter().flat_map(|groups| [&groups.gradients, &groups.tensors]);
        Aborter(groups.map(ProcessGroup::aborter).collect())
    }
}

/// Aborts the groups of a [`Collective`], if they are still there.
pub struct Aborter(Vec<kindred_bridge::Aborter>);

impl Aborter {
    /// Aborts.
    ///
    /// # Errors
    /// As [`ProcessGroup::abort`].
    pub fn abort(&self) -> Result<(), Error> {
        // One that fails must not keep the others.
        let outcomes: Vec<_> = self.0.iter().map(kindred_bridge::Aborter::abort).collect();
        outcomes.into_iter().collect()
    }
}

/// The row of the global batch at which this rank's begin, where each rank has `n_own`.
pub fn first_row(ranks: &Collective, n_own: i64) -> i64 {
    i64::from(ranks.rank()) * n_own
}

/// Neighbours of one kind, so many that one parcel is not much memory.
fn parcels<'a>(tensors: &'a [&'a Tensor]) -> impl Iterator<Item = &'a [&'a Tensor]> {
    let mut n_bytes = 0;
    tensors.chunk_by(move |one, next| {
        n_bytes += size_of(one);
        let fits = one.kind() == next.kind() && n_bytes + size_of(next) <= PARCEL_BYTES;
        if !fits {
            n_bytes = 0;
        }
        fits
    })
}

fn size_of(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}

fn is_float(kind: Kind) -> bool {
    matches!(kind, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double)
}

fn to_vec<T: tch::kind::Element>(tensor: &Tensor) -> Vec<T>
where
    Vec<T>: TryFrom<Tensor, Error: std::fmt::Debug>,
{
    Vec::try_from(tensor.flatten(0, -1)).expect("the tensor was made of this kind, with one dimension")
}

#[cfg(test)]
mod tests;
