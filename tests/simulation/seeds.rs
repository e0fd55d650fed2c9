//! Many seeds on all cores, and what is printed of those that fail.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, Once,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use kindred_coordinator::telemetry::Telemetry;
use tokio::runtime::{Builder, Runtime};

use crate::{
    cluster::{self, Report},
    schedule::Schedule,
    world::{Counts, Plant},
};

/// Seeds of the short form.
const FEW: u64 = 30;

/// Lines of a trace that are printed when one seed among many fails.
const TAIL: usize = 40;

/// Failing seeds that are printed with their trace.
const MAX_TRACES: usize = 3;

/// The seeds that the environment asks for.
pub fn wanted() -> Vec<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
    };
    match number("KINDRED_SIMULATE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("KINDRED_SIMULATE_SEEDS").unwrap_or(FEW)).collect(),
    }
}

/// A seed that failed.
pub struct Failed {
    pub seed: u64,
    pub violation: String,
    pub trace: Vec<String>,
}

/// What became of many seeds.
#[derive(Default)]
pub struct Outcome {
    /// Those that failed, in their order.
    pub failed: Vec<Failed>,
    /// How often each end of a job came.
    pub states: BTreeMap<&'static str, u64>,
    pub counts: Counts,
    n_run: u64,
}

/// Runs seeds on all cores, and says every now and then how far it is.
pub fn run_all(seeds: &[u64], plant: Plant) -> Outcome {
    let (next, outcome) = (AtomicUsize::new(0), Mutex::new(Outcome::default()));
    let n_threads = thread::available_parallelism().map_or(1, usize::from).min(seeds.len().max(1));
    thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(|| {
                let telemetry = closed_telemetry();
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = run(&Schedule::of(*seed), plant, &telemetry);
                    outcome.lock().expect("nothing panics with it").take_in(*seed, report);
                }
            });
        }
    });
    let mut outcome = outcome.into_inner().expect("nothing panics with it");
    outcome.failed.sort_by_key(|failed| failed.seed);
    outcome
}

impl Outcome {
    fn take_in(&mut self, seed: u64, report: Report) {
        let Report { violation, trace, states, counts } = report;
        if let Some(violation) = violation {
            eprintln!("seed {seed}: {violation}");
            self.failed.push(Failed { seed, violation, trace });
        }
        for state in states {
            *self.states.entry(state.name()).or_default() += 1;
        }
        self.counts.add(counts);
        self.n_run += 1;
        if self.n_run.is_multiple_of(100) {
            eprintln!("{} seeds, {} failed", self.n_run, self.failed.len());
        }
    }
}

/// Runs one schedule in simulated time, on this thread. A panic anywhere is a violation.
pub fn run(schedule: &Schedule, plant: Plant, telemetry: &Telemetry) -> Report {
    catch_panics();
    let runtime = runtime(true);
    let run = || runtime.block_on(cluster::run(schedule, plant, telemetry.clone()));
    let report = catch_unwind(AssertUnwindSafe(run));
    let panic = PANIC.with_borrow_mut(Option::take);
    match (report, panic) {
        (Ok(report), None) => report,
        (Ok(report), Some(text)) => Report { violation: Some(text), ..report },
        (Err(_), text) => Report { violation: text, ..Report::default() },
    }
}

/// Prints what failed, and how it is repeated.
pub fn print(failed: &[Failed]) {
    for (number, Failed { seed, violation, trace }) in failed.iter().enumerate() {
        let is_alone = std::env::var("KINDRED_SIMULATE_SEED").is_ok_and(|text| !text.is_empty());
        let n_lines = if is_alone { trace.len() } else { TAIL.min(trace.len()) };
        if number < MAX_TRACES {
            trace[trace.len() - n_lines..].iter().for_each(|line| eprintln!("{line}"));
        }
        eprintln!("seed {seed}: {violation}\n    repeat it: make simulate SEED={seed}\n");
    }
}

/// Telemetry whose every write fails, as on a full disk: SQLite lives on threads of its own, which have no part in
/// simulated time.
pub fn closed_telemetry() -> Telemetry {
    let folder = tempfile::tempdir().expect("a folder");
    runtime(false).block_on(async {
        let telemetry = Telemetry::open(folder.path().join("telemetry.sqlite"), 1).await.expect("a new file");
        telemetry.close().await;
        telemetry
    })
}

fn runtime(is_paused: bool) -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(is_paused).build().expect("a runtime")
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what this thread's panics say.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANIC.with_borrow_mut(|kept| {
                kept.get_or_insert(panic.to_string());
            });
            default(panic);
        }));
    });
}
