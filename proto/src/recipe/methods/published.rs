//! What a method's source trains with beside its own parameters: the defaults of the rest of the recipe.

use crate::recipe::{Decay, ParameterGroup, WarmupForm, optimizer::RuleKind};

/// The defaults of the rest of the recipe. A method writes what differs from [`Published::MOCO`].
#[derive(Clone, Debug, PartialEq)]
pub(in crate::recipe) struct Published {
    pub epochs: u32,
    pub global_batch: u32,
    /// The rule that the next three belong to.
    pub rule: RuleKind,
    /// Peak learning rate per 256 images of the global batch.
    pub lr_per_256: f64,
    pub weight_decay: f64,
    /// Whether parameters of one dimension go without decay and trust ratio.
    pub exclude_1d: bool,
    /// Whatever the rule is.
    pub groups: Vec<ParameterGroup>,
    pub warmup_epochs: f64,
    pub warmup_form: WarmupForm,
    /// Milestones are those of a training of `epochs`.
    pub decay: Decay,
}

impl Published {
    /// MoCo v2 on ImageNet (code facebookresearch/moco @ cb10789).
    pub const MOCO: Self = Self {
        epochs: 200,
        global_batch: 256,
        rule: RuleKind::Sgd,
        lr_per_256: 0.03,
        weight_decay: 1e-4,
        exclude_1d: false,
        groups: Vec::new(),
        warmup_epochs: 0.0,
        warmup_form: WarmupForm::ToDecay,
        decay: Decay::COSINE_PER_EPOCH,
    };

    /// The decay of a training of so many epochs: milestones keep their share of it.
    pub fn decay_over(&self, epochs: u32) -> Decay {
        let Decay::Steps { milestones, factor } = &self.decay else { return self.decay.clone() };
        let in_proportion = |&milestone: &u32| {
            let scaled = f64::from(milestone) * f64::from(epochs) / f64::from(self.epochs);
            (scaled.round() as u32).max(1)
        };
        let mut milestones: Vec<u32> = milestones.iter().map(in_proportion).collect();
        milestones.dedup();
        Decay::Steps { milestones, factor: *factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_keep_their_share_of_the_epochs() {
        let decay = Decay::Steps { milestones: vec![120, 160], factor: 0.1 };
        let published = Published { decay, ..Published::MOCO };
        let milestones = |epochs| match published.decay_over(epochs) {
            Decay::Steps { milestones, .. } => milestones,
            other => panic!("not steps but {other:?}"),
        };
        assert_eq!(milestones(200), [120, 160]);
        assert_eq!(milestones(20), [12, 16]);
        assert_eq!(milestones(1), [1]);
    }
}
