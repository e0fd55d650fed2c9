//! MoCo v2: a query finds its key among the keys of past batches.
//!
//! `L = -log( exp(q·k / τ) / (exp(q·k / τ) + Σ_j exp(q·queue_j / τ)) )`, mean over the batch.
//!
//! # Source
//! He et al., Momentum Contrast (CVPR 2020), eq. 1 and algorithm 1; Chen et al., Improved Baselines (arXiv
//! 2003.04297); code facebookresearch/moco @ cb10789. Order as there: momentum update, key forward, logits with the
//! old queue, queue write. One difference: keys are not shuffled between ranks before batch normalisation, so queries
//! and keys of an image are normalised in the same group of images.
//!
//! Shape legend: B local batch, D embedding, K queue.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::{Kind, Reduction, Tensor};

use super::{
    At, Embeddings, Gathered, Input, Loss, Method,
    contrast::{cosines, positive_cosine},
    momentum_pair::{MomentumPair, Plan},
};
use crate::nn::{ResNet, Setup};

/// The method with its networks. View 0 is the query, view 1 the key.
pub struct MocoV2 {
    recipe: methods::MocoV2,
    pair: MomentumPair,
}

impl MocoV2 {
    /// Builds both branches and the queue.
    pub fn new(recipe: &methods::MocoV2, spec: &JobSpec, n_channels: u32, setup: &Setup) -> Self {
        let plan = Plan {
            encoder: &spec.recipe.encoder,
            n_channels,
            projector: &recipe.projector,
            predictor: None,
            queue_size: recipe.queue_size,
        };
        Self { recipe: recipe.clone(), pair: MomentumPair::new(&plan, setup) }
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
    logits_bc.cross_entropy_loss(&labels_b, None::<&Tensor>, Reduction::Mean, -100, 0.0)
}

impl Method for MocoV2 {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.pair.parameters()
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.pair.state()
    }

    fn buffers(&self) -> Vec<Tensor> {
        self.pair.buffers()
    }

    fn before_forward(&mut self, _at: &At) {
        self.pair.momentum.update(self.recipe.momentum);
    }

    fn embed(&mut self, input: &Input) -> Embeddings {
        let queries = vec![self.pair.online.embed(&input.views[0])];
        let keys = vec![self.pair.keys(&input.views[1])];
        Embeddings { queries, keys }
    }

    fn loss(&self, local: &Embeddings, _gathered: &Gathered) -> Loss {
        let (q_bd, k_bd, queue_kd) = (&local.queries[0], &local.keys[0], self.pair.queue.keys());
        let logits_bc = logits(q_bd, k_bd, queue_kd, self.recipe.temperature);
        let positive_cosine = positive_cosine(&logits_bc) * self.recipe.temperature;
        Loss { total: loss(&logits_bc), metrics: vec![("positive_cosine", positive_cosine)] }
    }

    fn after_step(&mut self, gathered: &Gathered, _at: &At) {
        self.pair.queue.enqueue(&gathered.keys[0]);
    }

    fn encoder(&self) -> &ResNet {
        &self.pair.online.encoder
    }
}
