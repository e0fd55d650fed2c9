//! Ranks as threads that meet through an in-process store.
#![allow(dead_code)]

use std::thread;
use std::time::Duration;

use kindred_bridge::{Backend, Error, GroupOptions, ProcessGroup, Store};

/// Long enough for a busy machine; the tests that wait for it to run out set their own.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Joins a group on the loopback address.
pub fn connect(store: &Store, rank: u32, world_size: u32, timeout: Duration) -> Result<ProcessGroup, Error> {
    let options = GroupOptions {
        name: "test".to_owned(),
        backend: Backend::Gloo,
        rank,
        world_size,
        timeout,
        address: "127.0.0.1".to_owned(),
        device_index: 0,
    };
    ProcessGroup::connect(store, &options)
}

/// Runs `body` on each rank of a new group, and returns what they returned, in rank order.
pub fn on_ranks<T: Send>(world_size: u32, body: impl Fn(ProcessGroup) -> T + Sync) -> Vec<T> {
    let store = Store::in_process().expect("there is memory for a store");
    thread::scope(|scope| {
        let (store, body) = (&store, &body);
        let start = |rank| {
            let run = move || body(connect(store, rank, world_size, TIMEOUT).expect("all ranks come"));
            scope.spawn(run)
        };
        let threads: Vec<_> = (0..world_size).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("the rank does not panic")).collect()
    })
}
