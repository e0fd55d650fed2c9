//! What this rank was told to do, checked, with its data open.

use std::path::PathBuf;

use kindred_data::{Dataset, ShardCache, Site, Split};
use kindred_ipc::Start;
use kindred_proto::{
    ids::Step,
    job_spec::{DeviceKind, JobSpec, Steps},
    v1::Recipe,
};
use prost::Message;
use tch::Device;

use super::Error;
use crate::methods::{At, Images};

/// What this rank was told to do, checked, with its data open.
pub struct Job {
    /// The agent's order.
    pub start: Start,
    /// What to train.
    pub spec: JobSpec,
    /// What to compute on.
    pub device: Device,
    /// The training images.
    pub dataset: Dataset,
    /// The length of the job.
    pub steps: Steps,
    /// BLAKE3 of the recipe with every default filled in, in hex. When state is written is no part of what is trained.
    pub recipe_digest: String,
}

impl Job {
    /// Opens the data.
    ///
    /// # Errors
    /// When the device is not there, or the data cannot be read or do not fill a batch.
    pub fn open(start: Start, spec: JobSpec) -> Result<Self, Error> {
        let device = device(spec.terms.device, start.device_index)?;
        let dataset = Dataset::open(&spec.recipe.data, site(&start), Split::Train)?;
        let dataset = dataset.expect("the training images are always there");
        let steps = spec.steps(dataset.len())?;
        let recipe = Recipe { checkpoint: None, ..spec.to_wire().recipe.unwrap_or_default() };
        let recipe_digest = blake3::hash(&recipe.encode_to_vec()).to_hex().to_string();
        Ok(Self { start, spec, device, dataset, steps, recipe_digest })
    }

    /// What the method must know of the training images.
    pub fn images(&self) -> Images<'_> {
        let dataset = &self.dataset;
        Images {
            n_channels: dataset.channels(),
            n_images: dataset.len(),
            labels: dataset.known_labels(),
            n_classes: dataset.n_classes(),
        }
    }

    /// The folder of the job's checkpoints on this node.
    pub fn checkpoints(&self) -> PathBuf {
        self.start.job_dir.join("checkpoints")
    }

    /// The folder of another job's checkpoints on this node.
    pub fn checkpoints_of(&self, job_id: &str) -> PathBuf {
        let jobs = self.start.job_dir.parent().unwrap_or(&self.start.job_dir);
        jobs.join(job_id).join("checkpoints")
    }

    /// The place of a step, counted from 0, in the run that schedules span.
    pub fn at(&self, step: u64) -> At {
        let Steps { per_epoch: steps_per_epoch, schedule_span: total_steps, .. } = self.steps;
        At { step, total_steps, steps_per_epoch }
    }

    /// Passes over the data after so many steps.
    pub fn epoch(&self, taken: Step) -> f64 {
        taken.0 as f64 / self.steps.per_epoch as f64
    }

    /// Whether this is the rank that speaks for all.
    pub fn is_first_rank(&self) -> bool {
        self.start.rank.0 == 0
    }
}

/// The device of a kind that has this index.
///
/// # Errors
/// When it is not there.
pub fn device(kind: DeviceKind, index: u32) -> Result<Device, Error> {
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        DeviceKind::Cuda if i64::from(index) < tch::Cuda::device_count() => Ok(Device::Cuda(index as usize)),
        DeviceKind::Cuda => {
            let n_devices = tch::Cuda::device_count();
            Err(Error::Device(format!("cuda device {index} is not there: this program sees {n_devices}")))
        }
    }
}

/// The node's part in reading data.
pub fn site(start: &Start) -> Site {
    let shard_cache = start.shard_cache.as_ref();
    let shard_cache =
        shard_cache.map(|cache| ShardCache { folder: cache.folder.clone(), max_bytes: cache.max_bytes });
    Site { shard_cache, ..Site::from(&start.data_root) }
}
