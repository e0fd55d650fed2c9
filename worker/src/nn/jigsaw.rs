//! Joins what became of an image's patches.

use kindred_proto::recipe::methods::Projector;
use tch::Tensor;

use super::{
    builder::{Entry, Setup},
    head::Head,
    pass::Pass,
};
use crate::collective::Error;

/// Each patch's features through one head, then all of an image's through a linear layer.
pub struct JigsawHead {
    patch: Head,
    join: Head,
    n_patches: i64,
}

impl JigsawHead {
    /// The first head has the layers of `projector`, and so has the result its width.
    pub fn new(projector: &Projector, n_patches: i64, inputs: i64, setup: &Setup) -> Self {
        let linear = Projector {
            hidden_dims: Vec::new(),
            last_batch_norm: false,
            identity: false,
            ..projector.clone()
        };
        Self {
            patch: Head::named("jigsaw.patch", projector, inputs, setup),
            join: Head::named("jigsaw.join", &linear, n_patches * i64::from(projector.out_dim), setup),
            n_patches,
        }
    }

    /// Patches of an image.
    pub fn n_patches(&self) -> i64 {
        self.n_patches
    }

    /// Maps features of patches, an image's one after another, to one row an image.
    ///
    /// # Shapes
    /// `[B P, F]` to `[B, D]`.
    ///
    /// # Errors
    /// When statistics are synchronised and a peer is lost.
    pub fn forward(&self, features: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        let patches = self.patch.forward(features, pass)?;
        let joined = patches.view([-1, self.n_patches * patches.size()[1]]);
        self.join.forward(&joined, pass)
    }

    /// All tensors, named `prefix.jigsaw.part.name`.
    pub fn named(&self, prefix: &'static str) -> impl Iterator<Item = Entry> {
        let parts = [("patch", &self.patch), ("join", &self.join)];
        parts.into_iter().flat_map(move |(part, head)| {
            head.entries().iter().map(move |entry| entry.prefixed(&format!("{prefix}.jigsaw.{part}")))
        })
    }
}
