//! How prototypes are found: what PCL and PAUC-R share.

use crate::{
    recipe::{Encoder, Stem},
    scope::Scope,
    v1,
};

/// How prototypes are found among the features of all training images, anew before each epoch.
///
/// # Source
/// Code salesforce/PCL @ 964da1f.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clustering {
    /// Prototypes of each granularity. Default 25,000, 50,000 and 100,000 (code); with the CIFAR stem 250, 500 and 1,000
    /// (ours).
    pub n_prototypes: Vec<u32>,
    /// Epochs before prototypes take part. Default 20 (code).
    pub warmup_epochs: u32,
    /// Iterations of a start of k-means, at most. Default 20 (code).
    pub n_iterations: u32,
    /// Starts of k-means, of which the best counts. Default 5 (code).
    pub n_starts: u32,
}

impl Clustering {
    pub(super) fn check(wire: Option<&v1::Clustering>, encoder: &Encoder, at: &Scope) -> Self {
        let wire = wire.cloned().unwrap_or_default();
        let at = &at.field("clustering");
        let default = match encoder.stem() {
            Stem::Cifar => vec![250, 500, 1_000],
            Stem::ImageNet => vec![25_000, 50_000, 100_000],
        };
        if wire.n_prototypes.len() > 8 {
            let n_given = wire.n_prototypes.len();
            at.violate("n_prototypes", format!("must hold at most 8 granularities, not {n_given}"));
        }
        let given = wire.n_prototypes.iter().take(8);
        let given: Vec<u32> =
            given.map(|&number| at.number("n_prototypes", Some(number), 2, 2..=1 << 24)).collect();
        Self {
            n_prototypes: if given.is_empty() { default } else { given },
            warmup_epochs: wire.warmup_epochs.unwrap_or(20),
            n_iterations: at.number("n_iterations", wire.n_iterations, 20, 1..=10_000),
            n_starts: at.number("n_starts", wire.n_starts, 5, 1..=1_000),
        }
    }

    pub(super) fn to_wire(&self) -> v1::Clustering {
        v1::Clustering {
            n_prototypes: self.n_prototypes.clone(),
            warmup_epochs: Some(self.warmup_epochs),
            n_iterations: Some(self.n_iterations),
            n_starts: Some(self.n_starts),
        }
    }
}
