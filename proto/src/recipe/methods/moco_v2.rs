//! Parameters of MoCo v2 (arXiv 2003.04297; code facebookresearch/moco @ cb10789).

use super::Projector;

/// Parameters of MoCo v2.
#[derive(Clone, Debug, PartialEq)]
pub struct MocoV2 {
    /// Temperature of the logits. Default 0.2 (code, `--moco-t` of v2).
    pub temperature: f64,
    /// Keys in the queue. Default 65,536.
    pub queue_size: u32,
    /// Momentum of the key encoder. Default 0.999.
    pub momentum: f64,
    /// Projector of both branches. Default: one hidden layer of the feature width, 128 out, no BN.
    pub projector: Projector,
}
