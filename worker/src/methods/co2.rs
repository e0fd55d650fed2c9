//! CO2: MoCo, whose queries and keys relate alike to the negatives.
//!
//! ```text
//! L = InfoNCE(q, k, queue) + α ½ [ KL(p_q ‖ p_k) + KL(p_k ‖ p_q) ]
//! p_q(i)_j = softmax_j(q_i·queue_j / τ_con)     p_k(i)_j = softmax_j(k_i·queue_j / τ_con)
//! ```
//!
//! # Source
//! Wei et al., CO2 (ICLR 2021), whose code was not released. A third-party form (philippmwirth/co2 @ 341b8f0) has q·k as
//! one more column of both distributions: `includes_positive`; the paper's, without, is the default. Order of MoCo v2:
//! momentum update, key forward among shuffled images, logits with the old queue, queue write.
//!
//! Shape legend: B local batch, D embedding, K queue, C columns.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{cosines, divergence, positive_cosine},
    moco_v2,
    momentum_pair::{Heads, MomentumPair, queue, queue_entries},
};
use crate::{
    collective::{Collective, Error, queue::Queue},
    nn::{Encoder, Entry, Setup},
};

/// The method with its networks. View 0 is the query, view 1 the key.
pub struct Co2 {
    recipe: methods::Co2,
    pair: MomentumPair,
    queue: Queue,
}

impl Co2 {
    /// Builds both branches and the queue.
    pub fn new(recipe: &methods::Co2, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: None };
        let pair = MomentumPair::new(&heads, spec, images.n_channels, setup);
        Self { recipe: recipe.clone(), pair, queue: queue(recipe.queue_size, &recipe.projector, setup) }
    }
}

/// The two parts of the objective.
pub struct Terms {
    /// InfoNCE.
    pub instance: Tensor,
    /// Half of the symmetric divergence.
    pub consistency: Tensor,
    /// The query's cosines with its own key, then with the queue.
    pub cosines_bc: Tensor,
}

/// Both parts, given rows of unit length.
pub fn terms(q_bd: &Tensor, k_bd: &Tensor, queue_kd: &Tensor, recipe: &methods::Co2) -> Terms {
    let query_bc = cosines(q_bd, k_bd, queue_kd);
    let own_and_others = [query_bc.narrow(1, 0, 1), k_bd.matmul(&queue_kd.transpose(0, 1))];
    let key_bc = Tensor::cat(&own_and_others, 1);
    let first = i64::from(!recipe.includes_positive);
    let log_relations = |cosines_bc: &Tensor| {
        let compared_bc = cosines_bc.narrow(1, first, cosines_bc.size()[1] - first);
        (compared_bc / recipe.consistency_temperature).log_softmax(1, None)
    };
    let (log_q_bc, log_k_bc) = (log_relations(&query_bc), log_relations(&key_bc));
    Terms {
        instance: moco_v2::loss(&(&query_bc / recipe.temperature)),
        consistency: (divergence(&log_q_bc, &log_k_bc) + divergence(&log_k_bc, &log_q_bc)) / 2.0,
        cosines_bc: query_bc,
    }
}

/// `instance + α consistency`.
pub fn total(terms: &Terms, recipe: &methods::Co2) -> Tensor {
    &terms.instance + &terms.consistency * recipe.consistency_weight
}

impl Method for Co2 {
    fn entries(&self) -> Vec<Entry> {
        self.pair.entries().into_iter().chain(queue_entries(&self.queue)).collect()
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
        let terms = terms(&local.queries[0], &local.keys[0], self.queue.keys(), &self.recipe);
        let total = total(&terms, &self.recipe);
        let positive_cosine = positive_cosine(&terms.cosines_bc);
        let metrics = vec![("positive_cosine", positive_cosine), ("consistency", terms.consistency)];
        Loss { total, metrics }
    }

    fn after_step(&mut self, gathered: &Gathered, _at: &At) {
        self.queue.enqueue(&gathered.keys[0]);
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
