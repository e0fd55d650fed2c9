//! What an order says.

use kindred_proto::v1;

use crate::{
    rank::Stop,
    reconcile::{Device, Order, RankKey},
};

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
