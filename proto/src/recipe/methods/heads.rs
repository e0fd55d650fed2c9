//! The small networks behind the encoder, and how a teacher follows.

use crate::{recipe::Encoder, scope::Scope, v1};

/// The widest layer that a head may have.
const MAX_DIM: u32 = 65_536;

/// Linear layers with ReLU between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projector {
    /// Widths of the hidden layers; none in a linear head.
    pub hidden_dims: Vec<u32>,
    /// Width of the embedding.
    pub out_dim: u32,
    /// Batch normalisation after hidden layers.
    pub batch_norm: bool,
    /// Batch normalisation after the last layer, without affine parameters.
    pub last_batch_norm: bool,
    /// No layer at all: the embedding is the feature.
    pub identity: bool,
}

impl Projector {
    /// Linear layers without batch normalisation.
    pub(super) fn plain(hidden_dims: Vec<u32>, out_dim: u32) -> Self {
        Self { hidden_dims, out_dim, batch_norm: false, last_batch_norm: false, identity: false }
    }

    /// No layer.
    pub(super) fn identity(encoder: &Encoder) -> Self {
        Self { identity: true, ..Self::plain(Vec::new(), encoder.feature_dim()) }
    }

    /// What is not given is taken from `default`.
    pub(super) fn check(wire: Option<&v1::Projector>, default: Self, encoder: &Encoder, at: &Scope) -> Self {
        let wire = wire.cloned().unwrap_or_default();
        let at = &at.field("projector");
        if wire.identity.unwrap_or(default.identity) {
            if wire != (v1::Projector { identity: wire.identity, ..v1::Projector::default() }) {
                at.violate("identity", "is true although other fields ask for layers: leave it or them out");
            }
            return Self::identity(encoder);
        }
        if wire.hidden_dims.len() > 8 {
            at.violate("hidden_dims", format!("must hold at most 8 widths, not {}", wire.hidden_dims.len()));
        }
        let width = |&dim: &u32| {
            let given = (dim > 0).then_some(dim);
            at.number("hidden_dims", given, encoder.feature_dim(), 1..=MAX_DIM)
        };
        let hidden_dims: Vec<_> = wire.hidden_dims.iter().take(8).map(width).collect();
        let is_linear = wire.linear.unwrap_or(hidden_dims.is_empty() && default.hidden_dims.is_empty());
        if is_linear && !hidden_dims.is_empty() {
            at.violate("linear", "is true although `hidden_dims` names layers: leave one of the two out");
        }
        Self {
            hidden_dims: match (is_linear, hidden_dims.is_empty()) {
                (true, _) => Vec::new(),
                (false, true) if default.hidden_dims.is_empty() => vec![encoder.feature_dim()],
                (false, true) => default.hidden_dims,
                (false, false) => hidden_dims,
            },
            out_dim: at.number("out_dim", wire.out_dim, default.out_dim, 1..=MAX_DIM),
            batch_norm: wire.batch_norm.unwrap_or(default.batch_norm),
            last_batch_norm: wire.last_batch_norm.unwrap_or(default.last_batch_norm),
            identity: false,
        }
    }

    pub(super) fn to_wire(&self) -> v1::Projector {
        if self.identity {
            return v1::Projector { identity: Some(true), ..v1::Projector::default() };
        }
        v1::Projector {
            hidden_dims: self.hidden_dims.clone(),
            out_dim: Some(self.out_dim),
            batch_norm: Some(self.batch_norm),
            last_batch_norm: Some(self.last_batch_norm),
            linear: Some(self.hidden_dims.is_empty()),
            identity: Some(false),
        }
    }
}

/// Linear, BN, ReLU, linear; online branch only. Keeps the embedding's width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predictor {
    /// Width of the hidden layer.
    pub hidden_dim: u32,
    /// Whether the last layer has a bias.
    pub last_bias: bool,
}

impl Predictor {
    /// A width of 0 asks for no predictor; without a message the default holds.
    pub(super) fn check(wire: Option<&v1::Predictor>, default: Option<u32>, at: &Scope) -> Option<Self> {
        let wire = wire.copied().unwrap_or_default();
        let hidden_dim = wire.hidden_dim.or(default).unwrap_or(0);
        at.field("predictor").within("hidden_dim", hidden_dim, 0..=MAX_DIM);
        (hidden_dim > 0).then_some(Self { hidden_dim, last_bias: wire.last_bias.unwrap_or(false) })
    }

    /// For methods that collapse without one.
    pub(super) fn check_required(wire: Option<&v1::Predictor>, default: Self, at: &Scope) -> Self {
        let wire = wire.copied().unwrap_or_default();
        let at = &at.field("predictor");
        Self {
            hidden_dim: at.number("hidden_dim", wire.hidden_dim, default.hidden_dim, 1..=MAX_DIM),
            last_bias: wire.last_bias.unwrap_or(default.last_bias),
        }
    }

    pub(super) fn to_wire(predictor: Option<&Self>) -> v1::Predictor {
        v1::Predictor {
            hidden_dim: Some(predictor.map_or(0, |predictor| predictor.hidden_dim)),
            last_bias: predictor.map(|predictor| predictor.last_bias),
        }
    }
}

/// How the momentum of a teacher moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentumSchedule {
    /// It does not.
    Constant,
    /// 1 - (1 - m)(cos(pi t / (S - 1)) + 1) / 2 with t the step of S (SCE; code).
    CosineToOne,
    /// 1 - (1 - m)(cos(pi t / S) + 1) / 2: 1 would come after the last step (BYOL; MoCo v3, code).
    CosineTowardsOne,
}

impl MomentumSchedule {
    pub(super) fn check(number: i32, default: Self, at: &Scope) -> Self {
        match at.known("momentum_schedule", number).unwrap_or_default() {
            v1::MomentumSchedule::Constant => Self::Constant,
            v1::MomentumSchedule::CosineToOne => Self::CosineToOne,
            v1::MomentumSchedule::CosineTowardsOne => Self::CosineTowardsOne,
            v1::MomentumSchedule::Unspecified => default,
        }
    }

    pub(super) fn to_wire(self) -> v1::MomentumSchedule {
        match self {
            Self::Constant => v1::MomentumSchedule::Constant,
            Self::CosineToOne => v1::MomentumSchedule::CosineToOne,
            Self::CosineTowardsOne => v1::MomentumSchedule::CosineTowardsOne,
        }
    }
}
