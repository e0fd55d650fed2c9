//! Online branch and momentum branch: what methods with a teacher share.

use kindred_proto::{
    job_spec::JobSpec,
    recipe::{
        BatchNorm,
        methods::{Predictor, Projector},
    },
};
use tch::{Tensor, no_grad};

use super::At;
use crate::{
    collective::{Collective, Error, queue::Queue},
    nn::{Branch, Encoder, Entry, Head, Momentum, Pass, Role, Setup, Shuffle, unit_rows},
};

/// The networks behind the encoder.
pub(super) struct Heads<'a> {
    pub projector: &'a Projector,
    /// Of the online branch alone.
    pub predictor: Option<&'a Predictor>,
}

/// A trained branch, and one whose parameters follow it.
pub(super) struct MomentumPair {
    pub online: Branch,
    pub target: Branch,
    pub momentum: Momentum,
    shuffling: Shuffling,
}

impl MomentumPair {
    /// The momentum branch starts as a copy of the online one.
    pub fn new(heads: &Heads, spec: &JobSpec, n_channels: u32, setup: &Setup) -> Self {
        let online = branch(heads, spec, n_channels, setup);
        let heads = Heads { predictor: None, ..*heads };
        let target = branch(&heads, spec, n_channels, &Setup { has_gradient: false, ..*setup });
        let momentum = Momentum::new(&online, &target);
        Self { online, target, momentum, shuffling: Shuffling::new(spec, setup) }
    }

    /// Unit embeddings of the online branch, with gradient.
    pub fn queries(&self, view_bchw: &Tensor, ranks: &Collective) -> Result<Tensor, Error> {
        self.online.embed(view_bchw, Pass::Train(ranks))
    }

    /// Unit embeddings of the momentum branch, without gradient.
    pub fn keys(&self, view_bchw: &Tensor, ranks: &Collective) -> Result<Tensor, Error> {
        no_grad(|| self.target.embed(view_bchw, Pass::Train(ranks)))
    }

    /// As [`MomentumPair::keys`], normalised among shuffled images: see [`Shuffle`].
    pub fn shuffled_keys(&self, view_bchw: &Tensor, at: &At, ranks: &Collective) -> Result<Tensor, Error> {
        self.shuffling.forward(view_bchw, at, ranks, |images_bchw| self.keys(images_bchw, ranks))
    }

    /// All tensors of both branches.
    pub fn entries(&self) -> Vec<Entry> {
        let online = self.online.named("online");
        online.chain(self.target.named("target")).collect()
    }
}

/// When and how the images of keys are shuffled.
pub(super) struct Shuffling {
    seed: u64,
    /// Whether the global batch is normalised in several groups, so that shuffling it matters.
    has_groups: bool,
}

impl Shuffling {
    /// As batches are normalised.
    pub fn new(spec: &JobSpec, setup: &Setup) -> Self {
        let global_batch = spec.recipe.training.global_batch;
        let has_groups = matches!(setup.batch_norm, BatchNorm::Groups { size } if size < global_batch);
        Self { seed: setup.seed, has_groups }
    }

    /// Rows of `forward` for this rank's images, computed among shuffled images where that matters: see [`Shuffle`].
    pub fn forward(
        &self,
        images_bchw: &Tensor,
        at: &At,
        ranks: &Collective,
        forward: impl FnOnce(&Tensor) -> Result<Tensor, Error>,
    ) -> Result<Tensor, Error> {
        if !self.has_groups {
            return forward(images_bchw);
        }
        Shuffle { seed: self.seed, step: at.step }.forward(images_bchw, ranks, forward)
    }
}

/// One branch; methods without a teacher have this alone.
pub(super) fn branch(heads: &Heads, spec: &JobSpec, n_channels: u32, setup: &Setup) -> Branch {
    let encoder = Encoder::new(&spec.recipe.encoder, n_channels, setup);
    let projector = Head::projector(heads.projector, encoder.feature_dim(), setup);
    let dim = i64::from(heads.projector.out_dim);
    Branch {
        encoder,
        projector,
        predictor: heads.predictor.map(|recipe| Head::predictor(recipe, dim, setup)),
    }
}

/// A queue of random unit rows.
pub(super) fn queue(size: u32, projector: &Projector, setup: &Setup) -> Queue {
    Queue::new(unit_rows(setup, "queue", size.into(), projector.out_dim.into()))
}

/// What a checkpoint carries of a queue.
pub(super) fn queue_entries(queue: &Queue) -> impl Iterator<Item = Entry> {
    let parts = queue.state().into_iter();
    parts.map(|(part, tensor)| Entry { name: format!("queue.{part}"), tensor, role: Role::Memory })
}
