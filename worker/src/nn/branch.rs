//! A branch of a two-branch method, and the moving average that ties one branch to the other.

use kindred_bridge::foreach_lerp;
use tch::{Kind, Tensor};

use super::{
    builder::{Entry, Role},
    head::Head,
    resnet::ResNet,
};

/// Encoder, projector and, on some online branches, predictor.
pub struct Branch {
    /// The network that is kept.
    pub encoder: ResNet,
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
    pub fn embed(&self, images_bchw: &Tensor) -> Tensor {
        let z_bd = self.projector.forward(&self.encoder.features(images_bchw, true), true);
        match &self.predictor {
            Some(predictor) => normalize(&predictor.forward(&z_bd, true)),
            None => normalize(&z_bd),
        }
    }

    /// All tensors by name, in a fixed order.
    pub fn named(&self) -> impl Iterator<Item = (String, &Entry)> {
        let predictor = self.predictor.as_ref().map_or(&[][..], Head::entries);
        [
            ("encoder", self.encoder.entries()),
            ("projector", self.projector.entries()),
            ("predictor", predictor),
        ]
        .into_iter()
        .flat_map(|(part, entries)| {
            entries.iter().map(move |entry| (format!("{part}.{}", entry.name), entry))
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
        let (mut targets, mut sources) = (Vec::new(), Vec::new());
        for ((name, target), (online_name, source)) in target.named().zip(online.named()) {
            debug_assert_eq!(name, online_name, "the predictor comes last");
            if target.role != Role::Buffer {
                targets.push(target.tensor.shallow_clone());
                sources.push(source.tensor.shallow_clone());
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
