//! Fused steps against plain formulas.

mod ranks;

use kindred_bridge::{
    AdamWMemory, AdamWStep, ErrorKind, LarsStep, SgdStep, channels_last, clip_gradients, foreach_lerp,
    fused_adamw, fused_lars, fused_sgd, tune_allocator,
};
use ranks::noise;
use tch::{Device, Kind, Tensor};

const STEPS: [SgdStep; 4] = [
    SgdStep { lr: 0.1, momentum: 0.9, weight_decay: 5e-4, nesterov: false },
    SgdStep { lr: 0.03, momentum: 0.9, weight_decay: 0.0, nesterov: true },
    SgdStep { lr: 0.5, momentum: 0.0, weight_decay: 0.1, nesterov: false },
    SgdStep { lr: 0.0, momentum: 0.5, weight_decay: 0.1, nesterov: false },
];

/// `torch.optim.SGD` as its documentation writes it, for one element; `buffer` is `None` before the first step.
fn plain_sgd(parameter: &mut f64, gradient: f64, buffer: &mut Option<f64>, step: SgdStep) {
    let mut direction = gradient + step.weight_decay * *parameter;
    if step.momentum != 0.0 {
        let momentum = buffer.map_or(direction, |buffer| step.momentum * buffer + direction);
        *buffer = Some(momentum);
        direction = if step.nesterov { direction + step.momentum * momentum } else { momentum };
    }
    *parameter -= step.lr * direction;
}

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).reshape([-1])).expect("one dimension of doubles")
}

#[test]
fn fused_sgd_follows_the_formula() {
    for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::Double, 1e-14)] {
        for step in STEPS {
            let shapes: [&[i64]; 3] = [&[3, 5], &[7], &[2, 3, 4, 4]];
            let parameters =
                shapes.map(|shape| Tensor::randn(shape, (kind, Device::Cpu)).set_requires_grad(true));
            let buffers = parameters.each_ref().map(|parameter| parameter.zeros_like());
            let mut expected = parameters.each_ref().map(values);
            let mut plain_buffers = expected.clone().map(|values| vec![None; values.len()]);
            for n in 2..5 {
                let gradients = shapes.map(|shape| noise(shape, n).to_kind(kind));
                fused_sgd(&parameters, &gradients, &buffers, step).expect("the lists match");
                for idx in 0..parameters.len() {
                    let rows =
                        expected[idx].iter_mut().zip(values(&gradients[idx])).zip(&mut plain_buffers[idx]);
                    rows.for_each(|((parameter, gradient), buffer)| {
                        plain_sgd(parameter, gradient, buffer, step)
                    });
                }
            }
            for (parameter, expected) in parameters.iter().zip(&expected) {
                let off =
                    values(parameter).iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(off < tolerance, "{kind:?} {step:?}: off by {off:e}");
            }
        }
    }
}

#[test]
fn a_parameter_without_gradient_stays_put() {
    let parameters =
        [Tensor::ones([2], (Kind::Float, Device::Cpu)), Tensor::ones([2], (Kind::Float, Device::Cpu))];
    let buffers = parameters.each_ref().map(|parameter| parameter.zeros_like());
    let gradients = [Tensor::new(), Tensor::ones([2], (Kind::Float, Device::Cpu))];
    fused_sgd(&parameters, &gradients, &buffers, STEPS[0]).expect("the lists match");
    assert_eq!(parameters[0], Tensor::ones([2], (Kind::Float, Device::Cpu)));
    assert_ne!(parameters[1], Tensor::ones([2], (Kind::Float, Device::Cpu)));
}

#[test]
fn a_gradient_may_lie_in_memory_unlike_its_parameter() {
    let step = STEPS[0];
    let new_parameter = || Tensor::arange(24, (Kind::Float, Device::Cpu)).reshape([1, 2, 3, 4]);
    let gradient = new_parameter() * 0.5;
    let [plain, shuffled] = [new_parameter(), channels_last(&new_parameter())];
    for parameter in [&plain, &shuffled] {
        fused_sgd(&[parameter], &[&gradient], &[parameter.zeros_like()], step).expect("the lists match");
    }
    assert_eq!(plain, shuffled);
    assert_ne!(plain.stride(), shuffled.stride());
}

