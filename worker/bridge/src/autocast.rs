//! Mixed precision.

use tch::{Device, Kind};

use crate::ffi;

/// Runs `f` with libtorch choosing `kind` for the operations that are safe in it, or with autocast off for `None`.
///
/// Autocast is a setting of the thread. Casts of weights are cached until the outermost scope ends, so weights must
/// not change inside of it.
///
/// # Panics
/// When `kind` is neither `BFloat16` nor `Half`, or the device is neither the CPU nor CUDA.
pub fn with_autocast<T>(device: Device, kind: Option<Kind>, f: impl FnOnce() -> T) -> T {
    let is_cuda = match device {
        Device::Cpu => false,
        Device::Cuda(_) => true,
        other => panic!("no autocast for {other:?}"),
    };
    let guard = ffi::enter_autocast(is_cuda, kind.map_or(0, scalar_type), kind.is_some());
    let _guard = guard.expect("libtorch has autocast for the CPU and for CUDA");
    f()
}

/// Returns the number of a `c10::ScalarType`.
fn scalar_type(kind: Kind) -> i8 {
    match kind {
        Kind::Half => 5,
        Kind::BFloat16 => 15,
        other => panic!("no autocast to {other:?}"),
    }
}
