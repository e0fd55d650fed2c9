//! ISD: a student relates to anchors as its teacher does.
//!
//! With q the student's prediction for one view, k the teacher's embedding of another, and the queue as anchors:
//! ```text
//! p_t(i)_j = softmax_j(k_i·queue_j / T_t)     p_s(i)_j = softmax_j(q_i·queue_j / T_s)
//! L        = (1/N) Σ_i KL( p_t(i) ‖ p_s(i) )
//! ```
//! The keys of the batch are no anchors, so there is neither a positive nor a negative.
//!
//! # Source
//! Tejankar et al., ISD (ICCV 2021); code UMBCvision/ISD @ 4bdd603, `train_isd.py` and `train_isd_plus.py`. Order as
//! there: momentum update, key forward among shuffled images, relations to the old queue, queue write. The queue begins
//! with rows of unit length as in the latter; the former normalises columns, which only matters until it was filled.
//!
//! Shape legend: B local batch, D embedding, K queue.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{divergence, log_relations, mean_cosine},
    momentum_pair::{Heads, MomentumPair, queue, queue_entries},
};
use crate::{
    collective::{Collective, Error, queue::Queue},
    nn::{Encoder, Entry, Setup},
};

/// The method with its networks. View 0 is the teacher's, view 1 the student's.
pub struct Isd {
    recipe: methods::Isd,
    pair: MomentumPair,
    queue: Queue,
}

impl Isd {
    /// Builds both branches and the queue.
    pub fn new(recipe: &methods::Isd, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: Some(&recipe.predictor) };
        let pair = MomentumPair::new(&heads, spec, images.n_channels, setup);
        Self { recipe: recipe.clone(), pair, queue: queue(recipe.queue_size, &recipe.projector, setup) }
    }
}

/// `KL(p_t ‖ p_s)`, given the logs of both, `[B, K]`.
pub fn loss(log_student_bk: &Tensor, log_teacher_bk: &Tensor) -> Tensor {
    divergence(log_teacher_bk, log_student_bk)
}

impl Method for Isd {
    fn entries(&self) -> Vec<Entry> {
        self.pair.entries().into_iter().chain(queue_entries(&self.queue)).collect()
    }

    fn before_forward(&mut self, _at: &At) {
        self.pair.momentum.update(self.recipe.momentum);
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let queries = vec![self.pair.queries(&input.views[1], ranks)?];
        let keys = vec![self.pair.shuffled_keys(&input.views[0], at, ranks)?];
        Ok(Embeddings { queries, keys })
    }

    fn loss(&self, local: &Embeddings, _gathered: &Gathered, _at: &At) -> Loss {
        let (q_bd, k_bd, queue_kd) = (&local.queries[0], &local.keys[0], self.queue.keys());
        let log_student_bk = log_relations(q_bd, queue_kd, self.recipe.temperature);
        let log_teacher_bk = log_relations(k_bd, queue_kd, self.recipe.target_temperature);
        let metrics = vec![("positive_cosine", mean_cosine(q_bd, k_bd))];
        Loss { total: loss(&log_student_bk, &log_teacher_bk), metrics }
    }

    fn after_step(&mut self, gathered: &Gathered, _at: &At) {
        self.queue.enqueue(&gathered.keys[0]);
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
