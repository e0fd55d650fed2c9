//! Single measurements of a finished encoder.

use super::{super::DataSource, LinearProbe, Neighbours, Vote};
use crate::{
    scope::Scope,
    v1::{self, measurement::Kind},
};

/// One measurement of a finished encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Begins the names of its figures. Default: its kind and what tells it from others.
    pub name: String,
    /// What is measured.
    pub kind: MeasurementKind,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum MeasurementKind {
    /// Cosine kNN.
    Knn(Neighbours),
    /// A linear classifier on frozen features.
    Linear(LinearProbe),
    /// Share of the nearest training images that are of the query's class.
    Purity {
        /// Neighbours. Default 5 (ISD's log of its anchors).
        k: u32,
    },
    /// How far images are from their prototypes.
    PrototypeVariance(PrototypeVariance),
}

/// How far training images are from their k-means prototypes.
#[derive(Clone, Debug, PartialEq)]
pub struct PrototypeVariance {
    /// Prototypes. Default 100 (ours: no source measures it).
    pub prototypes: u32,
    /// Iterations of a k-means run. Default 20 (PCL).
    pub max_iterations: u32,
    /// k-means runs, of which the best counts. Default 5 (PCL).
    pub starts: u32,
}

impl Measurement {
    /// `None`, with a violation, where it says nothing.
    pub(super) fn check(wire: &v1::Measurement, data: &DataSource, at: &Scope) -> Option<Self> {
        let Some(kind) = &wire.kind else {
            at.refuse("measures nothing: give one of knn, linear, purity, prototype_variance");
            return None;
        };
        let kind = MeasurementKind::check(kind, data, at);
        let name = if wire.name.is_empty() { kind.default_name() } else { check_name(&wire.name, at) };
        Some(Self { name, kind })
    }

    pub(super) fn to_wire(&self) -> v1::Measurement {
        v1::Measurement { name: self.name.clone(), kind: Some(self.kind.to_wire()) }
    }
}

fn check_name(given: &str, at: &Scope) -> String {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if given.len() > 63 || !given.bytes().all(is_letter) {
        let shown: String = given.chars().take(64).collect();
        at.violate(
            "name",
            format!("must be 1 to 63 lower-case letters, digits and underscores, not {shown:?}"),
        );
    }
    if ["knn", "linear"].contains(&given) {
        at.violate("name", format!("is taken by the protocol `{given}`: choose another"));
    }
    given.to_owned()
}

impl MeasurementKind {
    fn check(wire: &Kind, data: &DataSource, at: &Scope) -> Self {
        match wire {
            Kind::Knn(wire) => Self::Knn(Neighbours::check_measurement(wire, data, &at.field("knn"))),
            Kind::Linear(wire) => {
                let at = at.field("linear");
                if wire.enabled == Some(false) {
                    at.violate("enabled", "has no meaning here: leave the measurement out");
                }
                Self::Linear(LinearProbe::check(wire, &at))
            }
            Kind::Purity(wire) => Self::Purity { k: at.field("purity").number("k", wire.k, 5, 1..=10_000) },
            Kind::PrototypeVariance(wire) => {
                Self::PrototypeVariance(PrototypeVariance::check(wire, &at.field("prototype_variance")))
            }
        }
    }

    fn to_wire(&self) -> Kind {
        match self {
            Self::Knn(neighbours) => Kind::Knn(neighbours.to_wire()),
            Self::Linear(probe) => Kind::Linear(probe.to_wire()),
            Self::Purity { k } => Kind::Purity(v1::Purity { k: Some(*k) }),
            Self::PrototypeVariance(variance) => Kind::PrototypeVariance(variance.to_wire()),
        }
    }

    fn default_name(&self) -> String {
        match self {
            Self::Knn(Neighbours { k, vote, bank_per_class, .. }) => {
                let vote = if *vote == Vote::Majority { "_majority" } else { "" };
                let bank = if bank_per_class.is_some() { "_balanced" } else { "" };
                format!("knn{vote}{bank}_{k}")
            }
            Self::Linear(probe) => {
                let percent =
                    |share: f64| format!("_{}_percent", (share * 1e6).round() / 1e4).replace('.', "_");
                let share = probe.labelled_share.map(percent).unwrap_or_default();
                format!("linear_{}{share}", probe.preset.name())
            }
            Self::Purity { k } => format!("purity_{k}"),
            Self::PrototypeVariance(variance) => format!("prototype_variance_{}", variance.prototypes),
        }
    }
}

impl PrototypeVariance {
    fn check(wire: &v1::PrototypeVariance, at: &Scope) -> Self {
        Self {
            prototypes: at.number("prototypes", wire.prototypes, 100, 1..=1_000_000),
            max_iterations: at.number("max_iterations", wire.max_iterations, 20, 1..=10_000),
            starts: at.number("starts", wire.starts, 5, 1..=1_000),
        }
    }

    fn to_wire(&self) -> v1::PrototypeVariance {
        v1::PrototypeVariance {
            prototypes: Some(self.prototypes),
            max_iterations: Some(self.max_iterations),
            starts: Some(self.starts),
        }
    }
}
