//! Ranks as threads that meet through an in-process store.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use kindred_bridge::{Backend, Error, GroupOptions, ProcessGroup, Store};
use tch::{Device, Kind, Tensor};

/// Long enough for a busy machine; the tests that wait for it to run out set their own.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Doubles in (-0.5, 0.5) that look random: libtorch's own generator is shared by all threads.
pub fn noise(shape: &[i64], seed: i64) -> Tensor {
    let n = shape.iter().product::<i64>();
    let angle = Tensor::arange(n, (Kind::Double, Device::Cpu)) * 12.9898 + (seed + 1) as f64 * 78.233;
    ((angle.sin() * 43758.5453).frac() * 0.5).reshape(shape)
}

/// A group on the loopback address.
pub fn options(rank: u32, world_size: u32, timeout: Duration) -> GroupOptions {
    GroupOptions {
        name: "test".to_owned(),
        backend: Backend::Gloo,
        rank,
        world_size,
        timeout,
        address: "127.0.0.1".to_owned(),
        device_index: 0,
    }
}

/// Joins a group on the loopback address.
pub fn connect(store: &Store, rank: u32, world_size: u32, timeout: Duration) -> Result<ProcessGroup, Error> {
    ProcessGroup::connect(store, &options(rank, world_size, timeout))
}

/// Runs `body` on each rank of a new group, and returns what they returned, in rank order.
pub fn on_ranks<T: Send>(world_size: u32, body: impl Fn(ProcessGroup) -> T + Sync) -> Vec<T> {
    let store = Store::in_process().expect("there is memory for a store");
    on_ranks_of(&store, world_size, body)
}

/// As [`on_ranks`], through this store.
pub fn on_ranks_of<T: Send>(
    store: &Store,
    world_size: u32,
    body: impl Fn(ProcessGroup) -> T + Sync,
) -> Vec<T> {
    thread::scope(|scope| {
        let body = &body;
        let start = |rank| {
            scope.spawn(move || body(connect(store, rank, world_size, TIMEOUT).expect("all ranks come")))
        };
        let threads: Vec<_> = (0..world_size).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("the rank does not panic")).collect()
    })
}

/// Runs `body` as rank 0 of two, while rank 1 does nothing.
pub fn beside_an_idle_peer(timeout: Duration, body: impl FnOnce(ProcessGroup)) {
    let store = Store::in_process().expect("there is memory for a store");
    let (both_connected, rank_0_done) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _idle = connect(&store, 1, 2, TIMEOUT).expect("both come");
            both_connected.wait();
            rank_0_done.wait();
        });
        let group = connect(&store, 0, 2, timeout).expect("both come");
        both_connected.wait();
        body(group);
        rank_0_done.wait();
    });
}
