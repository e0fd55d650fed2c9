//! MoCo v3: each view's prediction finds the other view's key among the keys of the global batch; there is no queue.
//!
//! With q_v the prediction from view v, k_v its key, and own(i) the column of row i among the gathered keys:
//! ```text
//! ctr(q, k) = -2τ (1/B) Σ_i log( exp(q_i·k_own(i) / τ) / Σ_j exp(q_i·k_j / τ) )
//! L         = ctr(q_0, k_1) + ctr(q_1, k_0)
//! ```
//!
//! # Source
//! Chen, Xie and He, An Empirical Study of Training Self-Supervised Vision Transformers (ICCV 2021), algorithm 1; code
//! facebookresearch/moco-v3 @ c349e6e. Momentum update before the key forward; keys are gathered without gradient.
//!
//! Shape legend: B local batch, N global batch, D embedding.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{cross_entropy, own_columns, row_cosines},
    momentum::momentum,
    momentum_pair::{Heads, MomentumPair},
};
use crate::{
    collective::{Collective, Error},
    nn::{Encoder, Entry, Setup},
};

/// The method with its networks.
pub struct MocoV3 {
    recipe: methods::MocoV3,
    pair: MomentumPair,
}

impl MocoV3 {
    /// Builds both branches.
    pub fn new(recipe: &methods::MocoV3, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: Some(&recipe.predictor) };
        Self { recipe: recipe.clone(), pair: MomentumPair::new(&heads, spec, images.n_channels, setup) }
    }
}

/// ctr: the keys of this rank's rows begin at `first_row` of `k_nd`.
pub fn contrast(q_bd: &Tensor, k_nd: &Tensor, first_row: i64, temperature: f64) -> Tensor {
    let logits_bn = q_bd.matmul(&k_nd.transpose(0, 1)) / temperature;
    cross_entropy(&logits_bn, &own_columns(q_bd, first_row)) * (2.0 * temperature)
}

impl Method for MocoV3 {
    fn entries(&self) -> Vec<Entry> {
        self.pair.entries()
    }

    fn before_forward(&mut self, at: &At) {
        self.pair.momentum.update(momentum(self.recipe.momentum, self.recipe.momentum_schedule, at));
    }

    fn embed(&mut self, input: &Input, _at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let views = &input.views[..2];
        Ok(Embeddings {
            queries: views.iter().map(|view| self.pair.queries(view, ranks)).collect::<Result<_, _>>()?,
            keys: views.iter().map(|view| self.pair.keys(view, ranks)).collect::<Result<_, _>>()?,
        })
    }

    fn loss(&self, local: &Embeddings, gathered: &Gathered, _at: &At) -> Loss {
        let (q, k) = (&local.queries, &gathered.keys);
        let contrast = |q_bd, k_nd| contrast(q_bd, k_nd, gathered.first_row, self.recipe.temperature);
        let positive_cosine = row_cosines(&q[0], &local.keys[1]).mean(None);
        let total = contrast(&q[0], &k[1]) + contrast(&q[1], &k[0]);
        Loss { total, metrics: vec![("positive_cosine", positive_cosine)] }
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
