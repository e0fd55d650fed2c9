//! Mixed precision on the CPU.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kindred_bridge::with_autocast;
use tch::{Device, Kind, Tensor};

const BF16: Option<Kind> = Some(Kind::BFloat16);

fn ones(kind: Kind) -> Tensor {
    Tensor::ones([2, 2], (kind, Device::Cpu))
}

#[test]
fn products_are_bf16_inside_and_f32_outside() {
    let weight = ones(Kind::Float);
    let product = || weight.matmul(&weight).kind();
    assert_eq!(with_autocast(Device::Cpu, BF16, product), Kind::BFloat16);
    assert_eq!(product(), Kind::Float);
}

#[test]
fn scopes_nest_and_restore() {
    let weight = ones(Kind::Float);
    let product = || weight.matmul(&weight).kind();
    with_autocast(Device::Cpu, BF16, || {
        assert_eq!(with_autocast(Device::Cpu, None, product), Kind::Float);
        assert_eq!(with_autocast(Device::Cpu, Some(Kind::Half), product), Kind::Half);
        assert_eq!(product(), Kind::BFloat16);
    });
    assert_eq!(product(), Kind::Float);
}

#[test]
fn a_changed_weight_is_seen_by_the_next_scope() {
    let mut weight = ones(Kind::Float).set_requires_grad(true);
    let input = ones(Kind::Float);
    let output =
        |weight: &Tensor| with_autocast(Device::Cpu, BF16, || input.matmul(weight)).double_value(&[0, 0]);
    assert_eq!(output(&weight), 2.0);
    tch::no_grad(|| weight *= 3.0);
    assert_eq!(output(&weight), 6.0);
}

#[test]
fn a_scope_ends_with_a_panic_too() {
    let weight = ones(Kind::Float);
    let scope = || with_autocast(Device::Cpu, BF16, || panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(scope)).is_err());
    assert_eq!(weight.matmul(&weight).kind(), Kind::Float);
}
