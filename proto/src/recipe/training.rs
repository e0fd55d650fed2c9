//! Length, batch and precision of the training.

use super::methods::Published;
use crate::{
    ids::WorldSize,
    job_spec::Terms,
    scope::{Scope, positive_to},
    v1::{self, training},
};

/// Length, batch, precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Passes over the data. Default: as the method's source; 200 for MoCo v2 and SCE.
    pub epochs: u32,
    /// Stop after so many steps. Default: after the epochs.
    pub max_steps: Option<u64>,
    /// Images per step over all ranks. Default 256 (512 for MoCo v2 with the CIFAR stem, notebook).
    pub global_batch: u32,
    /// Seed of everything random. Default 0.
    pub seed: u64,
    /// Number format of the forward and backward passes. Default bf16 on either device.
    pub precision: Precision,
    /// Memory layout of images and convolutions. Default true: it is the faster one on either device.
    pub channels_last: bool,
    /// Threads that a rank on the CPU computes with. Default 1.
    pub threads_per_rank: u32,
    /// Steps between two readings of loss and rates. Default 10 (MoCo's `--print-freq`).
    pub log_every_steps: u32,
    /// Batches that the loader prepares ahead. Default 2 (PyTorch's loader, per worker).
    pub prefetch_batches: u32,
    /// Micro-batches that a step's images are passed in, one after the other. Default 1.
    pub accumulate_steps: u32,
    /// Norm of all gradients together, above which they are scaled down. Default: they never are (no source of a method
    /// here does).
    pub clip_norm: Option<f64>,
}

impl Training {
    pub(super) fn check(
        wire: Option<v1::Training>,
        published: &Published,
        ranks: WorldSize,
        at: &Scope,
    ) -> Self {
        let wire = wire.unwrap_or_default();
        let default_batch = published.global_batch;
        let training = Self {
            epochs: at.number("epochs", wire.epochs, published.epochs, 1..=1_000_000),
            max_steps: at.optional("max_steps", wire.max_steps, 1..),
            global_batch: at.number("global_batch", wire.global_batch, default_batch, 2..=1 << 20),
            seed: wire.seed.unwrap_or(0),
            precision: Precision::check(wire.precision, Precision::Bf16, at),
            channels_last: wire.channels_last.unwrap_or(true),
            threads_per_rank: at.number("threads_per_rank", wire.threads_per_rank, 1, 1..=1024),
            log_every_steps: at.number("log_every_steps", wire.log_every_steps, 10, 1..),
            prefetch_batches: at.number("prefetch_batches", wire.prefetch_batches, 2, 1..=64),
            accumulate_steps: at.number("accumulate_steps", wire.accumulate_steps, 1, 1..=4096),
            clip_norm: at.optional("clip_norm", wire.clip_norm, positive_to(1e9)),
        };
        training.check_shares(ranks, at);
        training
    }

    fn check_shares(&self, ranks: WorldSize, at: &Scope) {
        let (batch, n_ranks) = (self.global_batch, ranks.0);
        if batch.is_multiple_of(n_ranks) {
            let (share, n_parts) = (batch / n_ranks, self.accumulate_steps);
            if !share.is_multiple_of(n_parts) {
                let message = format!("must divide the batch of a rank, {share} images, not be {n_parts}");
                at.violate("accumulate_steps", message);
            }
            return;
        }
        let above = u64::from(batch).next_multiple_of(n_ranks.into());
        let below = above - u64::from(n_ranks);
        let fix = if below == 0 { format!("{above}") } else { format!("{below} or {above}") };
        at.violate("global_batch", format!("{batch} images do not divide by {n_ranks} ranks: use {fix}"));
    }

    /// Images that a rank passes at once. Where the number of ranks may change, the most that divide what a rank passes at
    /// each of them. At least one, also where the ranks cannot share the batch.
    pub(super) fn images_per_pass(&self, terms: &Terms) -> u32 {
        let of_rank = |size: WorldSize| self.global_batch / size.0 / self.accumulate_steps;
        let shares = terms.world_sizes().filter(|size| self.is_shared_by(*size)).map(of_rank);
        shares.reduce(greatest_common_divisor).unwrap_or_else(|| of_rank(terms.ranks)).max(1)
    }

    /// Whether so many ranks can share the batch.
    pub(crate) fn is_shared_by(&self, ranks: WorldSize) -> bool {
        u64::from(self.global_batch).is_multiple_of(u64::from(ranks.0) * u64::from(self.accumulate_steps))
    }

    pub(super) fn to_wire(&self) -> v1::Training {
        v1::Training {
            epochs: Some(self.epochs),
            max_steps: self.max_steps,
            global_batch: Some(self.global_batch),
            seed: Some(self.seed),
            precision: self.precision.to_wire().into(),
            channels_last: Some(self.channels_last),
            threads_per_rank: Some(self.threads_per_rank),
            log_every_steps: Some(self.log_every_steps),
            prefetch_batches: Some(self.prefetch_batches),
            accumulate_steps: Some(self.accumulate_steps),
            clip_norm: self.clip_norm,
        }
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Number format of the forward and backward passes; parameters stay in f32 (f64 with `Fp64`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// Autocast to bfloat16.
    Bf16,
    /// 64-bit floats, for tests of equality.
    Fp64,
}

impl Precision {
    pub(crate) fn check(number: i32, default: Self, at: &Scope) -> Self {
        match at.known("precision", number).unwrap_or_default() {
            training::Precision::Fp32 => Self::Fp32,
            training::Precision::Bf16 => Self::Bf16,
            training::Precision::Fp64 => Self::Fp64,
            training::Precision::Unspecified => default,
        }
    }

    pub(crate) fn to_wire(self) -> training::Precision {
        match self {
            Self::Fp32 => training::Precision::Fp32,
            Self::Bf16 => training::Precision::Bf16,
            Self::Fp64 => training::Precision::Fp64,
        }
    }
}
