//! SimSiam: a prediction from one view meets the projection of the other, through which no gradient goes.
//!
//! With z_v the projection of view v and p_v the prediction from it, both of unit length:
//! ```text
//! L = -½ (1/B) Σ_i ( p_0,i·stop(z_1,i) + p_1,i·stop(z_0,i) )
//! ```
//!
//! # Source
//! Chen and He, Exploring Simple Siamese Representation Learning (CVPR 2021), eq. 4; code facebookresearch/simsiam @
//! a7bc177.
//!
//! Shape legend: B local batch, D embedding.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::row_cosines,
    momentum_pair::{Heads, branch},
};
use crate::{
    collective::{Collective, Error},
    nn::{Branch, Encoder, Entry, Pass, Setup, normalize},
};

/// The method with its network.
pub struct Simsiam {
    online: Branch,
}

impl Simsiam {
    /// Builds the branch.
    pub fn new(recipe: &methods::Simsiam, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: Some(&recipe.predictor) };
        Self { online: branch(&heads, spec, images.n_channels, setup) }
    }

    /// p and, without gradient, z of a view.
    fn predict(&self, view_bchw: &Tensor, ranks: &Collective) -> Result<(Tensor, Tensor), Error> {
        let projected_bd = self.online.project(view_bchw, Pass::Train(ranks))?;
        let predicted_bd = self.online.predict(&projected_bd, Pass::Train(ranks))?;
        Ok((normalize(&predicted_bd), normalize(&projected_bd.detach())))
    }
}

/// The negative mean cosine of predictions with the projections of the other view.
pub fn loss(p_bd: [&Tensor; 2], z_bd: [&Tensor; 2]) -> Tensor {
    (row_cosines(p_bd[0], z_bd[1]).mean(None) + row_cosines(p_bd[1], z_bd[0]).mean(None)) / -2.0
}

impl Method for Simsiam {
    fn entries(&self) -> Vec<Entry> {
        self.online.named("online").collect()
    }

    fn embed(&mut self, input: &Input, _at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let views = input.views[..2].iter().map(|view| self.predict(view, ranks));
        let (queries, keys) = views.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Ok(Embeddings { queries, keys })
    }

    fn loss(&self, local: &Embeddings, _gathered: &Gathered, _at: &At) -> Loss {
        let (p, z) = (&local.queries, &local.keys);
        let total = loss([&p[0], &p[1]], [&z[0], &z[1]]);
        let positive_cosine = -&total;
        Loss { total, metrics: vec![("positive_cosine", positive_cosine)] }
    }

    fn encoder(&self) -> &Encoder {
        &self.online.encoder
    }
}
