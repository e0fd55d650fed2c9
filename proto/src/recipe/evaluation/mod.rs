//! What is measured of an encoder.

use super::DataSource;
use crate::{scope::Scope, v1};

mod knn;
mod linear;
mod measurement;
mod preset;

pub use knn::{Knn, Neighbours, Vote};
pub use linear::{Decay, Descent, Lbfgs, LinearProbe, Rule, Scaling, Solver};
pub use measurement::{Measurement, MeasurementKind, PrototypeVariance};
pub use preset::Preset;

/// What is measured of an encoder's features. `None`: not at all. Default: kNN and linear probe, where there are labelled test
/// images.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Cosine kNN, while training and at the end.
    pub knn: Option<Knn>,
    /// Linear probe at the end.
    pub linear: Option<LinearProbe>,
    /// Further measurements at the end. Default: none.
    pub further: Vec<Measurement>,
}

impl Evaluation {
    pub(crate) fn check(wire: Option<&v1::Evaluation>, data: &DataSource, at: &Scope) -> Self {
        let wire = wire.cloned().unwrap_or_default();
        let (knn, linear) = (wire.knn.unwrap_or_default(), wire.linear.unwrap_or_default());
        let (knn_at, linear_at) = (at.field("knn"), at.field("linear"));
        Self {
            knn: is_enabled(knn.enabled, data, &knn_at).then(|| Knn::check(&knn, data, &knn_at)),
            linear: is_enabled(linear.enabled, data, &linear_at)
                .then(|| LinearProbe::check(&linear, &linear_at)),
            further: check_further(&wire.further, data, at),
        }
    }

    pub(crate) fn to_wire(&self) -> v1::Evaluation {
        let no_knn = v1::Knn { enabled: Some(false), ..Default::default() };
        let no_linear = v1::LinearProbe { enabled: Some(false), ..Default::default() };
        v1::Evaluation {
            knn: Some(self.knn.as_ref().map_or(no_knn, Knn::to_wire)),
            linear: Some(self.linear.as_ref().map_or(no_linear, LinearProbe::to_wire)),
            further: self.further.iter().map(Measurement::to_wire).collect(),
        }
    }

    /// Whether there is nothing to measure.
    pub fn is_empty(&self) -> bool {
        self.knn.is_none() && self.linear.is_none() && self.further.is_empty()
    }
}

fn is_enabled(given: Option<bool>, data: &DataSource, at: &Scope) -> bool {
    if given == Some(true) && !data.has_test() {
        at.violate("enabled", NEEDS_TEST);
    }
    given.unwrap_or(data.has_test())
}

const NEEDS_TEST: &str =
    "needs labelled images: give `data.image_folder.test` (of STL-10 the labelled part), or leave it out";

fn check_further(wire: &[v1::Measurement], data: &DataSource, at: &Scope) -> Vec<Measurement> {
    if !wire.is_empty() && !data.has_test() {
        at.violate("further", NEEDS_TEST);
    }
    let mut further: Vec<Measurement> = Vec::with_capacity(wire.len());
    for (idx, wire) in wire.iter().enumerate() {
        let at = at.item("further", idx);
        let Some(measurement) = Measurement::check(wire, data, &at) else { continue };
        if further.iter().any(|other| other.name == measurement.name) {
            at.refuse(format!("is a second {}: give one of them another `name`", measurement.name));
        }
        further.push(measurement);
    }
    further
}
