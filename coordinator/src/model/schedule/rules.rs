//! What operators decide about who goes first, and what a job asks for.

use std::{collections::BTreeMap, time::Duration};

use kindred_proto::{
    failure::{Failure, Reason},
    job_spec::{DEFAULT_QUEUE, Scheduling},
    v1,
};
use serde::{Deserialize, Serialize};

/// What operators decide about who goes first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulingRules {
    /// So many seconds of waiting are worth one point of priority.
    pub ageing_s: u64,
    /// A job that has its devices for less is not preempted.
    pub min_run_s: u64,
    /// When a node is left alone.
    pub quarantine: QuarantineRule,
    /// What each queue may use; `default` is always there.
    pub queues: BTreeMap<String, Quota>,
}

/// What the jobs of a queue may use at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Processors; none: no limit.
    pub max_cpu: Option<u32>,
    /// GPUs; none: no limit.
    pub max_cuda: Option<u32>,
}

/// When a node is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuarantineRule {
    /// After so many faults of its own; 0: never.
    pub after_faults: u32,
    /// Within so many seconds.
    pub within_s: u64,
    /// For so many seconds.
    pub for_s: u64,
}

impl Default for SchedulingRules {
    fn default() -> Self {
        Self {
            ageing_s: 600,
            min_run_s: 60,
            quarantine: QuarantineRule::default(),
            queues: [(DEFAULT_QUEUE.to_owned(), Quota::default())].into(),
        }
    }
}

impl Default for QuarantineRule {
    fn default() -> Self {
        Self { after_faults: 10, within_s: 3600, for_s: 600 }
    }
}

impl SchedulingRules {
    /// The same, with a queue `default` whatever was said.
    #[must_use]
    pub fn complete(mut self) -> Self {
        self.queues.entry(DEFAULT_QUEUE.to_owned()).or_default();
        self
    }

    /// How long a job keeps its devices at least.
    pub fn min_run(&self) -> Duration {
        Duration::from_secs(self.min_run_s)
    }

    /// What a queue may use of a kind of device; none for a queue that is not there.
    pub(super) fn limit(&self, queue: &str, kind: v1::DeviceKind) -> Option<usize> {
        let quota = self.queues.get(queue)?;
        let limit = if kind == v1::DeviceKind::Cuda { quota.max_cuda } else { quota.max_cpu };
        Some(limit.map_or(usize::MAX, |limit| limit as usize))
    }

    /// Refuses a job of a queue that is not there.
    ///
    /// # Errors
    /// `SPEC_INVALID`, with the queues that are.
    pub fn check_queue(&self, queue: &str) -> Result<(), Failure> {
        if self.queues.contains_key(queue) {
            return Ok(());
        }
        Err(Failure::new(Reason::SpecInvalid, format!("queue: {}", self.no_queue(queue))).about("queue"))
    }

    pub(super) fn no_queue(&self, queue: &str) -> String {
        let names: Vec<&str> = self.queues.keys().map(String::as_str).collect();
        format!("there is no queue {queue:?}: this coordinator has {}", names.join(", "))
    }
}

/// What a job asks of the scheduler, as it is journaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulingTerms {
    /// The queue that it counts for.
    pub queue: String,
    /// Jobs of a higher one go first.
    pub priority: i32,
    /// Labels that its nodes carry.
    pub node_selector: BTreeMap<String, String>,
    /// Least memory of each device; 0: any.
    pub device_memory_bytes: u64,
    /// Whether a job of a higher priority may take its devices.
    pub preemptible: bool,
}

impl Default for SchedulingTerms {
    fn default() -> Self {
        Self {
            queue: DEFAULT_QUEUE.to_owned(),
            priority: 0,
            node_selector: BTreeMap::new(),
            device_memory_bytes: 0,
            preemptible: true,
        }
    }
}

impl From<&Scheduling> for SchedulingTerms {
    fn from(checked: &Scheduling) -> Self {
        Self {
            queue: checked.queue.clone(),
            priority: checked.priority,
            node_selector: checked.node_selector.clone(),
            device_memory_bytes: checked.device_memory_bytes,
            preemptible: checked.preemptible,
        }
    }
}
