//! What every job says, whatever it does.

use std::collections::{BTreeMap, HashMap};

use super::project;
use super::scheduling::Scheduling;
use crate::{ids::WorldSize, scope::Scope, v1};

const MAX_RANKS: u32 = 65_536;

/// What every job says, whatever it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// A label for people.
    pub name: String,
    /// Number of ranks that the job is made for. Default 1.
    pub ranks: WorldSize,
    /// Fewest ranks that it goes on with. Default `ranks`.
    pub min_ranks: WorldSize,
    /// Most ranks that it takes. Default `ranks`.
    pub max_ranks: WorldSize,
    /// What each rank computes on. Default CPU, which every node has.
    pub device: DeviceKind,
    /// How often it is tried again.
    pub retry: RetryBudget,
    /// Labels for people and tools.
    pub labels: BTreeMap<String, String>,
    /// What it asks of the scheduler.
    pub scheduling: Scheduling,
    /// Who it belongs to; empty for the submitter's own project, or `default`.
    pub project: String,
}

impl Terms {
    pub(super) fn check(wire: &v1::JobSpec, at: &Scope) -> Self {
        let ranks = at.number("ranks", wire.ranks, 1, 1..=MAX_RANKS);
        Self {
            name: check_name(&wire.name, at),
            ranks: WorldSize(ranks),
            min_ranks: WorldSize(at.number("min_ranks", wire.min_ranks, ranks, 1..=ranks)),
            max_ranks: WorldSize(at.number("max_ranks", wire.max_ranks, ranks, ranks..=MAX_RANKS)),
            device: DeviceKind::check(wire.device, at),
            retry: RetryBudget::check(&wire.retry.unwrap_or_default(), &at.field("retry")),
            labels: check_labels("labels", &wire.labels, at),
            scheduling: Scheduling::check(wire, at),
            project: project::check(&wire.project, at),
        }
    }

    /// From the fewest to the most.
    pub(crate) fn world_sizes(&self) -> impl Iterator<Item = WorldSize> {
        (self.min_ranks.0..=self.max_ranks.0).map(WorldSize)
    }

    /// A spec that says nothing else yet.
    pub(super) fn to_wire(&self) -> v1::JobSpec {
        let scheduling = self.scheduling.clone();
        v1::JobSpec {
            name: self.name.clone(),
            ranks: Some(self.ranks.0),
            min_ranks: Some(self.min_ranks.0),
            max_ranks: Some(self.max_ranks.0),
            device: v1::DeviceKind::from(self.device).into(),
            retry: Some(self.retry.to_wire()),
            labels: self.labels.clone().into_iter().collect(),
            queue: scheduling.queue,
            priority: Some(scheduling.priority),
            node_selector: scheduling.node_selector.into_iter().collect(),
            device_memory_bytes: Some(scheduling.device_memory_bytes),
            preemptible: Some(scheduling.preemptible),
            project: self.project.clone(),
            ..Default::default()
        }
    }
}

/// The kind of device that one rank computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// Processor, Gloo.
    Cpu,
    /// NVIDIA GPU, NCCL.
    Cuda,
}

impl DeviceKind {
    fn check(number: i32, at: &Scope) -> Self {
        let wire: v1::DeviceKind = at.known("device", number).unwrap_or_default();
        Self::try_from(wire).unwrap_or(Self::Cpu)
    }
}

impl From<DeviceKind> for v1::DeviceKind {
    fn from(kind: DeviceKind) -> Self {
        match kind {
            DeviceKind::Cpu => Self::Cpu,
            DeviceKind::Cuda => Self::Cuda,
        }
    }
}

/// The wire names no kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of device is given")]
pub struct NoDeviceKind;

impl TryFrom<v1::DeviceKind> for DeviceKind {
    type Error = NoDeviceKind;

    fn try_from(wire: v1::DeviceKind) -> Result<Self, Self::Error> {
        match wire {
            v1::DeviceKind::Cpu => Ok(Self::Cpu),
            v1::DeviceKind::Cuda => Ok(Self::Cuda),
            v1::DeviceKind::Unspecified => Err(NoDeviceKind),
        }
    }
}

/// How often a job is tried again, by whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// The user's own errors. Default 0: they repeat, so the first one ends the job.
    pub user_failures: u32,
    /// Ranks, nodes and links that were lost. Default 16.
    pub infrastructure_failures: u32,
    /// Generations in a row without a new step. Default 3.
    pub no_progress: u32,
}

impl RetryBudget {
    fn check(wire: &v1::RetryBudget, at: &Scope) -> Self {
        let infrastructure_failures = wire.infrastructure_failures;
        Self {
            user_failures: at.number("user_failures", wire.user_failures, 0, 0..=1_000),
            infrastructure_failures: at.number(
                "infrastructure_failures",
                infrastructure_failures,
                16,
                0..=1_000_000,
            ),
            no_progress: at.number("no_progress", wire.no_progress, 3, 1..=1_000),
        }
    }

    fn to_wire(self) -> v1::RetryBudget {
        v1::RetryBudget {
            user_failures: Some(self.user_failures),
            infrastructure_failures: Some(self.infrastructure_failures),
            no_progress: Some(self.no_progress),
        }
    }
}

fn check_name(given: &str, at: &Scope) -> String {
    check_word("name", given, at)
}

/// A name that fits into a host name, and so into whatever people make of it.
pub(super) fn check_word(field: &str, given: &str, at: &Scope) -> String {
    if !is_word(given) {
        let shown: String = given.chars().take(64).collect();
        at.violate(
            field,
            format!("must be 1 to 63 lower-case letters, digits and inner hyphens, not {shown:?}"),
        );
    }
    given.to_owned()
}

/// Whether jobs may have or give such a name: 1 to 63 lower-case letters, digits and inner hyphens.
pub fn is_word(given: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&given.len())
        && given.bytes().all(is_inner)
        && !given.starts_with('-')
        && !given.ends_with('-')
}

pub(super) fn check_labels(
    field: &str,
    wire: &HashMap<String, String>,
    at: &Scope,
) -> BTreeMap<String, String> {
    let labels: BTreeMap<_, _> = wire.clone().into_iter().collect();
    if labels.len() > 64 {
        at.violate(field, format!("must be at most 64, not {}", labels.len()));
    }
    for (key, value) in labels.iter().take(64) {
        let shown: String = key.chars().take(64).collect();
        if key.is_empty() || key.len() > 63 {
            at.violate(field, format!("must have keys of 1 to 63 bytes, not {shown:?}"));
        }
        if value.len() > 256 {
            at.violate(field, format!("must have values of at most 256 bytes; that of {shown:?} is longer"));
        }
    }
    labels
}
