//! Jobs that measure a finished encoder.

use std::path::PathBuf;

use super::{SpecError, Terms};
use crate::{
    recipe::{DataSource, Evaluation, Precision, Subset},
    scope::{Findings, Scope},
    v1,
};

/// A job that measures a finished encoder, with every default filled in and every bound enforced.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationSpec {
    /// What every job says.
    pub terms: Terms,
    /// What is measured.
    pub evaluate: Evaluate,
}

/// Which encoder is measured, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluate {
    /// Its `encoder.safetensors`; a relative path is below the node's data root.
    pub encoder: PathBuf,
    /// The labelled images. Their normalisation is the encoder's, not the one here.
    pub data: DataSource,
    /// What is measured. Default: weighted kNN and the linear probe.
    pub protocols: Evaluation,
    /// Seed of everything random. Default 0.
    pub seed: u64,
    /// Number format of features and classifiers. Default fp32: images pass once only.
    pub precision: Precision,
    /// Threads that a rank on the CPU computes with. Default 1.
    pub threads_per_rank: u32,
    /// The unbalanced part of the training images that the encoder learnt from. Default: it learnt from all.
    pub trained_on: Option<Subset>,
}

impl EvaluationSpec {
    /// Fills in every default and enforces every bound.
    ///
    /// # Errors
    /// All violations, not only the first.
    pub fn check(wire: &v1::JobSpec) -> Result<Self, SpecError> {
        let findings = Findings::default();
        let at = Scope::root(&findings);
        if wire.recipe.is_some() {
            at.violate("recipe", "can not stand beside `evaluate`: leave one of the two out");
        }
        let evaluate = wire.evaluate.clone().unwrap_or_default();
        let evaluate = Evaluate::check(&evaluate, &at.field("evaluate"));
        let terms = Terms::check(wire, &at);
        if terms.min_ranks != terms.max_ranks {
            at.violate("min_ranks", "must be `max_ranks`: a measurement does not change its ranks");
        }
        findings.refuse_or(Self { terms, evaluate })
    }

    /// The wire form with every default explicit; checking it gives the same spec again.
    pub fn to_wire(&self) -> v1::JobSpec {
        v1::JobSpec { evaluate: Some(self.evaluate.to_wire()), ..self.terms.to_wire() }
    }
}

impl Evaluate {
    fn check(wire: &v1::Evaluate, at: &Scope) -> Self {
        let data = check_data(wire.data.as_ref(), &at.field("data"));
        let protocols = Evaluation::check(wire.protocols.as_ref(), &data, &at.field("protocols"));
        if protocols.is_empty() && data.has_test() {
            at.violate("protocols", "measures nothing: enable one of its protocols");
        }
        Self {
            encoder: check_path(&wire.encoder, at),
            data,
            protocols,
            seed: wire.seed.unwrap_or(0),
            precision: Precision::check(wire.precision, Precision::Fp32, at),
            threads_per_rank: at.number("threads_per_rank", wire.threads_per_rank, 1, 1..=1024),
            trained_on: wire.trained_on.and_then(|subset| Subset::check(&subset, &at.field("trained_on"))),
        }
    }

    fn to_wire(&self) -> v1::Evaluate {
        let data = v1::DataSource { mean: vec![], std: vec![], ..self.data.to_wire() };
        v1::Evaluate {
            encoder: self.encoder.to_string_lossy().into_owned(),
            data: Some(data),
            protocols: Some(self.protocols.to_wire()),
            seed: Some(self.seed),
            precision: self.precision.to_wire().into(),
            threads_per_rank: Some(self.threads_per_rank),
            trained_on: self.trained_on.as_ref().map(Subset::to_wire),
        }
    }
}

fn check_data(wire: Option<&v1::DataSource>, at: &Scope) -> DataSource {
    let given = wire.map_or([false; 2], |data| [!data.mean.is_empty(), !data.std.is_empty()]);
    for (field, _) in ["mean", "std"].into_iter().zip(given).filter(|(_, is_given)| *is_given) {
        at.violate(field, "is the encoder's own, from its config.json: leave it out");
    }
    let data = DataSource::check(wire, at);
    if !data.has_test() {
        at.refuse("needs labelled images: give `image_folder.test` (of STL-10 the labelled part)");
    }
    data
}

fn check_path(given: &str, at: &Scope) -> PathBuf {
    if given.is_empty() || given.contains('\0') || given.len() > 4096 {
        at.violate("encoder", "must be the path of an encoder.safetensors, of at most 4096 bytes");
    }
    PathBuf::from(given)
}
