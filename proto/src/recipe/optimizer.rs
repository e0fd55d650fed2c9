//! How gradients become steps, and how fast.

use super::methods::Published;
use crate::{scope::Scope, v1};

mod group;
mod rule;

pub use group::ParameterGroup;
pub(super) use rule::RuleKind;
pub use rule::{AdamW, Lars, Rule, Sgd};

/// How gradients become steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    /// The rule of all parameters. Default: that of the method's source.
    pub rule: Rule,
    /// Whether parameters of one dimension (biases; scales and shifts of normalisation) go without weight decay, and
    /// without the trust ratio of LARS. Default: as the method's source; with a rule that is not the source's, true for
    /// LARS (MoCo v3, SCE; code) and false for the others (PyTorch).
    pub exclude_1d: bool,
    /// Settings for some of the parameters; the first group that fits a parameter takes it. Default: those of the
    /// method's source.
    pub groups: Vec<ParameterGroup>,
}

impl Optimizer {
    /// Peak learning rate of the global batch.
    pub fn lr(&self) -> f64 {
        match &self.rule {
            Rule::Sgd(sgd) => sgd.lr,
            Rule::Lars(lars) => lars.lr,
            Rule::AdamW(adamw) => adamw.lr,
        }
    }

    pub(super) fn check(
        wire: Option<&v1::Optimizer>,
        published: &Published,
        global_batch: u32,
        at: &Scope,
    ) -> Self {
        let wire = wire.cloned().unwrap_or_default();
        let kind = wire.kind.as_ref().map_or(published.rule, RuleKind::of);
        let pace = kind.pace(published, global_batch);
        Self {
            rule: Rule::check(wire.kind, kind, &pace, at),
            exclude_1d: wire.exclude_1d.unwrap_or(pace.exclude_1d),
            groups: ParameterGroup::check_all(&wire.groups, &published.groups, at),
        }
    }

    pub(super) fn to_wire(&self) -> v1::Optimizer {
        v1::Optimizer {
            kind: Some(self.rule.to_wire()),
            exclude_1d: Some(self.exclude_1d),
            groups: self.groups.iter().map(ParameterGroup::to_wire).collect(),
        }
    }
}
