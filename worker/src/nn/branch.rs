//! A branch of a two-branch method, and the moving average that ties one branch to the other.

use kindred_bridge::foreach_lerp;
use tch::{Kind, Tensor};

use super::{
    builder::{Entry, Role},
    encoder::Encoder,
    head::Head,
    pass::Pass,
};
use crate::collective::Error;

/// Encoder, projector and, on some online branches, predictor.
pub struct Branch {
    /// The network that is kept.
    pub encoder: Encoder,
    /// From features to embeddings.
    pub projector: Head,
    /// From embeddings to embeddings.
    pub predictor: Option<Head>,
}

impl Branch {
    /// Embeddings of unit length, in f32 or f64.
    ///
    /// # Shapes
    /// `[B, C, H, W]` to `[B, D]`.
    ///
    /// # Errors
    /// When statistics are synchronised and a peer is lost.
    pub fn embed(&self, images_bchw: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        Ok(normalize(&self.predict(&self.project(images_bchw, pass)?, pass)?))
    }

    /// What the projector makes of images, not normalised.
    ///
    /// # Errors
    /// When statistics are synchronised and a peer is lost.
    pub fn project(&self, images_bchw: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        self.projector.forward(&self.encoder.features(images_bchw, pass)?, pass)
    }

    /// What the predictor makes of projections; without one they stay as they are.
    ///
    /// # Errors
    /// When statistics are synchronised and a peer is lost.
    pub fn predict(&self, projected_bd: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        match &self.predictor {
            Some(predictor) => predictor.forward(projected_bd, pass),
            None => Ok(projected_bd.shallow_clone()),
        }
    }

    /// All tensors in a fixed order, named `prefix.part.name`.
    pub fn named(&self, prefix: &'static str) -> impl Iterator<Item = Entry> {
        let predictor = self.predictor.as_ref().map_or(&[][..], Head::entries);
        let parts = [
            ("encoder", self.encoder.entries()),
            ("projector", self.projector.entries()),
            ("predictor", predictor),
        ];
        parts.into_iter().flat_map(move |(part, entries)| {
            entries.iter().map(move |entry| entry.prefixed(&format!("{prefix}.{part}")))
        })
    }
}

/// Rows of unit length; reduced precision is raised to f32 first. A row of zeros stays one.
pub fn normalize(x_bd: &Tensor) -> Tensor {
    let x_bd = if x_bd.kind() == Kind::Double { x_bd.shallow_clone() } else { x_bd.to_kind(Kind::Float) };
    let norm_b1 = x_bd.norm_scalaropt_dim(2, [1], true).clamp_min(1e-12);
    x_bd / norm_b1
}

/// Moves the parameters of one branch after those of another; buffers are each branch's own.
pub struct Momentum {
    targets: Vec<Tensor>,
    sources: Vec<Tensor>,
}

impl Momentum {
    /// Pairs the parameters by name; what only the online branch has is left out.
    pub fn new(online: &Branch, target: &Branch) -> Self {
        Self::between(online.named(""), target.named(""))
    }

    /// Pairs parameters in order; of the online ones there may be more.
    pub fn between(online: impl Iterator<Item = Entry>, target: impl Iterator<Item = Entry>) -> Self {
        let (mut targets, mut sources) = (Vec::new(), Vec::new());
        for (target, source) in target.zip(online) {
            debug_assert_eq!(target.name, source.name, "the predictor comes last");
            if target.role != Role::Buffer {
                targets.push(target.tensor);
                sources.push(source.tensor);
            }
        }
        Self { targets, sources }
    }

    /// `target = m target + (1 - m) online`.
    pub fn update(&self, m: f64) {
        foreach_lerp(&self.targets, &self.sources, 1.0 - m)
            .expect("paired parameters have one shape and kind");
    }
}
