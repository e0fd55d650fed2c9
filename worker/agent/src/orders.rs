//! What an order says.

use std::time::Duration;

use kindred_proto::v1;

use crate::{
    rank::Stop,
    reconcile::{Device, Order, RankKey},
};

/// How long ranks wait for one another and are waited for, in milliseconds, as the coordinator has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Until all have met.
    pub meeting_timeout_ms: u32,
    /// Within one collective operation.
    pub collective_timeout_ms: u32,
    /// For the next generation, once peers are gone.
    pub abort_grace_ms: u32,
    /// For a rank's next word; 0: for ever.
    pub hang_grace_ms: u32,
}

impl Limits {
    /// As the orders say.
    pub fn of(orders: &v1::AgentOrders) -> Self {
        Self {
            meeting_timeout_ms: orders.meeting_timeout_ms,
            collective_timeout_ms: orders.collective_timeout_ms,
            abort_grace_ms: orders.abort_grace_ms,
            hang_grace_ms: orders.hang_grace_ms,
        }
    }
}

impl Limits {
    /// How long a rank may say nothing.
    pub fn hang_grace(&self) -> Option<Duration> {
        Some(self.hang_grace_ms).filter(|it| *it > 0).map(|it| Duration::from_millis(it.into()))
    }

    /// How often a rank is to say something: a few words may be late.
    pub fn alive_interval_ms(&self) -> u64 {
        u64::from(self.hang_grace_ms / 4)
    }
}

/// Where the rank runs.
pub fn device(order: &v1::OrderedRank) -> Device {
    let kind = order.spec.as_ref().map_or(v1::DeviceKind::Unspecified, v1::JobSpec::device);
    Device { kind, index: order.device_index }
}

/// Threads of a rank: what the job says, whether it trains or measures.
pub fn threads_per_rank(spec: &v1::JobSpec) -> Option<u32> {
    let training = spec.recipe.as_ref().and_then(|recipe| recipe.training.as_ref()?.threads_per_rank);
    training.or(spec.evaluate.as_ref().and_then(|evaluate| evaluate.threads_per_rank))
}

/// How a rank is to stop: without a checkpoint, unless its order asks for one.
pub fn stop(order: Option<&v1::OrderedRank>) -> Stop {
    Stop { checkpoint: order.is_some_and(|order| order.write_checkpoint) }
}

/// As reconciling reads it.
pub fn checked(key: &RankKey, order: &v1::OrderedRank) -> Order {
    let stop = order.action() == v1::ordered_rank::Action::Stop;
    Order { key: key.clone(), device: device(order), stop }
}
