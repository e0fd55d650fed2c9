//! Ranks as threads of one process.

use std::thread;
use std::time::Duration;

use kindred_bridge::{Backend, GroupOptions, Store};

use super::Collective;

/// Runs `body` on every rank of a world of threads, over Gloo on the loopback address, and returns what they returned
/// in rank order. For tests: what libtorch keeps per thread (gradient mode, autocast) each rank has for itself.
///
/// # Panics
/// When the ranks cannot meet, or one of them panics.
pub fn on_threads<T: Send>(world_size: u32, body: impl Fn(Collective) -> T + Sync) -> Vec<T> {
    let store = Store::in_process().expect("there is memory for a store");
    let run = |rank| {
        let options = GroupOptions {
            name: "threads".to_owned(),
            backend: Backend::Gloo,
            rank,
            world_size,
            timeout: Duration::from_secs(60),
            address: "127.0.0.1".to_owned(),
            device_index: 0,
        };
        body(Collective::connect(&store, &options).expect("every thread comes"))
    };
    let run = &run;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..world_size).map(|rank| scope.spawn(move || run(rank))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no rank panics")).collect()
    })
}
