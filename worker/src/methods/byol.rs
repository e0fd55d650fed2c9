//! BYOL: the online branch predicts what the momentum branch makes of another view; nothing is told apart.
//!
//! With p_a the prediction from view a and z'_b the momentum branch's projection of view b, both of unit length:
//! ```text
//! L = Σ_{(a,b)} (1/B) Σ_i (2 - 2 p_a,i·z'_b,i)        (a,b) = (0,1) and (1,0); in one direction (1,0) alone
//! ```
//!
//! # Source
//! Grill et al., Bootstrap Your Own Latent (NeurIPS 2020), eq. 2; momentum update after the optimiser's step, as there.
//! The one-directional form with shuffled keys: code UMBCvision/ISD @ 4bdd603, which updates before the key forward:
//! the same, since the branches begin equal.
//!
//! Shape legend: B local batch, D embedding.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::row_cosines,
    momentum::momentum,
    momentum_pair::{Heads, MomentumPair},
};
use crate::{
    collective::{Collective, Error},
    nn::{Encoder, Entry, Setup},
};

/// The method with its networks. Symmetric: each view is query and key; else view 0 is the key, view 1 the query.
pub struct Byol {
    recipe: methods::Byol,
    pair: MomentumPair,
}

impl Byol {
    /// Builds both branches.
    pub fn new(recipe: &methods::Byol, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: Some(&recipe.predictor) };
        Self { recipe: recipe.clone(), pair: MomentumPair::new(&heads, spec, images.n_channels, setup) }
    }
}

/// One direction: the mean squared distance of predictions and projections.
pub fn loss(p_bd: &Tensor, z_bd: &Tensor) -> Tensor {
    2.0 - 2.0 * row_cosines(p_bd, z_bd).mean(None)
}

impl Method for Byol {
    fn entries(&self) -> Vec<Entry> {
        self.pair.entries()
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let views = &input.views;
        let (queries, keys) =
            if self.recipe.symmetric { (&views[..2], &views[..2]) } else { (&views[1..2], &views[..1]) };
        let key = |view| match self.recipe.shuffle_bn {
            true => self.pair.shuffled_keys(view, at, ranks),
            false => self.pair.keys(view, ranks),
        };
        Ok(Embeddings {
            queries: queries.iter().map(|view| self.pair.queries(view, ranks)).collect::<Result<_, _>>()?,
            keys: keys.iter().map(key).collect::<Result<_, _>>()?,
        })
    }

    fn loss(&self, local: &Embeddings, _gathered: &Gathered, _at: &At) -> Loss {
        // Each query with the key of the other view; the only key where there is one.
        let pairs = local.queries.iter().zip(local.keys.iter().rev());
        let losses: Vec<Tensor> = pairs.map(|(p_bd, z_bd)| loss(p_bd, z_bd)).collect();
        let losses = Tensor::stack(&losses, 0);
        let positive_cosine = 1.0 - losses.mean(None) / 2.0;
        Loss { total: losses.sum(None), metrics: vec![("positive_cosine", positive_cosine)] }
    }

    fn after_step(&mut self, _gathered: &Gathered, at: &At) {
        self.pair.momentum.update(momentum(self.recipe.momentum, self.recipe.momentum_schedule, at));
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
