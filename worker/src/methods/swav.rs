//! SwAV: each view predicts to which prototypes another view of its image was assigned.
//!
//! With z_v the embedding of view v, C the prototypes' unit rows, and views 0 and 1 the ones that give codes:
//! ```text
//! q_a = Sinkhorn(z_a Cᵀ / ε)                                        over the global batch: all prototypes used alike
//! L   = mean_{a ∈ {0,1}} mean_{v≠a} -(1/B) Σ_i Σ_k q_a,ik log softmax(z_v Cᵀ / τ)_ik
//! ```
//!
//! # Source
//! Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (NeurIPS 2020), eq. 2 to 5;
//! code facebookresearch/swav @ 06b1b7c. As there, prototypes have unit length in each forward pass (here they are
//! brought to it after each step, not before) and stay put in the first steps; a queue, once full, joins the codes with scores by today's prototypes, and is written
//! after them. The codes come from the gathered embeddings, alike on all ranks, where the code adds up sums. Each view is
//! normalised on its own, where the code normalises those of one size together.
//!
//! Shape legend: B local batch, N global batch, D embedding, K prototypes, R rows (queue and global batch).

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::{Tensor, no_grad};

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::row_cosines,
    momentum_pair::{Heads, branch, queue_entries},
};
use crate::{
    collective::{Collective, Error, queue::Queue},
    nn::{Branch, Builder, Encoder, Entry, Pass, Role, Setup, normalize},
};

/// The views that give codes.
const N_CODED: usize = 2;

/// The method with its network, its prototypes, and a queue for each view that gives codes.
pub struct Swav {
    recipe: methods::Swav,
    online: Branch,
    prototypes_kd: Tensor,
    /// Images of a step.
    global_batch: i64,
    queues: Vec<Queue>,
}

impl Swav {
    /// Builds the branch, the prototypes, and queues if the recipe has some.
    pub fn new(recipe: &methods::Swav, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: None };
        let (n_prototypes, dim) = (i64::from(recipe.n_prototypes), i64::from(recipe.projector.out_dim));
        let mut builder = Builder::new(setup, "prototypes");
        let bound = 1.0 / (dim as f64).sqrt();
        let prototypes_kd = builder.uniform("weight".to_owned(), &[n_prototypes, dim], bound);
        set_to_unit_length(&prototypes_kd);
        let empty = |_| Tensor::zeros([i64::from(recipe.queue_size), dim], (setup.kind, setup.device));
        let n_queues = if recipe.queue_size > 0 { N_CODED } else { 0 };
        Self {
            recipe: recipe.clone(),
            online: branch(&heads, spec, images.n_channels, setup),
            prototypes_kd,
            global_batch: spec.recipe.training.global_batch.into(),
            queues: (0..n_queues).map(empty).map(Queue::new).collect(),
        }
    }

    /// Steps since the queue began; `None` before.
    fn steps_of_queue(&self, at: &At) -> Option<u64> {
        at.step.checked_sub(u64::from(self.recipe.queue_start_epoch) * at.steps_per_epoch)
    }

    /// q_a of all images of the step, given their embeddings.
    fn codes(&self, view: usize, batch_nd: &Tensor, at: &At) -> Tensor {
        let n_queued = self.steps_of_queue(at).unwrap_or(0) as i64 * self.global_batch;
        let queue = self.queues.get(view).filter(|queue| n_queued >= queue.keys().size()[0]);
        let rows: Vec<&Tensor> = [batch_nd].into_iter().chain(queue.map(Queue::keys)).collect();
        let scores_rk = Tensor::cat(&rows, 0).matmul(&self.prototypes_kd.transpose(0, 1));
        let codes_rk = sinkhorn(&scores_rk, self.recipe.epsilon, self.recipe.sinkhorn_iterations);
        codes_rk.narrow(0, 0, batch_nd.size()[0])
    }
}

fn set_to_unit_length(prototypes_kd: &Tensor) {
    no_grad(|| prototypes_kd.shallow_clone().copy_(&normalize(prototypes_kd)));
}

/// Codes of rows, given their cosines with the prototypes: each row's add up to 1, and in the limit of many rounds each
/// prototype's to the same. In logarithms, where dividing by sums is a softmax.
///
/// # Shapes
/// `[R, K]` to `[R, K]`.
pub fn sinkhorn(cosines_rk: &Tensor, epsilon: f64, n_iterations: u32) -> Tensor {
    let round = |log_rk: Tensor, _| log_rk.log_softmax(0, None).log_softmax(1, None);
    (0..n_iterations).fold(cosines_rk / epsilon, round).exp()
}

