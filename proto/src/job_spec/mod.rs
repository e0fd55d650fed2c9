//! A checked job: what the CLI, the coordinator and the rank all read.

use crate::{
    ids::WorldSize,
    recipe::Recipe,
    scope::{Findings, Scope},
    v1,
};

mod departures;
mod evaluate;
mod project;
mod scheduling;
mod steps;
mod terms;
mod yaml;

pub use crate::spec_error::{SpecError, Violation};
pub use departures::{Departure, departures};
pub use evaluate::{Evaluate, EvaluationSpec};
pub use project::{DEFAULT_PROJECT, project_of};
pub use scheduling::{DEFAULT_QUEUE, PRIORITIES, Scheduling};
pub use steps::Steps;
pub use terms::{DeviceKind, NoDeviceKind, RetryBudget, Terms, is_word};
pub use yaml::{from_yaml, schema, to_yaml};

/// A checked job of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum AnySpec {
    /// Trains an encoder.
    Train(Box<JobSpec>),
    /// Measures one.
    Evaluate(Box<EvaluationSpec>),
}

impl AnySpec {
    /// Fills in every default and enforces every bound. A job with an `evaluate` measures, any other trains.
    ///
    /// # Errors
    /// All violations, not only the first.
    pub fn check(wire: &v1::JobSpec) -> Result<Self, SpecError> {
        match wire.evaluate {
            Some(_) => EvaluationSpec::check(wire).map(Box::new).map(Self::Evaluate),
            None => JobSpec::check(wire).map(Box::new).map(Self::Train),
        }
    }

    /// The wire form with every default explicit; checking it gives the same spec again.
    pub fn to_wire(&self) -> v1::JobSpec {
        match self {
            Self::Train(spec) => spec.to_wire(),
            Self::Evaluate(spec) => spec.to_wire(),
        }
    }

    /// The numbers of ranks that it may run with, fewest first. A measurement is not worth a change of them.
    pub fn world_sizes(&self) -> Vec<WorldSize> {
        match self {
            Self::Train(spec) => spec.world_sizes(),
            Self::Evaluate(spec) => vec![spec.terms.ranks],
        }
    }

    /// What it says whatever it does.
    pub fn terms(&self) -> &Terms {
        match self {
            Self::Train(spec) => &spec.terms,
            Self::Evaluate(spec) => &spec.terms,
        }
    }
}

/// A job that trains, with every default filled in and every bound enforced.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// What every job says.
    pub terms: Terms,
    /// What to train.
    pub recipe: Recipe,
}

impl JobSpec {
    /// Fills in every default and enforces every bound.
    ///
    /// # Errors
    /// All violations, not only the first.
    pub fn check(wire: &v1::JobSpec) -> Result<Self, SpecError> {
        let findings = Findings::default();
        let at = Scope::root(&findings);
        if wire.evaluate.is_some() {
            at.violate("evaluate", "has no meaning for a job that trains: leave it out");
        }
        let terms = Terms::check(wire, &at);
        let recipe = wire.recipe.clone().unwrap_or_default();
        let recipe = Recipe::check(&recipe, &terms, &at.field("recipe"));
        findings.refuse_or(Self { terms, recipe })
    }

    /// The wire form with every default explicit; checking it gives the same spec again.
    pub fn to_wire(&self) -> v1::JobSpec {
        v1::JobSpec { recipe: Some(self.recipe.to_wire()), ..self.terms.to_wire() }
    }

    /// The numbers of ranks that it may run with, fewest first: those that share the batch.
    pub fn world_sizes(&self) -> Vec<WorldSize> {
        self.terms.world_sizes().filter(|size| self.recipe.training.is_shared_by(*size)).collect()
    }

    /// Images per step on one rank, of as many as the job is made for.
    pub fn batch_per_rank(&self) -> u32 {
        self.recipe.training.global_batch / self.terms.ranks.0
    }
}
