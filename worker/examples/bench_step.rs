//! One training step of MoCo v2 as a persistent process: Kindred's side of `make bench-step`.
//!
//!     bench_step BATCH THREADS
//!
//! Prints `ready`, then answers each line `run N` with `N SECONDS LOSS`. It drives the step that jobs run; the images are
//! made once, so that only the step is timed.

use std::{
    io::{BufRead as _, Write as _, stdin, stdout},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use kindred_bridge::{channels_last, tune_allocator};
use kindred_proto::job_spec::{self, JobSpec};
use kindred_worker::{
    collective::Collective,
    methods::{self, At, Images, Input},
    train::Trainer,
};
use tch::{Device, Kind, Tensor};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number =
        || -> Result<i64> { Ok(arguments.next().context("usage: bench_step BATCH THREADS")?.parse()?) };
    let (batch, threads) = (number()?, number()?);
    tune_allocator();
    tch::set_num_threads(i32::try_from(threads)?);
    tch::set_num_interop_threads(1);
    tch::manual_seed(0);

    let spec = spec(batch)?;
    let images = Images { n_channels: 3, n_images: u64::try_from(batch)?, labels: None, n_classes: 0 };
    let method = methods::build(&spec, &images, Device::Cpu)?;
    let mut trainer = Trainer::new(method, &spec, Collective::single())?;
    let view = || channels_last(&Tensor::randn([batch, 3, 32, 32], (Kind::Float, Device::Cpu)));
    let input =
        Input { views: vec![view(), view()], samples_b: Tensor::arange(batch, (Kind::Int64, Device::Cpu)) };
    let mut step = 0;
    let mut run = |n: u64| -> Result<f64> {
        let mut loss = f64::NAN;
        for left in (0..n).rev() {
            let outcome =
                trainer.step(&input, &At { step, total_steps: 1_000_000, steps_per_epoch: 1_000 }, 0.03)?;
            step += 1;
            if left == 0 {
                loss = outcome.loss.double_value(&[]);
            }
        }
        Ok(loss)
    };
    run(3)?;
    writeln!(stdout(), "ready")?;
    for line in stdin().lock().lines() {
        let line = line?;
        let Some(n) = line.strip_prefix("run ") else { bail!("expected `run N`, got {line:?}") };
        let start = Instant::now();
        let loss = run(n.parse()?)?;
        writeln!(stdout(), "{n} {:.6} {loss:.4}", start.elapsed().as_secs_f64())?;
    }
    Ok(())
}

/// MoCo v2 on ResNet-18 with the CIFAR stem, at Kindred's defaults for precision and layout.
fn spec(batch: i64) -> Result<JobSpec> {
    let yaml = format!(
        "
name: bench-step
ranks: 1
device: cpu
recipe:
  data: {{image_folder: {{train: images}}}}
  encoder: {{resnet: {{depth: 18, stem: cifar}}}}
  method: {{moco_v2: {{queue_size: 4096, momentum: 0.99}}}}
  optimizer: {{sgd: {{lr: 0.03}}}}
  training: {{epochs: 1, global_batch: {batch}}}
"
    );
    Ok(JobSpec::check(&job_spec::from_yaml(&yaml, &[])?)?)
}