/// L, given each view's cosines with the prototypes, and the codes of the first views.
pub fn loss(cosines_bk: &[Tensor], codes_bk: &[Tensor], temperature: f64) -> Tensor {
    let mut terms = Vec::new();
    for (a, codes_bk) in codes_bk.iter().enumerate() {
        for (v, cosines_bk) in cosines_bk.iter().enumerate() {
            if v != a {
                let log_p_bk = (cosines_bk / temperature).log_softmax(1, None);
                terms.push(-row_cosines(codes_bk, &log_p_bk).mean(None));
            }
        }
    }
    Tensor::stack(&terms, 0).mean(None)
}

impl Method for Swav {
    fn entries(&self) -> Vec<Entry> {
        let (name, tensor) = ("online.prototypes.weight".to_owned(), self.prototypes_kd.shallow_clone());
        let prototypes = Entry { name, tensor, role: Role::Parameter };
        let queues = self.queues.iter().enumerate().flat_map(|(view, queue)| {
            queue_entries(queue).map(move |entry| Entry { name: format!("{}.{view}", entry.name), ..entry })
        });
        self.online.named("online").chain([prototypes]).chain(queues).collect()
    }

    fn embed(&mut self, input: &Input, _at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let queries = input.views.iter().map(|view| self.online.embed(view, Pass::Train(ranks)));
        let queries = queries.collect::<Result<Vec<_>, _>>()?;
        let keys = queries[..N_CODED].iter().map(Tensor::detach).collect();
        Ok(Embeddings { queries, keys })
    }

    fn loss(&self, local: &Embeddings, gathered: &Gathered, at: &At) -> Loss {
        let is_frozen = at.step < self.recipe.freeze_prototypes_steps;
        let trained = &self.prototypes_kd;
        let prototypes_dk =
            if is_frozen { trained.detach() } else { trained.shallow_clone() }.transpose(0, 1);
        let cosines: Vec<Tensor> = local.queries.iter().map(|z_bd| z_bd.matmul(&prototypes_dk)).collect();
        let n_own = local.queries[0].size()[0];
        let codes = |(view, batch_nd)| {
            no_grad(|| self.codes(view, batch_nd, at).narrow(0, gathered.first_row, n_own))
        };
        let codes: Vec<Tensor> = gathered.keys.iter().enumerate().map(codes).collect();
        let positive_cosine = row_cosines(&local.queries[0], &local.keys[1]).mean(None);
        Loss {
            total: loss(&cosines, &codes, self.recipe.temperature),
            metrics: vec![("positive_cosine", positive_cosine)],
        }
    }

    fn after_step(&mut self, gathered: &Gathered, at: &At) {
        set_to_unit_length(&self.prototypes_kd);
        if self.steps_of_queue(at).is_some() {
            self.queues.iter_mut().zip(&gathered.keys).for_each(|(queue, keys_nd)| queue.enqueue(keys_nd));
        }
    }

    fn encoder(&self) -> &Encoder {
        &self.online.encoder
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// 40 rows whose cosines lean towards the first of five prototypes.
    fn cosines() -> Tensor {
        let noise = (Tensor::arange(200, (Kind::Double, Device::Cpu)) * 12.9898).sin().view([40, 5]) * 0.3;
        noise + Tensor::from_slice(&[0.6, 0.0, 0.0, 0.0, 0.0])
    }

    fn sums(codes: &Tensor, dim: i64) -> Vec<f64> {
        let sums = codes.sum_dim_intlist([dim].as_slice(), false, None);
        Vec::try_from(sums).expect("one dimension")
    }

    #[test]
    fn the_codes_of_a_row_add_up_to_1_and_prototypes_are_used_alike() {
        let few = sinkhorn(&cosines(), 0.05, 3);
        assert!(sums(&few, 1).iter().all(|sum| (sum - 1.0).abs() < 1e-12));
        let many = sinkhorn(&cosines(), 0.05, 200);
        assert!(sums(&many, 0).iter().all(|sum| (sum - 8.0).abs() < 1e-6), "{:?}", sums(&many, 0));
    }

    #[test]
    fn codes_equal_those_of_plain_sums() {
        let (n_rows, n_prototypes) = (40.0, 5.0);
        let mut plain = (cosines() / 0.05).exp();
        plain = &plain / plain.sum(None);
        for _ in 0..3 {
            plain = &plain / (plain.sum_dim_intlist([0_i64].as_slice(), true, None) * n_prototypes);
            plain = &plain / (plain.sum_dim_intlist([1_i64].as_slice(), true, None) * n_rows);
        }
        let difference = (sinkhorn(&cosines(), 0.05, 3) - plain * n_rows).abs().max();
        assert!(difference.double_value(&[]) < 1e-12);
    }
}
