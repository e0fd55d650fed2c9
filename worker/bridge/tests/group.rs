//! Process groups over Gloo, with ranks as threads of this process.

mod ranks;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use kindred_bridge::{Backend, ErrorKind, GroupOptions, ProcessGroup, ReduceOp, Store};
use ranks::{TIMEOUT, beside_an_idle_peer, connect, on_ranks};
use tch::{Device, Kind, Tensor};

#[test]
fn all_reduce_combines_in_place() {
    on_ranks(3, |group| {
        let rank = f64::from(group.rank());
        for (op, expected) in [(ReduceOp::Sum, 6.0), (ReduceOp::Min, 1.0), (ReduceOp::Max, 3.0)] {
            let tensor = Tensor::from_slice(&[rank + 1.0]);
            group.all_reduce(&tensor, op).expect("all ranks are here");
            assert_eq!(tensor, Tensor::from_slice(&[expected]), "{op:?}");
        }
    });
}

#[test]
fn tensors_may_lie_in_memory_as_they_like() {
    on_ranks(2, |group| {
        let logical = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]);
        // One rank's tensor is transposed in memory, the other's is not.
        let tensor = match group.rank() {
            0 => logical.copy(),
            _ => logical.tr().contiguous().tr(),
        };
        group.all_reduce(&tensor, ReduceOp::Sum).expect("both ranks are here");
        assert_eq!(tensor, &logical * 2.0);
        assert_eq!(group.all_gather(&tensor).expect("both ranks are here").size(), [2, 2, 3]);
        group.broadcast(&tensor, 1).expect("both ranks are here");
        assert_eq!(tensor, &logical * 2.0);
    });
}

#[test]
fn all_gather_is_in_rank_order_and_without_gradient() {
    on_ranks(3, |group| {
        let local = Tensor::from_slice(&[f64::from(group.rank())]).set_requires_grad(true);
        let gathered = group.all_gather(&local).expect("all ranks are here");
        assert_eq!(gathered, Tensor::from_slice(&[0.0, 1.0, 2.0]).unsqueeze(1));
        assert!(!gathered.requires_grad());
    });
}

#[test]
fn broadcast_overwrites_with_the_roots_tensor() {
    on_ranks(3, |group| {
        let tensor = Tensor::from_slice(&[i64::from(group.rank())]);
        group.broadcast(&tensor, 2).expect("all ranks are here");
        assert_eq!(tensor, Tensor::from_slice(&[2_i64]));
    });
}

#[test]
fn operations_in_flight_end_in_order() {
    on_ranks(2, |group| {
        let tensors: Vec<Tensor> =
            (0..20).map(|n| Tensor::full([1000], n, (Kind::Float, Device::Cpu))).collect();
        let start = |tensor| group.all_reduce_async(tensor, ReduceOp::Sum).expect("the group is whole");
        let works: Vec<_> = tensors.iter().map(start).collect();
        works.into_iter().for_each(|work| work.wait().expect("both ranks are here"));
        for (n, tensor) in tensors.iter().enumerate() {
            assert_eq!(tensor.double_value(&[999]), 2.0 * n as f64);
        }
        group.barrier().expect("both ranks are here");
    });
}

#[test]
fn groups_of_one_store_are_told_apart_by_name() {
    let store = Store::in_process().expect("there is memory for a store");
    thread::scope(|scope| {
        for rank in 0..2 {
            let store = &store;
            scope.spawn(move || {
                for name in ["one", "two"] {
                    let group =
                        ProcessGroup::connect(store, &options(name, rank, 2, TIMEOUT)).expect("both come");
                    group.barrier().expect("both ranks are here");
                }
            });
        }
    });
}

#[test]
fn a_rank_that_never_comes_is_a_timeout() {
    let store = Store::in_process().expect("there is memory for a store");
    let started = Instant::now();
    let error = connect(&store, 0, 2, Duration::from_millis(300)).err().expect("rank 1 does not come");
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    assert!(error.message.starts_with("connect rank 0 of 2 in group test: "), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_lost_peer_is_told_at_once() {
    let waited = on_ranks(2, |group| {
        if group.rank() == 1 {
            return None;
        }
        let started = Instant::now();
        let tensor = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        let error = group.all_reduce(&tensor, ReduceOp::Sum).expect_err("rank 1 is gone");
        assert_eq!(error.kind, ErrorKind::PeerLost, "{error}");
        drop(group);
        Some(started.elapsed())
    });
    assert!(waited[0].expect("rank 0 waited") < Duration::from_secs(5));
}

#[test]
fn a_hanging_peer_is_a_timeout_and_the_drop_ends() {
    beside_an_idle_peer(Duration::from_millis(500), |group| {
        let started = Instant::now();
        let tensor = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        let unwaited = group.all_reduce_async(&tensor, ReduceOp::Sum).expect("the group is whole");
        let error = group.all_reduce(&tensor, ReduceOp::Sum).expect_err("rank 1 hangs");
        assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
        drop(unwaited);
        drop(group);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    });
}

#[test]
fn an_aborted_group_refuses_operations() {
    on_ranks(2, |group| {
        group.abort().expect("Gloo has nothing that could fail");
        let error = group.barrier().expect_err("the group was aborted");
        assert!(error.message.contains("aborted"), "{error}");
    });
}

#[test]
fn an_abort_ends_what_waits_for_a_hanging_peer() {
    beside_an_idle_peer(TIMEOUT, |group| {
        let (started, aborter, is_submitted) = (Instant::now(), group.aborter(), Barrier::new(2));
        let tensor = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        let waited = thread::scope(|scope| {
            scope.spawn(|| {
                is_submitted.wait();
                aborter.abort().expect("Gloo has nothing that could fail");
            });
            let in_flight = group.all_reduce_async(&tensor, ReduceOp::Sum).expect("the group is whole");
            is_submitted.wait();
            in_flight.wait()
        });
        let error = waited.expect_err("the group is aborted");
        assert_eq!(error.kind, ErrorKind::PeerLost, "{error}");
        drop(group);
        assert!(started.elapsed() < TIMEOUT / 4, "{:?}", started.elapsed());
    });
}

#[test]
fn a_missing_address_is_an_error() {
    let store = Store::in_process().expect("there is memory for a store");
    let mut options = options("test", 0, 1, TIMEOUT);
    options.address = "256.0.0.1".to_owned();
    assert!(ProcessGroup::connect(&store, &options).is_err());
}

#[test]
fn nccl_without_a_gpu_is_unavailable() {
    if tch::Cuda::is_available() {
        return;
    }
    let store = Store::in_process().expect("there is memory for a store");
    let options = GroupOptions { backend: Backend::Nccl, ..options("test", 0, 1, TIMEOUT) };
    let error = ProcessGroup::connect(&store, &options).err().expect("there is no GPU");
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let reason = if cfg!(feature = "cuda") { "no GPUs found" } else { "this build has no NCCL" };
    assert!(error.message.contains(reason), "{error}");
}

fn options(name: &str, rank: u32, world_size: u32, timeout: Duration) -> GroupOptions {
    GroupOptions { name: name.to_owned(), ..ranks::options(rank, world_size, timeout) }
}
