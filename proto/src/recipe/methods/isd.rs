//! Parameters of ISD (ICCV 2021; code UMBCvision/ISD @ 4bdd603).
//!
//! No configuration for small images was published: with the CIFAR stem queue and weight decay are those of MoCo v2.

use super::{Parameters, Predictor, Projector, Published, QueueUse};
use crate::{
    recipe::{Decay, Encoder, Stem, View},
    scope::{Scope, positive_to},
    v1::{self, isd},
};

/// Parameters of ISD.
#[derive(Clone, Debug, PartialEq)]
pub struct Isd {
    /// Which of the two published recipes the defaults are of. Default plus.
    pub form: Form,
    /// Temperature of the student. Default 0.1 (plain: 0.02; code).
    pub temperature: f64,
    /// Temperature of the teacher. Default 0.01 (plain: 0.02; code).
    pub target_temperature: f64,
    /// Keys in the queue. Default 128,000 (code; 4,096 with the CIFAR stem).
    pub queue_size: u32,
    /// Momentum of the teacher. Default 0.99 (plain: 0.999; code).
    pub momentum: f64,
    /// Projector of both branches. Default: one hidden layer of twice the feature width with BN, a quarter of that width
    /// out (plain: none; code).
    pub projector: Projector,
    /// Predictor of the student. Default: one of twice the feature width (plain: of that width; code).
    pub predictor: Predictor,
}

impl Parameters for Isd {
    type Wire = v1::Isd;

    fn check(wire: &v1::Isd, encoder: &Encoder, at: &Scope) -> Self {
        let form = Form::check(wire.form, at);
        let width = encoder.feature_dim();
        let (temperature, target_temperature, momentum, projector, hidden_dim) = match form {
            Form::Plus => {
                let layers = Projector::plain(vec![2 * width], width.div_ceil(4));
                (0.1, 0.01, 0.99, Projector { batch_norm: true, ..layers }, 2 * width)
            }
            Form::Plain => (0.02, 0.02, 0.999, Projector::identity(encoder), width),
        };
        let queue_size = if encoder.stem() == Stem::Cifar { 4_096 } else { 128_000 };
        let predictor = Predictor { hidden_dim, last_bias: true };
        Self {
            form,
            temperature: at.number("temperature", wire.temperature, temperature, positive_to(100.0)),
            target_temperature: at.number(
                "target_temperature",
                wire.target_temperature,
                target_temperature,
                positive_to(100.0),
            ),
            queue_size: at.number("queue_size", wire.queue_size, queue_size, 1..=1 << 24),
            momentum: at.number("momentum", wire.momentum, momentum, 0.0..=1.0),
            projector: Projector::check(wire.projector.as_ref(), projector, encoder, at),
            predictor: Predictor::check_required(wire.predictor.as_ref(), predictor, at),
        }
    }

    fn published(&self, stem: Stem) -> Published {
        let (lr_per_256, decay) = match self.form {
            Form::Plus => (0.05, Decay::COSINE_PER_EPOCH),
            Form::Plain => (0.01, Decay::Steps { milestones: vec![140, 180], factor: 0.2 }),
        };
        let weight_decay = if stem == Stem::Cifar { 5e-4 } else { 1e-4 };
        Published { lr_per_256, decay, weight_decay, ..Published::MOCO }
    }

    /// A weak view for the teacher, then MoCo v2's for the student; in the plain form MoCo v2's for both.
    fn published_views(&self, _stem: Stem, size: u32) -> Vec<View> {
        let strong = View::moco_v2(size);
        let teacher = if self.form == Form::Plus { View::weak(size) } else { strong.clone() };
        vec![teacher, strong]
    }

    fn queue(&self) -> Option<QueueUse> {
        Some(QueueUse { size: self.queue_size, keys_per_image: 1 })
    }

    fn to_wire(&self) -> v1::Isd {
        v1::Isd {
            form: self.form.to_wire().into(),
            temperature: Some(self.temperature),
            target_temperature: Some(self.target_temperature),
            queue_size: Some(self.queue_size),
            momentum: Some(self.momentum),
            projector: Some(self.projector.to_wire()),
            predictor: Some(Predictor::to_wire(Some(&self.predictor))),
        }
    }
}

/// Which of the two published recipes the defaults are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `train_isd_plus.py`: ResNet-50.
    Plus,
    /// `train_isd.py`: ResNet-18, no projector.
    Plain,
}

impl Form {
    fn check(number: i32, at: &Scope) -> Self {
        match at.known("form", number).unwrap_or_default() {
            isd::Form::Plus | isd::Form::Unspecified => Self::Plus,
            isd::Form::Plain => Self::Plain,
        }
    }

    fn to_wire(self) -> isd::Form {
        match self {
            Self::Plus => isd::Form::Plus,
            Self::Plain => isd::Form::Plain,
        }
    }
}
