//! Times scheduling passes over 10,000 nodes with 80,000 devices and 2,000 jobs that wait, as `make bench-coordinator` prints them.
//!
//! The cluster: racks of 32 nodes, eight GPUs each, of two sizes of memory, in eight zones; the jobs ask for 1 to 64 GPUs, some of one
//! zone or of the larger memory, in four queues and five priorities. A pass is all that a tick decides of placement: the snapshot, the
//! plan, and its changes.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kindred_coordinator::model::{
    Event, Model, Observation, QueueRule, Rules, SchedulingRules, SchedulingTerms, State, Submission,
    Timestamp, Wire,
};
use kindred_proto::{ids::WorldSize, v1};

const N_NODES: u32 = 10_000;
const DEVICES_PER_NODE: u32 = 8;
const N_WAITING: u32 = 2_000;
const N_PASSES: usize = 51;

fn main() {
    println!(
        "{N_NODES} nodes, {} devices, {N_WAITING} jobs wait; {N_PASSES} passes each",
        N_NODES * DEVICES_PER_NODE
    );
    let minute = Duration::from_secs(61);
    for (name, share, passed, queues) in [
        ("all busy", 1.0, Duration::ZERO, flat()),
        ("all busy, and may give way", 1.0, minute, flat()),
        ("all busy, in fair shares", 1.0, minute, tree()),
        ("nine tenths busy", 0.9, Duration::ZERO, flat()),
        ("the same, in fair shares", 0.9, Duration::ZERO, tree()),
        ("all free", 0.0, Duration::ZERO, flat()),
        ("all free, in fair shares", 0.0, Duration::ZERO, tree()),
    ] {
        let (mut model, mut now) = cluster(share, queues);
        now = now.plus(passed);
        model.observe(now, Observation::HeldUp(passed));
        let n_changes = model.decide_placement(now).len();
        let (mut times, mut on_core): (Vec<_>, Vec<_>) = (0..N_PASSES).map(|_| time(&model, now)).unzip();
        times.sort_unstable();
        on_core.sort_unstable();
        println!(
            "devices {name:<28} median {:6.1} ms ({:6.1} ms of a core), slowest {:6.1} ms ({n_changes} changes)",
            millis(times[N_PASSES / 2]),
            millis(on_core[N_PASSES / 2]),
            millis(times[N_PASSES - 1])
        );
    }
}

/// How long a pass took, and for how long it had a core: other work on the machine makes the first longer, not the second.
fn time(model: &Model, now: Timestamp) -> (Duration, Duration) {
    let (start, had_core) = (Instant::now(), on_core());
    std::hint::black_box(model.decide_placement(now));
    (start.elapsed(), on_core().saturating_sub(had_core))
}

/// For how long this thread has run, as Linux counts it; zero where it does not say.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Four queues with a quota each.
fn flat() -> BTreeMap<String, QueueRule> {
    let queue = |number: u32| {
        (format!("queue-{number}"), QueueRule { max_cuda: Some(60_000), ..QueueRule::default() })
    };
    (0..4).map(queue).collect()
}

/// The same in pairs, with weights, and guaranteed a tenth of the devices each.
fn tree() -> BTreeMap<String, QueueRule> {
    let of_pair = |(number, (name, rule)): (u32, (String, QueueRule))| {
        let (parent, weight) = (Some(format!("pair-{}", number % 2)), Some(number + 1));
        (name, QueueRule { parent, weight, guaranteed_cuda: Some(8_000), ..rule })
    };
    let pair = |number: u32| (format!("pair-{number}"), QueueRule::default());
    (0..4).zip(flat()).map(of_pair).chain((0..2).map(pair)).collect()
}

/// A cluster of which such a share of the devices is taken by jobs of eight ranks, and jobs that wait.
fn cluster(share: f64, queues: BTreeMap<String, QueueRule>) -> (Model, Timestamp) {
    let now = Timestamp(1_800_000_000_000);
    let scheduling = SchedulingRules { queues, ..SchedulingRules::default() };
    let rules = Rules { scheduling: scheduling.complete().into(), ..Rules::new(Duration::from_secs(10)) };
    let mut model = Model::new(State::default(), rules, now);
    for number in 0..N_NODES {
        model.observe(now, Observation::Reported(Box::new(report(number))));
    }
    settle(&mut model, now, usize::MAX);
    let n_running = (f64::from(N_NODES) * share) as u32;
    submit(&mut model, now, (0..n_running).map(|_| submission(8, SchedulingTerms::default())));
    settle(&mut model, now, usize::MAX);
    submit(&mut model, now, (0..N_WAITING).map(waiting));
    (model, now)
}

fn submit(model: &mut Model, now: Timestamp, submissions: impl Iterator<Item = Submission>) {
    for submission in submissions {
        let submission = Box::new(submission);
        let event = Event::Submitted { request_id: String::new(), submission, fork: None };
        let decision = model.decide(now, &event).expect("a good job");
        for change in &decision.changes {
            model.evolve(change);
        }
    }
}

fn settle(model: &mut Model, now: Timestamp, n_rounds: usize) {
    for _ in 0..n_rounds {
        let decision = model.decide(now, &Event::Tick).expect("a tick is never refused");
        if decision.changes.is_empty() {
            return;
        }
        for change in &decision.changes {
            model.evolve(change);
        }
    }
}

fn report(number: u32) -> v1::AgentReport {
    let memory_bytes = if number.is_multiple_of(2) { 80 << 30 } else { 40 << 30 };
    let kind = v1::DeviceKind::Cuda.into();
    let device = |index| v1::Device { index, kind, memory_bytes, ..Default::default() };
    let labels = [("rack", number / 32), ("zone", number / 1250)];
    v1::AgentReport {
        protocol_version: 1,
        node_id: format!("0192d3c4-5f6a-7b8c-9d0e-{number:012}"),
        node_name: format!("node-{number}"),
        incarnation: format!("0192d3c4-0000-7b8c-9d0e-{number:012}"),
        devices: (0..DEVICES_PER_NODE).map(device).collect(),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_string())).into(),
        ..Default::default()
    }
}

fn waiting(number: u32) -> Submission {
    let mut terms = SchedulingTerms {
        queue: format!("queue-{}", number % 4),
        priority: i32::try_from(number % 5).expect("a small number"),
        ..SchedulingTerms::default()
    };
    if number.is_multiple_of(3) {
        terms.node_selector.insert("zone".to_owned(), (number % 8).to_string());
    }
    if number.is_multiple_of(7) {
        terms.device_memory_bytes = 80 << 30;
    }
    submission([1, 2, 4, 8, 8, 16, 32, 64][number as usize % 8], terms)
}

fn submission(n_ranks: u32, scheduling: SchedulingTerms) -> Submission {
    Submission {
        name: "bench".to_owned(),
        world_size: WorldSize(n_ranks),
        world_sizes: vec![],
        needs_gpu: true,
        user_failures: 0,
        infrastructure_failures: 16,
        no_progress: 3,
        spec: Wire(v1::JobSpec { recipe: Some(v1::Recipe::default()), ..Default::default() }),
        fork_of: None,
        scheduling,
    }
}
