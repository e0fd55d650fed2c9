//! What is measured beside the loss.

use super::DataSource;
use crate::{
    scope::{Scope, positive_to},
    v1,
};

/// What is measured beside the loss. `None`: not at all. Default: both, where there are labelled test images.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Weighted cosine kNN.
    pub knn: Option<Knn>,
    /// Linear probe at the end.
    pub linear: Option<LinearProbe>,
}

impl Evaluation {
    pub(super) fn check(wire: Option<v1::Evaluation>, data: &DataSource, at: &Scope) -> Self {
        let wire = wire.unwrap_or_default();
        let (knn, linear) = (wire.knn.unwrap_or_default(), wire.linear.unwrap_or_default());
        let (knn_at, linear_at) = (at.field("knn"), at.field("linear"));
        Self {
            knn: is_enabled(knn.enabled, data, &knn_at).then(|| Knn::check(&knn, data, &knn_at)),
            linear: is_enabled(linear.enabled, data, &linear_at)
                .then(|| LinearProbe::check(&linear, &linear_at)),
        }
    }

    pub(super) fn to_wire(&self) -> v1::Evaluation {
        let no_knn = v1::Knn { enabled: Some(false), ..Default::default() };
        let no_linear = v1::LinearProbe { enabled: Some(false), ..Default::default() };
        v1::Evaluation {
            knn: Some(self.knn.as_ref().map_or(no_knn, Knn::to_wire)),
            linear: Some(self.linear.as_ref().map_or(no_linear, LinearProbe::to_wire)),
        }
    }
}

fn is_enabled(given: Option<bool>, data: &DataSource, at: &Scope) -> bool {
    if given == Some(true) && !data.has_test() {
        at.violate(
            "enabled",
            "needs labelled test images: give `recipe.data.image_folder.test`, or leave it out",
        );
    }
    given.unwrap_or(data.has_test())
}

/// Weighted cosine kNN on the encoder's features: a neighbour votes with exp(cosine / temperature).
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    /// Neighbours. Default 20.
    pub k: u32,
    /// Temperature. Default 0.07.
    pub temperature: f64,
    /// Epochs between two measurements. Default 1.
    pub every_epochs: u32,
    /// Images of the training set that serve as bank while training. Default: all.
    pub bank_limit: Option<u64>,
}

impl Knn {
    fn check(wire: &v1::Knn, data: &DataSource, at: &Scope) -> Self {
        let k = at.number("k", wire.k, 20, 1..=10_000);
        let smallest_bank = wire.bank_limit.into_iter().chain(data.limit).min();
        if let Some(n_images) = smallest_bank.filter(|&n_images| n_images < k.into()) {
            at.violate("k", format!("must be at most {n_images}, the images of the bank, not {k}"));
        }
        Self {
            k,
            temperature: at.number("temperature", wire.temperature, 0.07, positive_to(100.0)),
            every_epochs: at.number("every_epochs", wire.every_epochs, 1, 1..),
            bank_limit: at.optional("bank_limit", wire.bank_limit, 1..),
        }
    }

    fn to_wire(&self) -> v1::Knn {
        v1::Knn {
            enabled: Some(true),
            k: Some(self.k),
            temperature: Some(self.temperature),
            every_epochs: Some(self.every_epochs),
            bank_limit: self.bank_limit,
        }
    }
}

/// Logistic regression on frozen, standardised features.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbe {
    /// Iterations of L-BFGS. Default 100 (scikit-learn's LogisticRegression).
    pub max_iterations: u32,
    /// Weight of the squared norm of the weights. Default 1e-4.
    pub l2: f64,
}

impl LinearProbe {
    fn check(wire: &v1::LinearProbe, at: &Scope) -> Self {
        Self {
            max_iterations: at.number("max_iterations", wire.max_iterations, 100, 1..=100_000),
            l2: at.number("l2", wire.l2, 1e-4, 0.0..=1e6),
        }
    }

    fn to_wire(&self) -> v1::LinearProbe {
        v1::LinearProbe { enabled: Some(true), max_iterations: Some(self.max_iterations), l2: Some(self.l2) }
    }
}
