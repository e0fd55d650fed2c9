//! ReSSL: strongly augmented views relate to past images as a weakly augmented one does.
//!
//! With k the teacher's embedding of the weak view, q the student's of a strong one, and past keys in the queue:
//! `L = -mean_i Σ_j softmax_j(k_i·queue_j / τ_t) log softmax_j(q_i·queue_j / τ)`, mean over the strong views. The keys of
//! the batch are no columns. It is ISD's divergence plus the entropy of the teacher, which has no gradient.
//!
//! # Source
//! Zheng et al., ReSSL (NeurIPS 2021); code KyleZheng1997/ReSSL @ 4d67daa. Order as there: momentum update, key forward
//! among shuffled images, relations to the old queue, queue write.
//!
//! Shape legend: B local batch, D embedding, K queue.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{log_relations, mean, mean_cosine, mean_of_rows},
    momentum_pair::{Heads, MomentumPair, queue, queue_entries},
};
use crate::{
    collective::{Collective, Error, queue::Queue},
    nn::{Encoder, Entry, Setup},
};

/// The method with its networks. View 0 is the teacher's, the others are the student's.
pub struct Ressl {
    recipe: methods::Ressl,
    pair: MomentumPair,
    queue: Queue,
}

impl Ressl {
    /// Builds both branches and the queue.
    pub fn new(recipe: &methods::Ressl, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: None };
        let pair = MomentumPair::new(&heads, spec, images.n_channels, setup);
        Self { recipe: recipe.clone(), pair, queue: queue(recipe.queue_size, &recipe.projector, setup) }
    }
}

/// Cross-entropy of the student's relations with the teacher's, given the logs of both, `[B, K]`.
pub fn loss(log_student_bk: &Tensor, log_teacher_bk: &Tensor) -> Tensor {
    mean_of_rows(&-(log_teacher_bk.exp() * log_student_bk))
}

impl Method for Ressl {
    fn entries(&self) -> Vec<Entry> {
        self.pair.entries().into_iter().chain(queue_entries(&self.queue)).collect()
    }

    fn before_forward(&mut self, _at: &At) {
        self.pair.momentum.update(self.recipe.momentum);
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let student = |view| self.pair.queries(view, ranks);
        let queries = input.views[1..].iter().map(student).collect::<Result<_, _>>()?;
        let keys = vec![self.pair.shuffled_keys(&input.views[0], at, ranks)?];
        Ok(Embeddings { queries, keys })
    }

    fn loss(&self, local: &Embeddings, _gathered: &Gathered, _at: &At) -> Loss {
        let (k_bd, queue_kd) = (&local.keys[0], self.queue.keys());
        let log_teacher_bk = log_relations(k_bd, queue_kd, self.recipe.target_temperature);
        let of_view = |q_bd| loss(&log_relations(q_bd, queue_kd, self.recipe.temperature), &log_teacher_bk);
        let losses: Vec<Tensor> = local.queries.iter().map(of_view).collect();
        let positives: Vec<Tensor> = local.queries.iter().map(|q_bd| mean_cosine(q_bd, k_bd)).collect();
        Loss { total: mean(&losses), metrics: vec![("positive_cosine", mean(&positives))] }
    }

    fn after_step(&mut self, gathered: &Gathered, _at: &At) {
        self.queue.enqueue(&gathered.keys[0]);
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
