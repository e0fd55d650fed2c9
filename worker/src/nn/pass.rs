//! What a forward pass is for.

use crate::collective::Collective;

/// What a forward pass is for: it decides what normalisation uses.
#[derive(Clone, Copy)]
pub enum Pass<'a> {
    /// Statistics of the batch, which move the running ones; those of all ranks where they are synchronised.
    Train(&'a Collective),
    /// As [`Pass::Train`], of so many rows an image: a group of images has the statistics of all their rows.
    TrainPatches(&'a Collective, i64),
    /// Running statistics.
    Evaluate,
}
