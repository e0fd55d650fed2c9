//! What operators decide about who goes first, and what a job asks for.

use std::{collections::BTreeMap, time::Duration};

use kindred_proto::{
    failure::{Failure, Reason},
    job_spec::{DEFAULT_QUEUE, Scheduling},
};
use serde::{Deserialize, Serialize};

use super::queue_rule::{self, QueueRule};

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
    /// Which queues there are, and what each may use; `default` is always there.
    pub queues: BTreeMap<String, QueueRule>,
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
            queues: [(DEFAULT_QUEUE.to_owned(), QueueRule::default())].into(),
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

    /// Whether queues take turns by their shares: as soon as one has a weight or is guaranteed something.
    pub(super) fn has_shares(&self) -> bool {
        self.queues.values().any(QueueRule::is_about_shares)
    }

    /// Refuses queues that make no tree, or whose numbers do not fit.
    ///
    /// # Errors
    /// The field, what is wrong with it, and what to do.
    pub fn check(&self) -> Result<(), String> {
        queue_rule::check(&self.queues)
    }

    /// Queues that jobs may name: those without children.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str).filter(|name| !self.has_children(name))
    }

    fn has_children(&self, name: &str) -> bool {
        self.queues.values().any(|rule| rule.parent.as_deref() == Some(name))
    }

    /// Refuses a job of a queue that is not there, or that is divided into others.
    ///
    /// # Errors
    /// `SPEC_INVALID`, with the queues that it may name.
    pub fn check_queue(&self, queue: &str) -> Result<(), Failure> {
        if self.queues.contains_key(queue) && !self.has_children(queue) {
            return Ok(());
        }
        Err(Failure::new(Reason::SpecInvalid, format!("queue: {}", self.no_queue(queue))).about("queue"))
    }

    pub(super) fn no_queue(&self, queue: &str) -> String {
        if !self.queues.contains_key(queue) {
            let names: Vec<&str> = self.leaves().collect();
            return format!("there is no queue {queue:?}: this coordinator has {}", names.join(", "));
        }
        let children = self.queues.iter().filter(|(_, rule)| rule.parent.as_deref() == Some(queue));
        let names: Vec<&str> = children.map(|(name, _)| name.as_str()).collect();
        format!(
            "queue {queue} is divided into others, and has no jobs of its own: name {}",
            names.join(" or ")
        )
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
