//! Parameters of SCE (WACV 2023; code CEA-LIST/SCE @ 07cbe63).

use super::{Predictor, Projector};

/// Parameters of SCE.
#[derive(Clone, Debug, PartialEq)]
pub struct Sce {
    /// Temperature of the online logits. Default 0.1.
    pub temperature: f64,
    /// Temperature of the target relations, below `temperature`. Default 0.07 (0.05 with the CIFAR stem).
    pub target_temperature: f64,
    /// Share of the one-hot target. Default 0.5.
    pub lambda: f64,
    /// Keys in the queue. Default 65,536 (4,096 with the CIFAR stem).
    pub queue_size: u32,
    /// Momentum of the target branch at step 0. Default 0.99.
    pub momentum: f64,
    /// How it moves. Default cosine to one (constant with the CIFAR stem).
    pub momentum_schedule: MomentumSchedule,
    /// Both directions. Default true (false with the CIFAR stem: view 0 is the target).
    pub symmetric: bool,
    /// What the own key is in the target relations. Default masked (paper).
    pub self_mode: SelfMode,
    /// Projector of both branches.
    pub projector: Projector,
    /// Predictor of the online branch.
    pub predictor: Option<Predictor>,
}

/// How the momentum moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentumSchedule {
    /// It does not.
    Constant,
    /// 1 - (1 - m)(cos(pi t / (S - 1)) + 1) / 2 with t the step of S.
    CosineToOne,
}

/// What the own key is in the target relations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfMode {
    /// Excluded (paper).
    Masked,
    /// Logit 0 (released code).
    ZeroLogit,
}
