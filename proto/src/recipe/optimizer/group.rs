//! Parameters with settings of their own.

use crate::{
    scope::{Scope, positive_to},
    v1,
};

/// More groups than any method has networks.
const MAX_GROUPS: usize = 16;

/// Settings of the parameters whose names begin alike.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterGroup {
    /// How the names begin, with the branch and the network first: `online.predictor.`
    pub prefix: String,
    /// Factor of the learning rate. Default 1.
    pub lr_scale: f64,
    /// Weight decay. Default: that of the rule.
    pub weight_decay: Option<f64>,
    /// Whether the rate stays at the peak, whatever the schedule says. Default false.
    pub constant_lr: bool,
}

impl ParameterGroup {
    /// What is given replaces what is published.
    pub(super) fn check_all(given: &[v1::ParameterGroup], published: &[Self], at: &Scope) -> Vec<Self> {
        if given.is_empty() {
            return published.to_vec();
        }
        if given.len() > MAX_GROUPS {
            at.violate("groups", format!("must hold at most {MAX_GROUPS} groups, not {}", given.len()));
        }
        let given = given.iter().take(MAX_GROUPS).enumerate();
        given.map(|(idx, wire)| Self::check(wire, &at.item("groups", idx))).collect()
    }

    fn check(wire: &v1::ParameterGroup, at: &Scope) -> Self {
        if wire.prefix.is_empty() || wire.prefix.len() > 256 {
            at.violate("prefix", "must be 1 to 256 bytes that names begin with, as `online.predictor.`");
        }
        Self {
            prefix: wire.prefix.clone(),
            lr_scale: at.number("lr_scale", wire.lr_scale, 1.0, positive_to(1e4)),
            weight_decay: at.optional("weight_decay", wire.weight_decay, 0.0..=1.0),
            constant_lr: wire.constant_lr.unwrap_or(false),
        }
    }

    pub(super) fn to_wire(&self) -> v1::ParameterGroup {
        v1::ParameterGroup {
            prefix: self.prefix.clone(),
            lr_scale: Some(self.lr_scale),
            weight_decay: self.weight_decay,
            constant_lr: Some(self.constant_lr),
        }
    }
}
