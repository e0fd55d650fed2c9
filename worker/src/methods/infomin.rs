//! InfoMin: momentum contrast of strongly augmented views, and of an image's patches with the same key.
//!
//! With q the query, q_jig what became of nine patches of the image, and one key k and one queue for both:
//! ```text
//! L     = (1-β) InfoNCE(q, k, queue) + β InfoNCE(q_jig, k, queue)
//! I_NCE = log(1 + K) - InfoNCE(q, k, queue)          a bound of the information that the views share
//! ```
//! Patches go through the same encoder in a pass of their own, each through a head, and joined in random order through a
//! linear layer. The order is a function of (seed, step, place in the global batch) alone.
//!
//! # Source
//! Tian et al., What makes for good views (NeurIPS 2020); code HobbitLong/PyContrast @ 84f94ea. Order as there: key forward
//! among shuffled images, logits with the old queue, momentum update after the optimiser's step, queue write. Without
//! patches (β = 0) it is MoCo v2 with other views.
//!
//! Shape legend: B local batch, P patches of an image, D embedding, K queue.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::positive_cosine,
    moco_v2,
    momentum_pair::{Heads, MomentumPair, queue, queue_entries},
};
use crate::{
    collective::{Collective, Error, first_row, queue::Queue},
    nn::{Encoder, Entry, JigsawHead, Pass, Setup, Stream, normalize},
};

/// The method with its networks. View 0 is the query, view 1 the key, view 2, where β is above 0, the patches.
pub struct Infomin {
    recipe: methods::Infomin,
    pair: MomentumPair,
    jigsaw: Option<JigsawHead>,
    queue: Queue,
    seed: u64,
}

impl Infomin {
    /// Builds both branches, the head of the patches and the queue.
    pub fn new(recipe: &methods::Infomin, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: None };
        let pair = MomentumPair::new(&heads, spec, images.n_channels, setup);
        let n_patches = spec.recipe.views.get(2).map(|view| i64::from(view.n_patches()));
        let inputs = pair.online.encoder.feature_dim();
        let jigsaw = n_patches.map(|n| JigsawHead::new(&recipe.projector, n, inputs, setup));
        let queue = queue(recipe.queue_size, &recipe.projector, setup);
        Self { recipe: recipe.clone(), pair, jigsaw, queue, seed: setup.seed }
    }

    /// Unit embeddings of the patches of this rank's images.
    fn join(&self, head: &JigsawHead, input: &Input, at: &At, ranks: &Collective) -> Result<Tensor, Error> {
        let pass = Pass::TrainPatches(ranks, head.n_patches());
        let features = self.pair.online.encoder.features(&input.views[2], pass)?;
        let n_images = input.samples_b.size()[0];
        let first = first_row(ranks, n_images);
        let order_of = |row: i64| {
            let mut stream = Stream::new(self.seed, &format!("jigsaw {} {}", at.step, first + row));
            let order = stream.permutation(head.n_patches() as usize);
            order.into_iter().map(move |patch| row * head.n_patches() + patch)
        };
        let order: Vec<i64> = (0..n_images).flat_map(order_of).collect();
        let order = Tensor::from_slice(&order).to_device(features.device());
        Ok(normalize(&head.forward(&features.index_select(0, &order), pass)?))
    }
}

/// InfoNCE of the patches' embedding joins that of the query with weight β.
pub fn total(instance: &Tensor, jigsaw: &Tensor, beta: f64) -> Tensor {
    instance * (1.0 - beta) + jigsaw * beta
}

/// A bound of the information that two views share, in nats, given InfoNCE among so many candidates.
pub fn shared_information(infonce: &Tensor, n_candidates: i64) -> Tensor {
    (n_candidates as f64).ln() - infonce
}

impl Method for Infomin {
    fn entries(&self) -> Vec<Entry> {
        let jigsaw = self.jigsaw.iter().flat_map(|head| head.named("online"));
        self.pair.entries().into_iter().chain(jigsaw).chain(queue_entries(&self.queue)).collect()
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let mut queries = vec![self.pair.queries(&input.views[0], ranks)?];
        if let Some(head) = &self.jigsaw {
            queries.push(self.join(head, input, at, ranks)?);
        }
        let keys = vec![self.pair.shuffled_keys(&input.views[1], at, ranks)?];
        Ok(Embeddings { queries, keys })
    }

    fn loss(&self, local: &Embeddings, _gathered: &Gathered, _at: &At) -> Loss {
        let logits = |q_bd| moco_v2::logits(q_bd, &local.keys[0], self.queue.keys(), self.recipe.temperature);
        let logits_bc = logits(&local.queries[0]);
        let instance = moco_v2::loss(&logits_bc);
        let mut metrics = vec![
            ("positive_cosine", positive_cosine(&logits_bc) * self.recipe.temperature),
            ("shared_information_nats", shared_information(&instance, logits_bc.size()[1])),
        ];
        let Some(joined_bd) = local.queries.get(1) else { return Loss { total: instance, metrics } };
        let jigsaw = moco_v2::loss(&logits(joined_bd));
        metrics.push(("jigsaw_loss", jigsaw.shallow_clone()));
        Loss { total: total(&instance, &jigsaw, self.recipe.beta), metrics }
    }

    fn after_step(&mut self, gathered: &Gathered, _at: &At) {
        self.pair.momentum.update(self.recipe.momentum);
        self.queue.enqueue(&gathered.keys[0]);
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
