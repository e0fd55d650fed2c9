//! What must be done so that what runs becomes what is ordered. Pure: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use kindred_proto::{
    ids::{Generation, JobId, Rank},
    v1,
};

/// One rank of one generation of one job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RankKey {
    /// The job.
    pub job_id: JobId,
    /// The set of ranks that it belongs to.
    pub generation: Generation,
    /// Its number.
    pub rank: Rank,
}

impl RankKey {
    /// The rank that an order is about.
    pub fn of(order: &v1::OrderedRank) -> Self {
        Self {
            job_id: JobId::new(order.job_id.as_str()),
            generation: Generation(order.generation),
            rank: Rank(order.rank),
        }
    }
}

/// A device of the node: its kind, and its index among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// What it is.
    pub kind: v1::DeviceKind,
    /// Which of them.
    pub index: u32,
}

/// Where a rank stands, as far as reconciling cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its process exists and was not asked to stop.
    Live,
    /// Its process exists and was asked to stop.
    Stopping,
    /// Its process is gone, or never was; the outcome is kept.
    Over,
}

/// What the coordinator wants of one rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The rank.
    pub key: RankKey,
    /// Where it runs.
    pub device: Device,
    /// Whether it is to stop.
    pub stop: bool,
}

/// A rank that this agent was ordered to run at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it runs.
    pub device: Device,
    /// Where it stands.
    pub phase: Phase,
}

/// The ranks that are held.
type Table = BTreeMap<RankKey, Held>;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this rank's process.
    Start(RankKey),
    /// Let the process of a rank of an older generation go on as this one.
    Regroup {
        /// Which it is.
        from: RankKey,
        /// Which it becomes.
        to: RankKey,
    },
    /// Ask the rank to stop.
    Stop(RankKey),
    /// Keep "stopped" as the outcome of a rank that never started here, so that the coordinator hears of it.
    NeverStarted(RankKey),
    /// The coordinator has taken note of the outcome.
    Forget(RankKey),
}

/// Compares orders with what is held.
///
/// `newest` is the newest generation ordered of each job; an order of an older one starts nothing: it keeps running what
/// runs, while ranks start for the newer one. What runs and is not ordered any more is stopped, unless an order has its
/// device go on with a newer rank of the job: then its process, and the state in it, goes on as that one. A start whose
/// device is still busy waits: it comes out once the device is free.
pub fn reconcile(orders: &[Order], held: &Table, newest: &BTreeMap<JobId, Generation>) -> Vec<Action> {
    let is_current = |key: &RankKey| newest.get(&key.job_id).is_none_or(|newest| key.generation >= *newest);
    let ordered: BTreeMap<&RankKey, &Order> = orders.iter().map(|order| (&order.key, order)).collect();
    let mut busy: BTreeSet<Device> =
        held.values().filter(|held| held.phase != Phase::Over).map(|held| held.device).collect();
    let mut actions = Vec::new();
    let successors = successors(orders, held);
    for (key, held) in held {
        let is_wanted = ordered.get(key).is_some_and(|order| !order.stop);
        match held.phase {
            Phase::Live if !is_wanted => actions.push(match successors.get(key) {
                Some(to) if is_current(to) => Action::Regroup { from: key.clone(), to: (*to).clone() },
                _ => Action::Stop(key.clone()),
            }),
            Phase::Over if !ordered.contains_key(key) => actions.push(Action::Forget(key.clone())),
            Phase::Live | Phase::Stopping | Phase::Over => {}
        }
    }
    for (key, order) in ordered {
        let is_succeeded = || successors.values().any(|to| *to == key) && is_current(key);
        if held.contains_key(key) || is_succeeded() {
            continue;
        }
        if order.stop {
            actions.push(Action::NeverStarted(key.clone()));
        } else if is_current(key) && busy.insert(order.device) {
            actions.push(Action::Start(key.clone()));
        }
    }
    actions
}

/// The ranks that are held and live, with those that their processes are to go on as: a rank of a newer generation of the
/// job, ordered to run on the same device, while nothing is ordered of the old one.
fn successors<'a>(orders: &'a [Order], held: &'a Table) -> BTreeMap<&'a RankKey, &'a RankKey> {
    let mut successors = BTreeMap::new();
    for order in orders.iter().filter(|order| !order.stop && !held.contains_key(&order.key)) {
        let key = &order.key;
        let is_forerunner = |(old, held): &(&RankKey, &Held)| {
            old.job_id == key.job_id
                && old.generation < key.generation
                && held.device == order.device
                && held.phase == Phase::Live
                && orders.iter().all(|other| other.key != **old)
        };
        if let Some((old, _)) = held.iter().find(is_forerunner) {
            successors.insert(old, key);
        }
    }
    successors
}

