//! What methods with prototypes share: MoCo v2's networks, step and objective, and terms over prototypes beside it.

use kindred_proto::{
    job_spec::JobSpec,
    recipe::methods::{self, Clustering},
};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    moco_v2::MocoV2,
    prototypes::{Level, Prototypes},
};
use crate::{
    collective::{Collective, Error},
    nn::{Encoder, Entry, Setup},
};

/// What a method says of the prototypes of a step.
pub trait Terms: Send {
    /// [`Method::gathers_queries`].
    const GATHERS_QUERIES: bool;

    /// What is added to MoCo v2's loss, and the terms that it is made of; `levels` are the granularities, one at least.
    fn of(&self, local: &Embeddings, gathered: &Gathered, at: &At, levels: &[Level]) -> (Tensor, Metrics);
}

/// Scalars worth watching, by name.
pub type Metrics = Vec<(&'static str, Tensor)>;

/// MoCo v2 alone in the warm-up, then with terms over prototypes.
pub struct Prototypical<T> {
    moco: MocoV2,
    prototypes: Prototypes,
    terms: T,
}

impl<T> Prototypical<T> {
    /// Builds MoCo v2, and room for the prototypes.
    pub(super) fn with(
        terms: T,
        moco: &methods::MocoV2,
        clustering: &Clustering,
        spec: &JobSpec,
        (images, setup): (&Images, &Setup),
    ) -> Self {
        let shape = (moco.temperature, moco.projector.out_dim);
        Self {
            moco: MocoV2::new(moco, spec, images, setup),
            prototypes: Prototypes::new(clustering, shape, images, setup),
            terms,
        }
    }
}

impl<T: Terms> Method for Prototypical<T> {
    fn entries(&self) -> Vec<Entry> {
        self.moco.entries().into_iter().chain(self.prototypes.entries()).collect()
    }

    fn prototypes(&mut self) -> Option<&mut Prototypes> {
        Some(&mut self.prototypes)
    }

    fn embed_plain(&self, images_bchw: &Tensor) -> Result<Tensor, Error> {
        self.moco.embed_plain(images_bchw)
    }

    fn before_forward(&mut self, at: &At) {
        self.moco.before_forward(at);
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        self.moco.embed(input, at, ranks)
    }

    fn gathers_queries(&self) -> bool {
        T::GATHERS_QUERIES
    }

    fn loss(&self, local: &Embeddings, gathered: &Gathered, at: &At) -> Loss {
        let Loss { total: instances, mut metrics } = self.moco.loss(local, gathered, at);
        let levels = self.prototypes.in_use(at);
        if levels.is_empty() {
            return Loss { total: instances, metrics };
        }
        let (terms, of_terms) = self.terms.of(local, gathered, at, levels);
        metrics.push(("loss_instances", instances.shallow_clone()));
        metrics.extend(of_terms);
        Loss { total: instances + terms, metrics }
    }

    fn after_step(&mut self, gathered: &Gathered, at: &At) {
        self.moco.after_step(gathered, at);
    }

    fn encoder(&self) -> &Encoder {
        self.moco.encoder()
    }
}
