//! CMC: the brightness of one view finds the colours of another among those of past images, and the other way round.
//!
//! With q¹ and q² the embeddings of the first channels and of the others of the query, k¹ and k² those of the key:
//! `L = InfoNCE(q¹, k², queue²) + InfoNCE(q², k¹, queue¹)`. The encoder is two networks of half the width side by side;
//! what is kept, and evaluated, is both, features one after the other. Each half has a projector of its own.
//!
//! # Source
//! Tian et al., Contrastive Multiview Coding (ECCV 2020), in its form with a momentum branch and queues: CMC v2 of code
//! HobbitLong/PyContrast @ 84f94ea. Order as there: key forward among shuffled images, logits with the old queues,
//! momentum update after the optimiser's step, queue writes.
//!
//! Shape legend: B local batch, D embedding, K queue.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::{Tensor, no_grad};

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{mean, mean_cosine},
    moco_v2,
    momentum_pair::{Shuffling, queue, queue_entries},
};
use crate::{
    collective::{Collective, Error, queue::Queue},
    nn::{Encoder, Entry, Head, Momentum, Pass, Setup, normalize},
};

/// The method with its networks. View 0 is the query, view 1 the key.
pub struct Cmc {
    recipe: methods::Cmc,
    online: Halves,
    target: Halves,
    momentum: Momentum,
    shuffling: Shuffling,
    queues: [Queue; 2],
}

impl Cmc {
    /// Builds both branches and the queues.
    pub fn new(recipe: &methods::Cmc, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let online = Halves::new(recipe, spec, images, setup);
        let target = Halves::new(recipe, spec, images, &Setup { has_gradient: false, ..*setup });
        Self {
            recipe: recipe.clone(),
            momentum: Momentum::between(online.named(""), target.named("")),
            online,
            target,
            shuffling: Shuffling::new(spec, setup),
            queues: setup.for_halves().map(|setup| queue(recipe.queue_size, &recipe.projector, &setup)),
        }
    }
}

/// An encoder whose features are those of two networks, and a projector for each.
struct Halves {
    encoder: Encoder,
    projectors: [Head; 2],
}

impl Halves {
    fn new(recipe: &methods::Cmc, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let encoder = Encoder::new(&spec.recipe.encoder, images.n_channels, setup);
        let inputs = encoder.feature_dim() / 2;
        let projectors = setup.for_halves().map(|setup| Head::projector(&recipe.projector, inputs, &setup));
        Self { encoder, projectors }
    }

    /// Unit embeddings of the first channels and of the others.
    fn embed(&self, images_bchw: &Tensor, pass: Pass<'_>) -> Result<Vec<Tensor>, Error> {
        let features = self.encoder.features(images_bchw, pass)?.chunk(2, 1);
        let project = |(projector, half): (&Head, &Tensor)| Ok(normalize(&projector.forward(half, pass)?));
        self.projectors.iter().zip(&features).map(project).collect()
    }

    fn named(&self, prefix: &'static str) -> impl Iterator<Item = Entry> {
        let [first, second] = &self.projectors;
        let parts = [
            ("encoder", self.encoder.entries()),
            ("projector.first", first.entries()),
            ("projector.second", second.entries()),
        ];
        parts.into_iter().flat_map(move |(part, entries)| {
            entries.iter().map(move |entry| entry.prefixed(&format!("{prefix}.{part}")))
        })
    }
}

/// Each half's query with the other half's key and queue: the two terms of the objective, which is their sum.
///
/// # Shapes
/// Pairs of `[B, D]`, `[B, D]` and `[K, D]`, of unit length.
pub fn terms(q: [&Tensor; 2], k: [&Tensor; 2], queues: [&Tensor; 2], temperature: f64) -> [Tensor; 2] {
    [(0, 1), (1, 0)]
        .map(|(own, other)| moco_v2::loss(&moco_v2::logits(q[own], k[other], queues[other], temperature)))
}

impl Method for Cmc {
    fn entries(&self) -> Vec<Entry> {
        let queues = ["first", "second"].into_iter().zip(&self.queues);
        let queues =
            queues.flat_map(|(half, queue)| queue_entries(queue).map(move |entry| entry.prefixed(half)));
        self.online.named("online").chain(self.target.named("target")).chain(queues).collect()
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let queries = self.online.embed(&input.views[0], Pass::Train(ranks))?;
        let both = |images_bchw: &Tensor| {
            let halves = no_grad(|| self.target.embed(images_bchw, Pass::Train(ranks)))?;
            Ok(Tensor::cat(&halves, 1))
        };
        let keys = self.shuffling.forward(&input.views[1], at, ranks, both)?.chunk(2, 1);
        Ok(Embeddings { queries, keys })
    }

    fn loss(&self, local: &Embeddings, _gathered: &Gathered, _at: &At) -> Loss {
        let [first, second] = &self.queues;
        let (q, k) = (&local.queries, &local.keys);
        let queues = [first.keys(), second.keys()];
        let [colours, brightness] = terms([&q[0], &q[1]], [&k[0], &k[1]], queues, self.recipe.temperature);
        let positive_cosine = mean(&[mean_cosine(&q[0], &k[1]), mean_cosine(&q[1], &k[0])]);
        Loss { total: colours + brightness, metrics: vec![("positive_cosine", positive_cosine)] }
    }

    fn after_step(&mut self, gathered: &Gathered, _at: &At) {
        self.momentum.update(self.recipe.momentum);
        for (queue, keys_nd) in self.queues.iter_mut().zip(&gathered.keys) {
            queue.enqueue(keys_nd);
        }
    }

    fn encoder(&self) -> &Encoder {
        &self.online.encoder
    }
}
