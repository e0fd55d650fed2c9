//! Parameters of InsDis (Wu et al., CVPR 2018), as in HobbitLong/PyContrast @ 84f94ea.
//!
//! With the CIFAR stem the number of negatives is the paper's.

use super::{Parameters, Projector, Published};
use crate::{
    recipe::{Decay, Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1::{self, insdis},
};

/// Parameters of InsDis.
#[derive(Clone, Debug, PartialEq)]
pub struct Insdis {
    /// Temperature of the logits. Default 0.07 (code).
    pub temperature: f64,
    /// Rows of the bank that an image is told from. Default 65,536 (code; 4,096 with the CIFAR stem, paper).
    pub n_negatives: u32,
    /// Share of a bank's row that stays when its image is seen again. Default 0.5 (code).
    pub bank_momentum: f64,
    /// The objective. Default softmax (code).
    pub form: InsdisForm,
    /// Projector. Default linear, 128 out (code).
    pub projector: Projector,
}

impl Parameters for Insdis {
    type Wire = v1::Insdis;

    fn check(wire: &v1::Insdis, encoder: &Encoder, at: &Scope) -> Self {
        let n_negatives = if encoder.stem() == Stem::Cifar { 4_096 } else { 65_536 };
        let projector = Projector::plain(Vec::new(), 128);
        Self {
            temperature: at.number("temperature", wire.temperature, 0.07, positive_to(100.0)),
            n_negatives: at.number("n_negatives", wire.n_negatives, n_negatives, 1..=1 << 24),
            bank_momentum: at.number("bank_momentum", wire.bank_momentum, 0.5, 0.0..=1.0),
            form: InsdisForm::check(wire.form, at),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
        }
    }

    fn published(&self, _stem: Stem) -> Published {
        Published { decay: Decay::Steps { milestones: vec![120, 160], factor: 0.1 }, ..Published::MOCO }
    }

    /// One view; with a bank crops begin at 0.08 of the area (code).
    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        let mut view = View::moco_v1(size);
        view.crop.scale_min = 0.08;
        vec![view]
    }

    fn to_wire(&self) -> v1::Insdis {
        v1::Insdis {
            temperature: Some(self.temperature),
            n_negatives: Some(self.n_negatives),
            bank_momentum: Some(self.bank_momentum),
            form: self.form.to_wire().into(),
            projector: Some(self.projector.to_wire()),
        }
    }
}

/// The objective of InsDis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsdisForm {
    /// Cross-entropy over own row and negatives.
    Softmax,
    /// Noise-contrastive estimation.
    Nce,
}

impl InsdisForm {
    fn check(number: i32, at: &Scope) -> Self {
        match at.known("form", number).unwrap_or_default() {
            insdis::Form::Softmax | insdis::Form::Unspecified => Self::Softmax,
            insdis::Form::Nce => Self::Nce,
        }
    }

    fn to_wire(self) -> insdis::Form {
        match self {
            Self::Softmax => insdis::Form::Softmax,
            Self::Nce => insdis::Form::Nce,
        }
    }
}
