//! What ends a rank's part in a group, so that a newer generation does not wait for what that group waits for.

use std::sync::{Mutex, MutexGuard};

use kindred_ipc::{Start, ToRank};
use kindred_proto::ids::{Generation, WorldSize};

use crate::collective::Aborter;

/// The group that this rank is in, and the orders to leave it: heard on the thread that reads the agent's words, while the
/// rank itself waits inside an operation.
#[derive(Default)]
pub(super) struct Guard(Mutex<State>);

#[derive(Default)]
struct State {
    group: Option<Group>,
    orders: Vec<Order>,
}

struct Group {
    of: Order,
    aborter: Aborter,
}

/// To be one of so many ranks of a generation.
#[derive(Clone, Copy)]
pub(super) struct Order {
    generation: Generation,
    world_size: WorldSize,
}

impl Order {
    /// The order to meet a newer generation, if the message is one.
    pub fn in_message(message: &ToRank) -> Option<Self> {
        match message {
            ToRank::Regroup(start) => Some(Self::of(start)),
            _ => None,
        }
    }

    fn of(start: &Start) -> Self {
        Self { generation: start.generation, world_size: start.world_size }
    }
}

impl Guard {
    /// The rank is in this group from now on.
    pub fn watch(&self, start: &Start, aborter: Aborter) {
        let mut state = self.state();
        state.orders.retain(|order| order.generation > start.generation);
        state.group = Some(Group { of: Order::of(start), aborter });
        state.end_if_due();
    }

    /// A newer generation meets.
    pub fn ordered(&self, order: Order) {
        let mut state = self.state();
        state.orders.push(order);
        state.end_if_due();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn end_if_due(&mut self) {
        let is_due = self.group.as_ref().is_some_and(|group| is_left_at_once(group.of, &self.orders));
        let Some(group) = self.group.take_if(|_| is_due) else { return };
        tracing::info!(generation = group.of.generation.0, "a newer generation meets: the group is aborted");
        if let Err(error) = group.aborter.abort() {
            tracing::warn!(%error, "the group was not aborted");
        }
    }
}

/// Whether `orders`, all of newer generations, say that a rank of the group is gone, so that nothing that it waits for need
/// come. A larger generation needs no haste: all of the group go on, and they leave together after the step in flight
/// ([`super::stop::agree`]); unless another one was ordered since.
fn is_left_at_once(group: Order, orders: &[Order]) -> bool {
    orders.len() > 1 || orders.iter().any(|order| order.world_size <= group.world_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_left_at_once_unless_all_of_it_go_on() {
        let of = |generation, size| Order { generation: Generation(generation), world_size: WorldSize(size) };
        let group = of(1, 3);
        assert!(!is_left_at_once(group, &[]));
        assert!(is_left_at_once(group, &[of(2, 2)]), "one is lost");
        assert!(is_left_at_once(group, &[of(2, 3)]), "one is replaced");
        assert!(!is_left_at_once(group, &[of(2, 4)]), "one joins");
        assert!(is_left_at_once(group, &[of(2, 6), of(3, 5)]), "one that was to join, or to go on, is lost");
    }
}
