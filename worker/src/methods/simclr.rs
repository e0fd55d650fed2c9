//! SimCLR: two views of an image find each other among all views of the global batch.
//!
//! With a, b the two views of all N images, and i a row of this rank:
//! ```text
//! L_a = -(1/B) Σ_i log( exp(a_i·b_i / τ) / (Σ_j exp(a_i·b_j / τ) + Σ_{j≠i} exp(a_i·a_j / τ)) )
//! L   = L_a + L_b                                                   L_b: a and b exchanged
//! ```
//!
//! # Source
//! Chen et al., A Simple Framework for Contrastive Learning (ICML 2020), eq. 1, whose mean over 2 N rows is half of this;
//! code google-research/simclr @ 383d414, whose sum is followed. Gradients go through the gathered rows, as there.
//!
//! Shape legend: B local batch, N global batch, D embedding, C columns.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{cross_entropy, own_columns, row_cosines},
    momentum_pair::{Heads, branch},
};
use crate::{
    collective::{Collective, Error},
    nn::{Branch, Encoder, Entry, Pass, Setup},
};

/// The method with its network.
pub struct Simclr {
    recipe: methods::Simclr,
    online: Branch,
}

impl Simclr {
    /// Builds the branch.
    pub fn new(recipe: &methods::Simclr, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: None };
        Self { recipe: recipe.clone(), online: branch(&heads, spec, images.n_channels, setup) }
    }
}

/// L_a: the rows `a_bd` of all `a_nd`, which begin at `first_row`, look for theirs in `b_nd`.
pub fn loss(a_bd: &Tensor, (a_nd, b_nd): (&Tensor, &Tensor), first_row: i64, temperature: f64) -> Tensor {
    let own_b = own_columns(a_bd, first_row);
    let is_own_bn = own_b.unsqueeze(1).eq_tensor(&own_columns(a_nd, 0));
    let same_bn = a_bd.matmul(&a_nd.transpose(0, 1)).masked_fill(&is_own_bn, f64::NEG_INFINITY);
    let other_bn = a_bd.matmul(&b_nd.transpose(0, 1));
    cross_entropy(&(Tensor::cat(&[other_bn, same_bn], 1) / temperature), &own_b)
}

impl Method for Simclr {
    fn entries(&self) -> Vec<Entry> {
        self.online.named("online").collect()
    }

    fn embed(&mut self, input: &Input, _at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let queries = input.views[..2].iter().map(|view| self.online.embed(view, Pass::Train(ranks)));
        Ok(Embeddings { queries: queries.collect::<Result<_, _>>()?, keys: Vec::new() })
    }

    fn gathers_queries(&self) -> bool {
        true
    }

    fn loss(&self, local: &Embeddings, gathered: &Gathered, _at: &At) -> Loss {
        let (a_bd, b_bd) = (&local.queries[0], &local.queries[1]);
        let (a_nd, b_nd) = (&gathered.queries[0], &gathered.queries[1]);
        let (first_row, temperature) = (gathered.first_row, self.recipe.temperature);
        let loss_a = loss(a_bd, (a_nd, b_nd), first_row, temperature);
        let loss_b = loss(b_bd, (b_nd, a_nd), first_row, temperature);
        let positive_cosine = row_cosines(a_bd, b_bd).mean(None);
        Loss { total: loss_a + loss_b, metrics: vec![("positive_cosine", positive_cosine)] }
    }

    fn encoder(&self) -> &Encoder {
        &self.online.encoder
    }
}
