//! What the game over learned views does to what the views share, and to what is learnt from them.
//!
//! Images of three channels that show one pattern each, of one of four kinds, under noise of every channel's own. At
//! first the views share the pattern; the flow can take it out of one of them by what it sees in the other.

use kindred_proto::job_spec::{self, JobSpec};
use kindred_worker::{
    collective::Collective,
    methods::{self, At, Images, Input},
    nn::{Pass, Stream},
    train::Trainer,
};
use tch::{Device, Kind, Tensor, no_grad};

const N_CLASSES: i64 = 4;
const BATCH: i64 = 32;
const STEPS_PER_EPOCH: u64 = 8;
const SIZE: i64 = 8;

fn normals(name: &str, shape: &[i64]) -> Tensor {
    let mut stream = Stream::new(0, name);
    let values: Vec<f64> = (0..shape.iter().product::<i64>()).map(|_| stream.normal()).collect();
    Tensor::from_slice(&values).view(shape)
}

/// The images of a step of an epoch; their labels are 0 to 3 in turn.
fn images(part: &str) -> Tensor {
    let smooth = |name: String, n: i64| {
        normals(&name, &[n, 1, 4, 4]).upsample_bilinear2d([SIZE; 2], false, None, None)
    };
    let kinds = smooth("kinds".to_owned(), N_CLASSES).repeat([BATCH / N_CLASSES, 1, 1, 1]);
    let patterns = kinds + smooth(format!("patterns {part}"), BATCH);
    patterns.repeat([1, 3, 1, 1]) + normals(&format!("noise {part}"), &[BATCH, 3, SIZE, SIZE]) * 0.3
}

/// What came out of a run.
struct Run {
    /// I_NCE at each step.
    shared: Vec<f64>,
    trainer: Trainer,
}

fn run(parameters: &str, n_epochs: u64, seed: u64) -> Run {
    tch::set_num_threads(1);
    let text = format!(
        "name: game\nranks: 1\ndevice: cpu\nrecipe:\n  data: {{image_folder: {{train: images}}}}\n  encoder: {{resnet: \
         {{width: 8, stem: cifar}}}}\n  method: {{learned_views: {{hidden_dim: 16, projector: {{out_dim: 16}}, \
         {parameters}}}}}\n  optimizer: {{adamw: {{lr: 2.0e-3, weight_decay: 0.0}}, groups: [{{prefix: online.encoder.flow., \
         lr_scale: 20.0}}]}}\n  training: {{global_batch: {BATCH}, seed: {seed}, precision: fp64}}\n"
    );
    let spec = JobSpec::check(&job_spec::from_yaml(&text, &[]).expect("the text is a job"));
    let spec = spec.expect("the job is sound");
    let labels: Vec<u32> = (0..STEPS_PER_EPOCH as u32 * BATCH as u32).map(|image| image % 4).collect();
    let images_of =
        Images { n_channels: 3, n_images: labels.len() as u64, labels: Some(&labels), n_classes: 4 };
    let method = methods::build(&spec, &images_of, Device::Cpu).expect("the processor is there");
    let mut trainer = Trainer::new(method, &spec, Collective::single()).expect("one rank is like itself");
    let total_steps = n_epochs * STEPS_PER_EPOCH;
    let shared = (0..total_steps).map(|step| {
        let part = step % STEPS_PER_EPOCH;
        let samples_b = Tensor::arange(BATCH, (Kind::Int64, Device::Cpu)) + BATCH * part as i64;
        let input = Input { views: vec![images(&part.to_string())], samples_b };
        let at = At { step, total_steps, steps_per_epoch: STEPS_PER_EPOCH };
        let outcome = trainer.step(&input, &at, 2e-3).expect("no peer is lost");
        let (_, shared) =
            outcome.metrics.iter().find(|(name, _)| *name == "shared_information").expect("it is one");
        shared.double_value(&[])
    });
    Run { shared: shared.collect(), trainer }
}

impl Run {
    /// The mean over the last epoch.
    fn shared_at_last(&self) -> f64 {
        self.shared.iter().rev().take(STEPS_PER_EPOCH as usize).sum::<f64>() / STEPS_PER_EPOCH as f64
    }

    /// Share of new images whose class a linear map of their features names, fitted to the training images by ridge
    /// regression.
    fn linear_accuracy(&self) -> f64 {
        let features = |prefix: &str| {
            let of_part = |part: u64| {
                let images = images(&format!("{prefix}{part}"));
                no_grad(|| self.trainer.method().encoder().features(&images, Pass::Evaluate))
                    .expect("one rank")
            };
            let rows = Tensor::cat(&(0..STEPS_PER_EPOCH).map(of_part).collect::<Vec<_>>(), 0);
            Tensor::cat(&[&rows, &Tensor::ones([rows.size()[0], 1], (Kind::Double, Device::Cpu))], 1)
        };
        let (train, test) = (features(""), features("new "));
        let labels = Tensor::arange(train.size()[0], (Kind::Int64, Device::Cpu)).remainder(N_CLASSES);
        let one_hot = labels.one_hot(N_CLASSES).to_kind(Kind::Double);
        let transposed = train.transpose(0, 1);
        let ridge = Tensor::eye(train.size()[1], (Kind::Double, Device::Cpu)) * 1e-2;
        let weights = (transposed.matmul(&train) + ridge).inverse().matmul(&transposed.matmul(&one_hot));
        let found = test.matmul(&weights).argmax(1, false);
        found.eq_tensor(&labels).to_kind(Kind::Double).mean(None).double_value(&[])
    }
}

#[test]
fn the_unsupervised_game_lowers_what_the_views_share() {
    for preserves_volume in [true, false] {
        let shared = |game_epochs: u32| {
            let parameters = format!("preserves_volume: {preserves_volume}, game_epochs: {game_epochs}");
            run(&parameters, 8, 1).shared_at_last()
        };
        let (still, played) = (shared(0), shared(8));
        assert!(
            played < 0.5 * still,
            "volume preserved: {preserves_volume}: {played}, {still} without the game"
        );
    }
}

/// The flow scales, so that it can take a class out of both views; each figure is the mean of two seeds.
#[test]
fn views_that_saw_labels_teach_more_about_classes_than_those_that_did_not() {
    let accuracy = |share: f64| {
        let parameters = format!("game_epochs: 14, preserves_volume: false, labelled_share: {share}");
        (1..=2).map(|seed| run(&parameters, 36, seed).linear_accuracy()).sum::<f64>() / 2.0
    };
    let (unsupervised, semi_supervised) = (accuracy(0.0), accuracy(0.5));
    assert!(semi_supervised > unsupervised + 0.03, "{semi_supervised} with labels, {unsupervised} without");
}