/// Takes note of the generations that `orders` name, and lets go of jobs that are neither ordered nor held: a
/// coordinator that begins anew counts its jobs, and their generations, from one again.
pub fn note_generations(newest: &mut BTreeMap<JobId, Generation>, orders: &[Order], held: &Table) {
    let jobs: BTreeSet<&JobId> =
        orders.iter().map(|order| &order.key.job_id).chain(held.keys().map(|key| &key.job_id)).collect();
    newest.retain(|job_id, _| jobs.contains(job_id));
    for Order { key, .. } in orders {
        let seen = newest.entry(key.job_id.clone()).or_insert(key.generation);
        *seen = (*seen).max(key.generation);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(job: u32, generation: u64, rank: u32) -> RankKey {
        RankKey {
            job_id: JobId::new(format!("job-{job}")),
            generation: Generation(generation),
            rank: Rank(rank),
        }
    }

    fn cpu(index: u32) -> Device {
        Device { kind: v1::DeviceKind::Cpu, index }
    }

    fn run(key: RankKey, device: u32) -> Order {
        Order { key, device: cpu(device), stop: false }
    }

    fn stop(key: RankKey, device: u32) -> Order {
        Order { key, device: cpu(device), stop: true }
    }

    fn table<const N: usize>(rows: [(RankKey, u32, Phase); N]) -> Table {
        rows.into_iter().map(|(key, device, phase)| (key, Held { device: cpu(device), phase })).collect()
    }

    fn newest_of(orders: &[Order]) -> BTreeMap<JobId, Generation> {
        let mut newest = BTreeMap::new();
        note_generations(&mut newest, orders, &table([]));
        newest
    }

    /// What is held once all actions are done, processes that were asked to stop included.
    fn apply(held: &mut Table, orders: &[Order], actions: &[Action]) {
        let device = |key: &RankKey| orders.iter().find(|order| order.key == *key).map(|order| order.device);
        for action in actions {
            match action {
                Action::Start(key) => {
                    let device = device(key).expect("only ordered ranks start");
                    held.insert(key.clone(), Held { device, phase: Phase::Live });
                }
                Action::NeverStarted(key) => {
                    let device = device(key).expect("only ordered ranks are noted");
                    held.insert(key.clone(), Held { device, phase: Phase::Over });
                }
                Action::Regroup { from, to } => {
                    let moved = held.remove(from).expect("only held ranks regroup");
                    assert_eq!(Some(moved.device), device(to));
                    held.insert(to.clone(), moved);
                }
                Action::Stop(key) => held.get_mut(key).expect("only held ranks stop").phase = Phase::Stopping,
                Action::Forget(key) => drop(held.remove(key)),
            }
        }
    }

    #[test]
    fn the_table_of_cases() {
        let (old, new) = (key(1, 1, 0), key(1, 2, 0));
        let cases = [
            (
                "an ordered rank starts",
                vec![run(new.clone(), 0)],
                table([]),
                vec![Action::Start(new.clone())],
            ),
            (
                "a running rank is left alone",
                vec![run(new.clone(), 0)],
                table([(new.clone(), 0, Phase::Live)]),
                vec![],
            ),
            (
                "a rank that is over does not start again",
                vec![run(new.clone(), 0)],
                table([(new.clone(), 0, Phase::Over)]),
                vec![],
            ),
            (
                "a rank that is not named is stopped",
                vec![],
                table([(old.clone(), 0, Phase::Live)]),
                vec![Action::Stop(old.clone())],
            ),
            (
                "a stopping rank is not asked twice",
                vec![],
                table([(old.clone(), 0, Phase::Stopping)]),
                vec![],
            ),
            (
                "an order to stop stops",
                vec![stop(old.clone(), 0)],
                table([(old.clone(), 0, Phase::Live)]),
                vec![Action::Stop(old.clone())],
            ),
            (
                "an order to stop what never started is answered",
                vec![stop(old.clone(), 0)],
                table([]),
                vec![Action::NeverStarted(old.clone())],
            ),
            (
                "an outcome is kept while it is named",
                vec![stop(old.clone(), 0)],
                table([(old.clone(), 0, Phase::Over)]),
                vec![],
            ),
            (
                "an outcome is forgotten once it is not named",
                vec![],
                table([(old.clone(), 0, Phase::Over)]),
                vec![Action::Forget(old.clone())],
            ),
            (
                "a new generation waits for the device of the old one",
                vec![run(new.clone(), 0)],
                table([(old.clone(), 0, Phase::Stopping)]),
                vec![],
            ),
            (
                "two orders for one device start one rank",
                vec![run(key(1, 2, 0), 0), run(key(2, 1, 0), 0)],
                table([]),
                vec![Action::Start(key(1, 2, 0))],
            ),
            (
                "a running rank goes on as the same rank of a newer generation on its device",
                vec![run(new.clone(), 0)],
                table([(old.clone(), 0, Phase::Live)]),
                vec![Action::Regroup { from: old.clone(), to: new.clone() }],
            ),
            (
                "a running rank of an older generation goes on while it is named",
                vec![run(old.clone(), 0), run(new.clone(), 1)],
                table([(old.clone(), 0, Phase::Live)]),
                vec![Action::Start(new.clone())],
            ),
        ];
        for (name, orders, held, expected) in cases {
            assert_eq!(reconcile(&orders, &held, &newest_of(&orders)), expected, "{name}");
        }
    }

    #[test]
    fn an_order_of_an_older_generation_starts_nothing() {
        let newest = newest_of(&[run(key(1, 2, 0), 0)]);
        assert_eq!(reconcile(&[run(key(1, 1, 0), 0)], &table([]), &newest), []);
    }

    #[test]
    fn a_generation_is_remembered_while_its_job_is_ordered_or_held() {
        let (old, new) = (key(1, 1, 0), key(1, 2, 0));
        let mut newest = newest_of(&[run(new.clone(), 0)]);
        let held = table([(new, 0, Phase::Stopping)]);
        note_generations(&mut newest, &[], &held);
        assert_eq!(reconcile(&[run(old.clone(), 1)], &held, &newest), []);
        note_generations(&mut newest, &[], &table([]));
        assert_eq!(reconcile(&[run(old.clone(), 1)], &table([]), &newest), [Action::Start(old)]);
    }

    fn any_key() -> impl Strategy<Value = RankKey> {
        (0..3_u32, 1..4_u64, 0..3_u32).prop_map(|(job, generation, rank)| key(job, generation, rank))
    }

    fn any_order() -> impl Strategy<Value = Order> {
        (any_key(), 0..3_u32, any::<bool>()).prop_map(|(key, index, stop)| Order {
            key,
            device: cpu(index),
            stop,
        })
    }

    /// One event in the life of an agent: new orders, or the end of the n-th process that still exists.
    #[derive(Clone, Debug)]
    enum Event {
        Orders(Vec<Order>),
        Ended(usize),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            prop::collection::vec(any_order(), 0..6).prop_map(|orders| {
                let unique: BTreeMap<_, _> =
                    orders.into_iter().map(|order| (order.key.clone(), order)).collect();
                Event::Orders(unique.into_values().collect())
            }),
            (0..4_usize).prop_map(Event::Ended),
        ]
    }

    proptest! {
        #[test]
        fn doing_it_twice_is_doing_it_once_and_no_device_is_shared(
            events in prop::collection::vec(any_event(), 1..24)
        ) {
            let (mut held, mut orders, mut newest) = (Table::new(), Vec::new(), BTreeMap::new());
            for event in events {
                match event {
                    Event::Orders(new) => orders = new,
                    Event::Ended(n) => {
                        let mut live = held.values_mut().filter(|held| held.phase != Phase::Over);
                        if let Some(ended) = live.nth(n) {
                            ended.phase = Phase::Over;
                        }
                    }
                }
                let before = newest.clone();
                note_generations(&mut newest, &orders, &held);
                let actions = reconcile(&orders, &held, &newest);
                for action in &actions {
                    if let Action::Start(key) = action {
                        let is_old = before.get(&key.job_id).is_some_and(|newest| key.generation < *newest);
                        prop_assert!(!is_old, "{key:?} starts after a newer generation was ordered");
                    }
                }
                apply(&mut held, &orders, &actions);
                prop_assert_eq!(reconcile(&orders, &held, &newest), Vec::new());
                let live: Vec<_> = held.values().filter(|held| held.phase != Phase::Over).collect();
                let devices: BTreeSet<_> = live.iter().map(|held| held.device).collect();
                prop_assert_eq!(devices.len(), live.len(), "two live ranks on one device: {:?}", held);
            }
        }
    }
}
