//! InfoMin and MoCo v2.

use kindred_proto::job_spec::{self, JobSpec};
use kindred_worker::{
    collective::Collective,
    methods::{self, At, Input},
    train::Trainer,
};
use tch::{Device, Kind, Tensor};

use crate::rows;

/// Losses of a few steps on images of noise.
fn losses(method: &str) -> Vec<f64> {
    let text = format!(
        "name: identity\nranks: 1\ndevice: cpu\nrecipe:\n  data: {{fashion_mnist: {{}}}}\n  encoder: {{resnet: {{width: \
         4}}}}\n  method: {method}\n  training: {{global_batch: 8, precision: fp64}}\n"
    );
    let spec = JobSpec::check(&job_spec::from_yaml(&text, &[]).expect("the text is a job"));
    let spec = spec.expect("the job is sound");
    let images = methods::Images { n_channels: 1, n_images: 160, labels: None, n_classes: 0 };
    let method = methods::build(&spec, &images, Device::Cpu).expect("the processor is there");
    let mut trainer = Trainer::new(method, &spec, Collective::single()).expect("one rank is like itself");
    let loss = |step: u64| {
        let view = |view: &str| rows(&format!("{view} {step}"), 8, 256).view([8, 1, 16, 16]) * 16.0;
        let samples_b = Tensor::arange(8, (Kind::Int64, Device::Cpu));
        let input = Input { views: vec![view("query"), view("key")], samples_b };
        let at = At { step, total_steps: 10, steps_per_epoch: 10 };
        trainer.step(&input, &at, 0.05).expect("no peer is lost").loss.double_value(&[])
    };
    (0..4).map(loss).collect()
}

#[test]
fn infomin_without_patches_is_moco_v2() {
    let parameters =
        "temperature: 0.2, queue_size: 16, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8}";
    let infomin = losses(&format!("{{infomin: {{beta: 0.0, {parameters}}}}}"));
    assert_eq!(infomin, losses(&format!("{{moco_v2: {{{parameters}}}}}")));
}
