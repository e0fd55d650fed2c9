//! The boundary itself: what C++ and Rust see of each other. Everything here is wrapped by a safe item elsewhere.

#![allow(missing_docs)]

use crate::store::StoreHandler;

#[cxx::bridge(namespace = "kindred")]
mod bridge {
    /// Must match c10d's meaning in `torch_op` of cpp/group.cpp.
    #[derive(Debug)]
    enum ReduceOp {
        Sum,
        Min,
        Max,
    }

    struct GroupConfig {
        is_nccl: bool,
        name: String,
        rank: i32,
        world_size: i32,
        timeout_ms: i64,
        address: String,
        device_index: i32,
    }

    struct SgdConfig {
        lr: f64,
        momentum: f64,
        weight_decay: f64,
        nesterov: bool,
    }

    struct LarsConfig {
        lr: f64,
        momentum: f64,
        weight_decay: f64,
        trust_coefficient: f64,
    }

    struct AdamWConfig {
        lr: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        weight_decay: f64,
    }

    struct AdamWMemory<'a> {
        means: &'a [TensorRef],
        squares: &'a [TensorRef],
        counts: &'a [TensorRef],
    }

    /// A tensor of tch's, borrowed for one call.
    struct TensorRef {
        tensor: *const Tensor,
    }

    extern "Rust" {
        type StoreHandler;
        fn duplicate(self: &StoreHandler) -> Box<StoreHandler>;
        fn set(self: &StoreHandler, key: &CxxString, value: &[u8]) -> Result<()>;
        fn get(self: &StoreHandler, key: &CxxString, timeout_ms: i64) -> Result<Vec<u8>>;
        fn add(self: &StoreHandler, key: &CxxString, amount: i64) -> Result<i64>;
        fn compare_set(
            self: &StoreHandler,
            key: &CxxString,
            expected: &[u8],
            desired: &[u8],
        ) -> Result<Vec<u8>>;
        fn wait(self: &StoreHandler, keys: Vec<String>, timeout_ms: i64) -> Result<()>;
        fn check(self: &StoreHandler, keys: Vec<String>) -> bool;
        fn delete_key(self: &StoreHandler, key: &CxxString) -> Result<bool>;
        fn count_keys(self: &StoreHandler) -> Result<i64>;
        fn append(self: &StoreHandler, key: &CxxString, value: &[u8]) -> Result<()>;
    }

    unsafe extern "C++" {
        include!("bridge.h");

        #[namespace = "at"]
        type Tensor;

        type Store;
        fn new_rust_store(handler: Box<StoreHandler>, timeout_ms: i64) -> Result<SharedPtr<Store>>;
        fn new_hash_store(timeout_ms: i64) -> Result<SharedPtr<Store>>;
        fn set(self: &Store, key: &str, value: &[u8]) -> Result<()>;
        fn get(self: &Store, key: &str, timeout_ms: i64) -> Result<Vec<u8>>;
        fn add(self: &Store, key: &str, amount: i64) -> Result<i64>;
        fn compare_set(self: &Store, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>>;
        fn wait(self: &Store, keys: &[String], timeout_ms: i64) -> Result<()>;
        fn check(self: &Store, keys: &[String]) -> Result<bool>;
        fn delete_key(self: &Store, key: &str) -> Result<bool>;
        fn count_keys(self: &Store) -> Result<i64>;
        fn append(self: &Store, key: &str, value: &[u8]) -> Result<()>;

        type Work;
        fn wait(self: &Work) -> Result<()>;

        type Group;
        fn connect_group(store: &Store, config: &GroupConfig) -> Result<SharedPtr<Group>>;
        fn all_reduce(self: &Group, tensor: &Tensor, op: ReduceOp) -> Result<UniquePtr<Work>>;
        fn all_gather(self: &Group, local: &Tensor) -> Result<*mut Tensor>;
        fn broadcast(self: &Group, tensor: &Tensor, root: u32) -> Result<UniquePtr<Work>>;
        fn barrier(self: &Group) -> Result<()>;
        fn abort(self: &Group) -> Result<()>;

        fn backward(root: &Tensor) -> Result<()>;
        fn all_gather_with_grad(group: &Group, local: &Tensor) -> Result<*mut Tensor>;
        fn clear_grads(parameters: &[TensorRef]) -> Result<()>;

        type Reducer;
        fn new_reducer(
            group: &Group,
            parameters: &[TensorRef],
            bucket_bytes: u64,
            first_bucket_bytes: u64,
        ) -> Result<UniquePtr<Reducer>>;
        fn prepare_forward(self: Pin<&mut Reducer>) -> Result<()>;
        fn prepare_backward(self: Pin<&mut Reducer>, outputs: &[TensorRef]) -> Result<()>;

        type Autocast;
        fn enter_autocast(is_cuda: bool, dtype: i8, enabled: bool) -> Result<UniquePtr<Autocast>>;

        fn fused_sgd(
            parameters: &[TensorRef],
            gradients: &[TensorRef],
            momentum_buffers: &[TensorRef],
            config: &SgdConfig,
        ) -> Result<()>;
        fn fused_lars(
            parameters: &[TensorRef],
            gradients: &[TensorRef],
            momentum_buffers: &[TensorRef],
            config: &LarsConfig,
        ) -> Result<()>;
        fn fused_adamw(
            parameters: &[TensorRef],
            gradients: &[TensorRef],
            memory: &AdamWMemory,
            config: &AdamWConfig,
        ) -> Result<()>;
        fn foreach_lerp(targets: &[TensorRef], sources: &[TensorRef], weight: f64) -> Result<()>;
        fn clip_gradients(gradients: &[TensorRef], max_norm: f64) -> Result<*mut Tensor>;

        fn channels_last(tensor: &Tensor) -> Result<*mut Tensor>;
        fn keep_big_blocks_on_the_heap() -> bool;
    }

    // What aborts a group does not keep it.
    impl WeakPtr<Group> {}
}

pub(crate) use bridge::*;

// SAFETY: a c10d::Store locks what it shares, or asks a `KeyValueStore`, which is `Send + Sync`.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

// SAFETY: operations are submitted under the group's lock, and the rest of it never changes.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

// SAFETY: c10d::Work is made to be waited for on any thread.
unsafe impl Send for Work {}

// SAFETY: nothing in c10d::Reducer belongs to a thread, and `&mut` keeps it to one at a time.
unsafe impl Send for Reducer {}
