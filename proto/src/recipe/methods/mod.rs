//! One checked parameter struct per method.

mod moco_v2;
mod sce;

pub use moco_v2::MocoV2;
pub use sce::{MomentumSchedule, Sce, SelfMode};

/// The objective and its networks.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// MoCo v2.
    MocoV2(MocoV2),
    /// SCE.
    Sce(Sce),
}

/// Linear layers with ReLU between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projector {
    /// Widths of the hidden layers.
    pub hidden_dims: Vec<u32>,
    /// Width of the embedding.
    pub out_dim: u32,
    /// Batch normalisation after hidden layers.
    pub batch_norm: bool,
    /// Batch normalisation after the last layer, without affine parameters.
    pub last_batch_norm: bool,
}

/// Linear, BN, ReLU, linear; online branch only. Keeps the embedding's width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predictor {
    /// Width of the hidden layer.
    pub hidden_dim: u32,
}
