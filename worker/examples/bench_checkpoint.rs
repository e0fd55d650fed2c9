//! How long a checkpoint holds training up, as a persistent process: `make bench-checkpoint`.
//!
//!     bench_checkpoint BATCH THREADS FOLDER
//!
//! Prints `ready`, then answers each line `pair` with `SYNCHRONOUS ASYNCHRONOUS WRITTEN BYTES`: the seconds for which training
//! waits when it writes a checkpoint of its state itself, those when it hands a copy to the writer of jobs, the seconds until
//! that one was in place, and its length. Steps of MoCo v2 on ResNet-18 go on before, between and after, as in a job; the images
//! are made once.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, Write as _, stdin, stdout},
    path::{Path, PathBuf},
    sync::mpsc::{Sender, channel},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use kindred_bridge::{channels_last, tune_allocator};
use kindred_proto::{
    ids::{CheckpointId, Generation, JobId, Step, WorldSize},
    job_spec::{self, JobSpec},
    v1,
};
use kindred_worker::{
    checkpoint::{Manifest, remove_all_but, stage},
    collective::Collective,
    methods::{self, At, Images, Input},
    train::{Answer, Gate, Order, Trainer, Writer},
};
use tch::{Device, Kind, Tensor};

/// Steps after which a checkpoint that was handed over is in place.
const MAX_STEPS: u32 = 1_000;

/// Says yes, on the thread that asks.
struct Yes(Sender<CheckpointId>);

impl Gate for Yes {
    fn ask(&self, checkpoint: &CheckpointId) {
        let _ = self.0.send(checkpoint.clone());
    }

    fn committed(&self, _: v1::Checkpoint) {}
}

/// A job of one rank, with the least that a step needs.
struct Job {
    trainer: Trainer,
    input: Input,
    step: u64,
    folder: PathBuf,
}

impl Job {
    fn new(batch: i64, folder: PathBuf) -> Result<Self> {
        let spec = spec(batch)?;
        let images = Images { n_channels: 3, n_images: u64::try_from(batch)?, labels: None, n_classes: 0 };
        let method = methods::build(&spec, &images, Device::Cpu)?;
        let view = || channels_last(&Tensor::randn([batch, 3, 32, 32], (Kind::Float, Device::Cpu)));
        let samples_b = Tensor::arange(batch, (Kind::Int64, Device::Cpu));
        Ok(Self {
            trainer: Trainer::new(method, &spec, Collective::single())?,
            input: Input { views: vec![view(), view()], samples_b },
            step: 0,
            folder,
        })
    }

    fn step(&mut self) -> Result<()> {
        let at = At { step: self.step, total_steps: 1_000_000, steps_per_epoch: 1_000 };
        self.trainer.step(&self.input, &at, 0.03)?;
        self.step += 1;
        Ok(())
    }

    /// Seconds that training waits when it does all by itself.
    fn synchronous(&mut self) -> Result<f64> {
        self.step()?;
        let since = Instant::now();
        let state = self.trainer.state();
        for (_, tensor) in &state {
            assert!(bool::try_from(tensor.isfinite().all())?, "training went astray");
        }
        stage(&self.folder, self.manifest(), &state)?.commit()?;
        remove_all_but(&self.folder, &[self.manifest().id()])?;
        Ok(since.elapsed().as_secs_f64())
    }

    /// Seconds that training waits when it hands a copy over, and those until that is in place.
    fn asynchronous(&mut self, writer: &mut Writer) -> Result<(f64, f64)> {
        self.step()?;
        let since = Instant::now();
        writer.save(&self.trainer.state(), self.order())?;
        let mut waited = since.elapsed();
        let target = self.folder.join(self.manifest().id().as_str());
        for _ in 0..MAX_STEPS {
            self.step()?;
            waited += timed(|| {
                if let Some(inspection) = writer.inspection()? {
                    inspection.finite?;
                }
                Ok(writer.check()?)
            })?;
            if target.exists() {
                return Ok((waited.as_secs_f64(), since.elapsed().as_secs_f64()));
            }
        }
        bail!("no checkpoint after {MAX_STEPS} steps")
    }

    fn order(&self) -> Order {
        Order { manifest: self.manifest(), is_written: true, is_compared: false, told_by: None }
    }

    fn manifest(&self) -> Manifest {
        Manifest {
            job_id: JobId::new("job-1"),
            job_created_unix_ms: 17,
            generation: Generation(1),
            world_size: WorldSize(1),
            step: Step(self.step),
            epoch: 0.0,
            recipe_digest: String::new(),
            dataset_digest: String::new(),
            files: Vec::new(),
            metrics: BTreeMap::new(),
            time_unix_ms: 0,
        }
    }

    fn size_bytes(&self) -> Result<u64> {
        let mut total = 0;
        for folder in std::fs::read_dir(&self.folder)? {
            for file in std::fs::read_dir(folder?.path())? {
                total += file?.metadata()?.len();
            }
        }
        Ok(total)
    }
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let since = Instant::now();
    work()?;
    Ok(since.elapsed())
}

fn start_writer(folder: &Path) -> Result<Writer> {
    let (asks, asked) = channel();
    let writer = Writer::start(folder.to_path_buf(), Yes(asks), None)?;
    let mailbox = writer.mailbox();
    let yes = || Answer::new(true, Duration::from_secs(60));
    std::thread::spawn(move || asked.iter().for_each(|checkpoint| mailbox.answer(checkpoint, yes())));
    Ok(writer)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [batch, threads, folder] = arguments.as_slice() else {
        bail!("usage: bench_checkpoint BATCH THREADS FOLDER")
    };
    tune_allocator();
    tch::set_num_threads(threads.parse().context("THREADS")?);
    tch::set_num_interop_threads(1);
    tch::manual_seed(0);
    let folder = Path::new(folder).join("checkpoints");
    let mut writer = start_writer(&folder)?;
    let mut job = Job::new(batch.parse().context("BATCH")?, folder)?;
    // Both sides have their memory, and the disk its folder, before anything is timed.
    job.step()?;
    job.asynchronous(&mut writer)?;
    job.synchronous()?;
    writeln!(stdout(), "ready")?;
    for line in stdin().lock().lines() {
        let line = line?;
        if line != "pair" {
            bail!("expected `pair`, got {line:?}");
        }
        let synchronous = job.synchronous()?;
        let (asynchronous, written) = job.asynchronous(&mut writer)?;
        writeln!(stdout(), "{synchronous:.6} {asynchronous:.6} {written:.6} {}", job.size_bytes()?)?;
    }
    Ok(())
}

/// MoCo v2 on ResNet-18 with the CIFAR stem, at Kindred's defaults for precision and layout.
fn spec(batch: i64) -> Result<JobSpec> {
    let yaml = format!(
        "
name: bench-checkpoint
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
