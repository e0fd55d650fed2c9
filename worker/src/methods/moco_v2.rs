//! MoCo v2: a query finds its key among the keys of past batches.
//!
//! `L = -log( exp(q·k / τ) / (exp(q·k / τ) + Σ_j exp(q·queue_j / τ)) )`, mean over the batch.
//!
//! # Source
//! He et al., Momentum Contrast (CVPR 2020), eq. 1 and algorithm 1; Chen et al., Improved Baselines (arXiv
//! 2003.04297); code facebookresearch/moco @ cb10789. Order as there: momentum update, key forward, logits with the
//! old queue, queue write; keys are shuffled between ranks for batch normalisation.
//!
//! Shape legend: B local batch, D embedding, K queue.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::{Kind, Tensor};

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{cosines, cross_entropy, positive_cosine},
    momentum_pair::{Heads, MomentumPair, queue, queue_entries},
};
use crate::{
    collective::{Collective, Error, queue::Queue},
    nn::{Encoder, Entry, Pass, Setup},
};

/// The method with its networks. View 0 is the query, view 1 the key.
pub struct MocoV2 {
    recipe: methods::MocoV2,
    pair: MomentumPair,
    queue: Queue,
}

impl MocoV2 {
    /// Builds both branches and the queue.
    pub fn new(recipe: &impl AsRef<methods::MocoV2>, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let recipe = recipe.as_ref();
        let heads = Heads { projector: &recipe.projector, predictor: None };
        let pair = MomentumPair::new(&heads, spec, images.n_channels, setup);
        Self { recipe: recipe.clone(), pair, queue: queue(recipe.queue_size, &recipe.projector, setup) }
    }
}

/// Logits of each query: its own key first, then the queue.
///
/// # Shapes
/// `q_bd`, `k_bd`, `queue_kd` to `[B, 1 + K]`.
pub fn logits(q_bd: &Tensor, k_bd: &Tensor, queue_kd: &Tensor, temperature: f64) -> Tensor {
    cosines(q_bd, k_bd, queue_kd) / temperature
}

/// Cross-entropy with the own key, column 0, as the label.
pub fn loss(logits_bc: &Tensor) -> Tensor {
    let labels_b = Tensor::zeros([logits_bc.size()[0]], (Kind::Int64, logits_bc.device()));
    cross_entropy(logits_bc, &labels_b)
}

impl Method for MocoV2 {
    fn entries(&self) -> Vec<Entry> {
        self.pair.entries().into_iter().chain(queue_entries(&self.queue)).collect()
    }

    fn embed_plain(&self, images_bchw: &Tensor) -> Result<Tensor, Error> {
        self.pair.target.embed(images_bchw, Pass::Evaluate)
    }

    fn before_forward(&mut self, _at: &At) {
        self.pair.momentum.update(self.recipe.momentum);
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let queries = vec![self.pair.queries(&input.views[0], ranks)?];
        let keys = vec![self.pair.shuffled_keys(&input.views[1], at, ranks)?];
        Ok(Embeddings { queries, keys })
    }

    fn loss(&self, local: &Embeddings, _gathered: &Gathered, _at: &At) -> Loss {
        let (q_bd, k_bd, queue_kd) = (&local.queries[0], &local.keys[0], self.queue.keys());
        let logits_bc = logits(q_bd, k_bd, queue_kd, self.recipe.temperature);
        let positive_cosine = positive_cosine(&logits_bc) * self.recipe.temperature;
        Loss { total: loss(&logits_bc), metrics: vec![("positive_cosine", positive_cosine)] }
    }

    fn after_step(&mut self, gathered: &Gathered, _at: &At) {
        self.queue.enqueue(&gathered.keys[0]);
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
