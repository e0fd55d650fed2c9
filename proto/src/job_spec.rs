//! A checked job: what the CLI, the coordinator and the rank all read.

use std::collections::BTreeMap;

use crate::{ids::WorldSize, recipe::Recipe, v1};

/// What a user asks for, with every default filled in and every bound enforced.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// A label for people.
    pub name: String,
    /// Number of ranks.
    pub ranks: WorldSize,
    /// What each rank computes on.
    pub device: DeviceKind,
    /// What to train.
    pub recipe: Recipe,
    /// How often it is tried again.
    pub retry: RetryBudget,
    /// Labels for people and tools.
    pub labels: BTreeMap<String, String>,
}

/// The kind of device that one rank computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// Processor, Gloo.
    Cpu,
    /// NVIDIA GPU, NCCL.
    Cuda,
}

/// How often a job is tried again, by whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// The user's own errors.
    pub user_failures: u32,
    /// Ranks, nodes and links that were lost.
    pub infrastructure_failures: u32,
    /// Generations in a row without a new step.
    pub no_progress: u32,
}