#[test]
fn a_momentum_buffer_laid_out_otherwise_is_refused() {
    let parameter = channels_last(&Tensor::ones([1, 2, 3, 4], (Kind::Float, Device::Cpu)));
    let buffer = Tensor::zeros([1, 2, 3, 4], (Kind::Float, Device::Cpu));
    let error =
        fused_sgd(&[&parameter], &[&parameter], &[&buffer], STEPS[0]).expect_err("the strides differ");
    assert!(error.message.contains("momentum buffer 0"), "{error}");
}

#[test]
fn lists_of_different_lengths_are_refused() {
    let tensors =
        [Tensor::ones([2], (Kind::Float, Device::Cpu)), Tensor::ones([2], (Kind::Float, Device::Cpu))];
    assert!(fused_sgd(&tensors, &tensors[..1], &tensors, STEPS[0]).is_err());
    assert!(fused_sgd(&tensors, &tensors, &tensors[..1], STEPS[0]).is_err());
    let error = foreach_lerp(&tensors, &tensors[..1], 0.5).expect_err("one source is missing");
    assert_eq!(error.kind, ErrorKind::Other, "{error}");
}

#[test]
fn every_step_names_the_list_that_is_short() {
    let two = [Tensor::ones([2], (Kind::Float, Device::Cpu)), Tensor::ones([2], (Kind::Float, Device::Cpu))];
    let lars = LarsStep { lr: 0.1, momentum: 0.9, weight_decay: 0.0, trust_coefficient: 0.001 };
    let error = fused_lars(&two, &two, &[], lars).expect_err("momentum needs its buffers");
    assert_eq!(error.message, "lars step: 2 parameters, 2 gradients, 0 momentum buffers");
    let adamw = AdamWStep { lr: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.0 };
    let memory = AdamWMemory { means: &two, squares: &two, counts: &two[..1] };
    let error = fused_adamw(&two, &two, memory, adamw).expect_err("a count is missing");
    assert_eq!(error.message, "adamw step: 2 parameters, 2 gradients, 2 means, 2 mean squares, 1 counts");
}

#[test]
fn gradients_above_the_norm_are_scaled_to_it_together() {
    let gradients =
        || [Tensor::from_slice(&[3.0, 0.0]), Tensor::new(), Tensor::from_slice(&[0.0, 4.0]).view([1, 2])];
    let above = gradients();
    let norm = clip_gradients(&above, 1.0).expect("one kind");
    assert!((norm.double_value(&[]) - 5.0).abs() < 1e-12);
    let scale = 1.0 / (5.0 + 1e-6);
    for (got, was) in values(&above[0]).iter().chain(&values(&above[2])).zip([3.0, 0.0, 0.0, 4.0]) {
        assert!((got - scale * was).abs() < 1e-12);
    }
    let below = gradients();
    let _ = clip_gradients(&below, 5.1).expect("one kind");
    assert_eq!(values(&below[0]), values(&gradients()[0]));
    assert_eq!(values(&below[2]), values(&gradients()[2]));
}

#[test]
fn no_gradient_at_all_has_norm_0() {
    let norm = clip_gradients(&[Tensor::new()], 1.0).expect("nothing to scale");
    assert_eq!(norm.double_value(&[]), 0.0);
}

#[test]
fn foreach_lerp_moves_targets_towards_sources() {
    let targets = [Tensor::from_slice(&[1.0, 2.0]).set_requires_grad(true), Tensor::from_slice(&[0.0])];
    let sources = [Tensor::from_slice(&[3.0, 2.0]), Tensor::from_slice(&[8.0]).set_requires_grad(true)];
    foreach_lerp(&targets, &sources, 0.25).expect("the lists match");
    assert_eq!(targets[0], Tensor::from_slice(&[1.5, 2.0]));
    assert_eq!(targets[1], Tensor::from_slice(&[2.0]));
    assert!(!targets[1].requires_grad());
}

#[test]
fn channels_last_changes_the_layout_alone() {
    let image = Tensor::arange(2 * 3 * 4 * 5, (Kind::Float, Device::Cpu)).reshape([2, 3, 4, 5]);
    let turned = channels_last(&image);
    assert_eq!(image, turned);
    assert_eq!(turned.stride(), [60, 1, 15, 3]);
}

#[test]
fn the_allocator_takes_the_settings() {
    assert!(tune_allocator());
}
