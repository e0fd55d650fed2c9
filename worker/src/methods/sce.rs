//! SCE: a query predicts both its own key and how that key relates to the others.
//!
//! With z¹ the query, z² its key, and columns k = own key, then queue:
//! ```text
//! s²_ik = 1[i≠k] exp(z²_i·z²_k / τ_m) / Σ_j 1[j≠i] exp(z²_i·z²_j / τ_m)    relations
//! w²_ik = λ 1[i=k] + (1-λ) s²_ik                                            target
//! p¹_ik = exp(z¹_i·z²_k / τ) / Σ_j exp(z¹_i·z²_j / τ)                       prediction
//! L     = -(1/N) Σ_i Σ_k w²_ik log p¹_ik
//! ```
//!
//! # Source
//! Denize et al., Similarity Contrastive Estimation (WACV 2023); code CEA-LIST/SCE @ 07cbe63, where the own key has
//! logit 0 in s² rather than none ([`SelfMode::ZeroLogit`]; the paper's mask is the default). Momentum update after the
//! optimiser's step and one queue write per step, as there. The code starts the momentum branch with values of its own;
//! its successor (juliendenize/eztorch @ d835471) copies the online branch, which is followed. With the CIFAR stem keys
//! are shuffled between groups of batch normalisation, as there.
//!
//! Shape legend: B local batch, D embedding, K queue, C columns.

use kindred_proto::{
    job_spec::JobSpec,
    recipe::methods::{self, SelfMode},
};
use tch::{Tensor, no_grad};

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{cosines, mean, own_mask, positive_cosine, soft_cross_entropy},
    momentum::momentum,
    momentum_pair::{Heads, MomentumPair, queue, queue_entries},
};
use crate::{
    collective::{Collective, Error, queue::Queue},
    nn::{Encoder, Entry, Setup},
};

/// The method with its networks. Symmetric: views 0 and 1 are query and key each, and the local views, if any, are
/// queries; else view 0 is the key, view 1 the query.
pub struct Sce {
    recipe: methods::Sce,
    pair: MomentumPair,
    queue: Queue,
}

impl Sce {
    /// Builds both branches and the queue.
    pub fn new(recipe: &methods::Sce, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: recipe.predictor.as_ref() };
        let pair = MomentumPair::new(&heads, spec, images.n_channels, setup);
        Self { recipe: recipe.clone(), pair, queue: queue(recipe.queue_size, &recipe.projector, setup) }
    }
}

/// w², given each key's cosines with the columns; `is_own_bc` says which column is a row's own key.
pub fn target(key_cosines_bc: &Tensor, is_own_bc: &Tensor, recipe: &methods::Sce) -> Tensor {
    let own_logit = match recipe.self_mode {
        SelfMode::Masked => f64::NEG_INFINITY,
        SelfMode::ZeroLogit => 0.0,
    };
    let logits_bc = (key_cosines_bc / recipe.target_temperature).masked_fill(is_own_bc, own_logit);
    let relations_bc = logits_bc.softmax(1, None);
    relations_bc * (1.0 - recipe.lambda) + is_own_bc.to_kind(key_cosines_bc.kind()) * recipe.lambda
}

/// Cross-entropy of the prediction p¹, given the query's cosines with the columns, with w².
pub fn loss(query_cosines_bc: &Tensor, target_bc: &Tensor, recipe: &methods::Sce) -> Tensor {
    soft_cross_entropy(target_bc, &(query_cosines_bc / recipe.temperature))
}

/// One term of the objective.
pub struct Term {
    /// Its loss.
    pub loss: Tensor,
    /// w².
    pub target_bc: Tensor,
    /// The query's cosines with the columns.
    pub cosines_bc: Tensor,
}

/// The terms of all pairs of a key and a query, key by key; with columns own key and queue. Symmetric: query v and
/// key g are of the same image, and pair unless v = g; else one query and one key pair. The objective is their mean.
pub fn terms(
    queries_bd: &[Tensor],
    keys_bd: &[Tensor],
    queue_kd: &Tensor,
    recipe: &methods::Sce,
) -> Vec<Term> {
    let mut terms = Vec::new();
    for (g, k_bd) in keys_bd.iter().enumerate() {
        let target_bc = no_grad(|| {
            let cosines_bc = cosines(k_bd, k_bd, queue_kd);
            target(&cosines_bc, &is_first(&cosines_bc), recipe)
        });
        for (v, q_bd) in queries_bd.iter().enumerate() {
            if recipe.symmetric && v == g {
                continue;
            }
            let cosines_bc = cosines(q_bd, k_bd, queue_kd);
            let loss = loss(&cosines_bc, &target_bc, recipe);
            terms.push(Term { loss, target_bc: target_bc.shallow_clone(), cosines_bc });
        }
    }
    terms
}

/// `[1, C]`: true in column 0.
fn is_first(columns_bc: &Tensor) -> Tensor {
    own_mask((1, columns_bc.size()[1]), 0, columns_bc.device())
}

impl Method for Sce {
    fn entries(&self) -> Vec<Entry> {
        self.pair.entries().into_iter().chain(queue_entries(&self.queue)).collect()
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let views = &input.views;
        let (queries, keys) =
            if self.recipe.symmetric { (&views[..], &views[..2]) } else { (&views[1..], &views[..1]) };
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
        let terms = terms(&local.queries, &local.keys, self.queue.keys(), &self.recipe);
        let positives: Vec<Tensor> = terms.iter().map(|term| positive_cosine(&term.cosines_bc)).collect();
        let losses: Vec<Tensor> = terms.into_iter().map(|term| term.loss).collect();
        Loss { total: mean(&losses), metrics: vec![("positive_cosine", mean(&positives))] }
    }

    fn after_step(&mut self, gathered: &Gathered, at: &At) {
        let m = momentum(self.recipe.momentum, self.recipe.momentum_schedule, at);
        self.pair.momentum.update(m);
        self.queue.enqueue(&Tensor::cat(&gathered.keys, 0));
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
