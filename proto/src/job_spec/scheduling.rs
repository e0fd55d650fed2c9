//! What a job asks of the scheduler.

use std::collections::BTreeMap;

use super::terms::{check_labels, check_word};
use crate::{scope::Scope, v1};

/// The queue of a job that names none; every coordinator has it.
pub const DEFAULT_QUEUE: &str = "default";

/// Priorities are at least and at most this.
pub const PRIORITIES: std::ops::RangeInclusive<i32> = -100..=100;

/// What a job asks of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// The queue that it counts for. Default [`DEFAULT_QUEUE`].
    pub queue: String,
    /// Jobs of a higher one go first. Default 0.
    pub priority: i32,
    /// Labels that its nodes carry. Default: none, which is any node.
    pub node_selector: BTreeMap<String, String>,
    /// Least memory of each device. Default 0: any.
    pub device_memory_bytes: u64,
    /// Whether a job of a higher priority may take its devices. Default true.
    pub preemptible: bool,
}

impl Scheduling {
    pub(super) fn check(wire: &v1::JobSpec, at: &Scope) -> Self {
        let queue = if wire.queue.is_empty() { DEFAULT_QUEUE } else { &wire.queue };
        Self {
            queue: check_word("queue", queue, at),
            priority: at.number("priority", wire.priority, 0, PRIORITIES),
            node_selector: check_labels("node_selector", &wire.node_selector, at),
            device_memory_bytes: at.number(
                "device_memory_bytes",
                wire.device_memory_bytes,
                0,
                0..=MAX_MEMORY_BYTES,
            ),
            preemptible: wire.preemptible.unwrap_or(true),
        }
    }
}

/// A pebibyte: no device has as much, so that a number in another unit by mistake is noticed.
const MAX_MEMORY_BYTES: u64 = 1 << 50;
