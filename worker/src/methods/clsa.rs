//! CLSA: strongly augmented queries are told how weakly augmented ones relate to the keys.
//!
//! With q_w the weak queries, q_s the strong ones, and columns c = keys of the global batch, then queue:
//! ```text
//! L = Σ_w InfoNCE(q_w) + α Σ_w Σ_s -mean_i Σ_c P_w(i)_c log P_s(i)_c
//! P_w(i)_c = softmax_c(q_w,i·key_c / τ_s), a constant     P_s(i)_c = softmax_c(q_s,i·key_c / τ_s)
//! ```
//!
//! # Source
//! Wang and Qi, Contrastive Learning with Stronger Augmentations (TPAMI 2022); code maple-research-lab/CLSA @ 37df76c,
//! without its symmetric option. Order as there: momentum update, key forward among shuffled images, logits with the old
//! queue, queue write. The code finds a row's own key by the number of the device within its node; here it is the rank.
//!
//! Shape legend: B local batch, N global batch, D embedding, K queue, C columns: N + K.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{cross_entropy, mean, mean_cosine, own_columns, soft_cross_entropy},
    momentum_pair::{Heads, MomentumPair, queue, queue_entries},
};
use crate::{
    collective::{Collective, Error, queue::Queue},
    nn::{Encoder, Entry, Setup},
};

/// The method with its networks. View 0 is the key; then come the weak queries, then the strong ones.
pub struct Clsa {
    recipe: methods::Clsa,
    pair: MomentumPair,
    queue: Queue,
}

impl Clsa {
    /// Builds both branches and the queue.
    pub fn new(recipe: &methods::Clsa, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: None };
        let pair = MomentumPair::new(&heads, spec, images.n_channels, setup);
        Self { recipe: recipe.clone(), pair, queue: queue(recipe.queue_size, &recipe.projector, setup) }
    }
}

/// InfoNCE of weak queries, given their cosines with the columns; row `i` owns column `first + i`.
pub fn weak_loss(cosines_bc: &Tensor, first: i64, temperature: f64) -> Tensor {
    cross_entropy(&(cosines_bc / temperature), &own_columns(cosines_bc, first))
}

/// Cross-entropy of a strong query's relations with those of a weak one, given the cosines of both with the columns.
pub fn strong_loss(strong_bc: &Tensor, weak_bc: &Tensor, temperature: f64) -> Tensor {
    let target_bc = (weak_bc.detach() / temperature).softmax(1, None);
    soft_cross_entropy(&target_bc, &(strong_bc / temperature))
}

impl Method for Clsa {
    fn entries(&self) -> Vec<Entry> {
        self.pair.entries().into_iter().chain(queue_entries(&self.queue)).collect()
    }

    fn before_forward(&mut self, _at: &At) {
        self.pair.momentum.update(self.recipe.momentum);
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let query = |view| self.pair.queries(view, ranks);
        let queries = input.views[1..].iter().map(query).collect::<Result<_, _>>()?;
        let keys = vec![self.pair.shuffled_keys(&input.views[0], at, ranks)?];
        Ok(Embeddings { queries, keys })
    }

    fn loss(&self, local: &Embeddings, gathered: &Gathered, _at: &At) -> Loss {
        let columns_cd = Tensor::cat(&[&gathered.keys[0], self.queue.keys()], 0);
        let cosines = |q_bd: &Tensor| q_bd.matmul(&columns_cd.transpose(0, 1));
        let (weak_bd, strong_bd) = local.queries.split_at(self.recipe.weak_views as usize);
        let strong_bc: Vec<Tensor> = strong_bd.iter().map(cosines).collect();
        let (mut instance, mut distribution) = (Vec::new(), Vec::new());
        for weak_bc in weak_bd.iter().map(cosines) {
            instance.push(weak_loss(&weak_bc, gathered.first_row, self.recipe.temperature));
            for strong_bc in &strong_bc {
                distribution.push(strong_loss(strong_bc, &weak_bc, self.recipe.strong_temperature));
            }
        }
        let sum = |terms: &[Tensor]| Tensor::stack(terms, 0).sum(None);
        let positives: Vec<Tensor> = weak_bd.iter().map(|q_bd| mean_cosine(q_bd, &local.keys[0])).collect();
        let metrics = vec![("positive_cosine", mean(&positives)), ("distribution_loss", mean(&distribution))];
        Loss { total: sum(&instance) + sum(&distribution) * self.recipe.strong_weight, metrics }
    }

    fn after_step(&mut self, gathered: &Gathered, _at: &At) {
        self.queue.enqueue(&gathered.keys[0]);
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
