//! A job over a small folder of images, and the orders for its ranks.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use kindred_ipc::{Start, Wire};
use kindred_proto::{
    ids::{Generation, JobId, NodeId, Rank, WorldSize},
    job_spec::{AnySpec, from_yaml},
    v1,
};
use tempfile::TempDir;

/// Images to train on.
pub const N_IMAGES: u64 = 32;

/// Steps of the job below: two epochs of four steps.
pub const N_STEPS: u64 = 8;

/// A job and the node that it runs on.
pub struct TestJob {
    folder: TempDir,
    spec: String,
    overrides: Vec<String>,
    n_ranks: u32,
}

impl TestJob {
    /// A job of so many ranks, with images of its own.
    pub fn new(n_ranks: u32) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_images(&folder.path().join("data"));
        Self { folder, spec: SPEC.into(), overrides: vec![format!("ranks={n_ranks}")], n_ranks }
    }

    /// The same images as IDX files.
    pub fn of_idx_files(n_ranks: u32) -> Self {
        let job = Self::new(n_ranks);
        for (split, first, n_images) in [("train", 0, N_IMAGES), ("t10k", 100, 8)] {
            write_idx(&job.data(), split, first..first + n_images);
        }
        Self { spec: SPEC.replace(FOLDER_SOURCE, "fashion_mnist: {root: .}"), ..job }
    }

    /// Changes a field of the spec.
    pub fn with(mut self, assignment: &str) -> Self {
        self.overrides.push(assignment.into());
        self
    }

    /// Where the images are.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the job's state is.
    pub fn job_dir(&self) -> PathBuf {
        self.folder.path().join("job")
    }

    /// The checkpoints on disk, by name.
    pub fn checkpoints(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.job_dir().join("checkpoints")) else { return Vec::new() };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("a listed folder").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).into_string().expect("an ASCII name")).collect();
        names.sort();
        names
    }

    /// A file of a checkpoint.
    pub fn checkpoint_file(&self, checkpoint: &str, file: &str) -> PathBuf {
        self.job_dir().join("checkpoints").join(checkpoint).join(file)
    }

    /// Orders for all ranks of a generation.
    pub fn starts(&self, generation: u64) -> Vec<Start> {
        let wire = from_yaml(&self.spec, &self.overrides).expect("the spec is sound");
        let spec = AnySpec::check(&wire).expect("the spec is sound").to_wire();
        (0..self.n_ranks).map(|rank| self.start(generation, rank, spec.clone())).collect()
    }

    /// A job of so many ranks that measures this one's encoder.
    pub fn evaluated(self, n_ranks: u32) -> Self {
        let encoder = self.job_dir().join("encoder/encoder.safetensors");
        let overrides = vec![format!("ranks={n_ranks}"), format!("evaluate.encoder={}", encoder.display())];
        Self { spec: EVALUATION.into(), overrides, n_ranks, ..self }
    }

    fn start(&self, generation: u64, rank: u32, spec: v1::JobSpec) -> Start {
        Start {
            version: env!("CARGO_PKG_VERSION").into(),
            job_id: JobId::new("job-1"),
            generation: Generation(generation),
            rank: Rank(rank),
            world_size: WorldSize(self.n_ranks),
            node_id: NodeId::new("node-1"),
            device_index: rank,
            spec: Wire(spec),
            job_dir: self.job_dir(),
            data_root: self.data(),
            data_address: "127.0.0.1".into(),
            resume_from: None,
            meeting_timeout_ms: 60_000,
            collective_timeout_ms: 60_000,
            abort_grace_ms: 5_000,
            alive_interval_ms: 0,
            n_losses: 0,
            trained_ms: 0,
            created_unix_ms: 17,
            checkpoint_store: None,
            shard_cache: None,
        }
    }
}

/// The line of the spec that says where the images are.
const FOLDER_SOURCE: &str = "image_folder: {train: train, test: test, channels: 1}";

const SPEC: &str = "
name: test
device: cpu
recipe:
  data:
    image_folder: {train: train, test: test, channels: 1}
    mean: [0.5]
    std: [0.25]
  views:
    - crop: {size: 16, scale_min: 0.5}
    - crop: {size: 16, scale_min: 0.5}
      horizontal_flip_probability: 0.5
  encoder:
    resnet: {depth: 18, width: 4, stem: cifar, batch_norm: {group_size: 4}}
  method:
    sce: {queue_size: 16, projector: {hidden_dims: [16], out_dim: 8}}
  optimizer:
    sgd: {lr: 0.05, momentum: 0.9, weight_decay: 0.0005}
  training: {epochs: 2, global_batch: 8, log_every_steps: 1}
  checkpoint: {every_steps: 4, keep_last: 2}
  evaluation:
    knn: {k: 3, every_epochs: 1}
    linear: {max_iterations: 10}
";

/// Every protocol, in the number format in which the number of ranks changes no figure.
const EVALUATION: &str = "
name: test
evaluate:
  data: {image_folder: {train: train, test: test, channels: 1}}
  precision: fp64
  protocols:
    knn: {k: 3}
    linear: {max_iterations: 10}
    further:
      - knn: {vote: majority, k: 1, bank_per_class: 8, rare_classes: [1]}
      - linear: {preset: isd, epochs: 3, batch: 8, labelled_share: 0.5}
      - purity: {k: 4}
      - prototype_variance: {prototypes: 4}
";

fn write_images(data: &Path) {
    for idx in 0..N_IMAGES {
        write_image(&data.join(format!("train/class-{}/{idx:02}.png", idx % 2)), idx);
    }
    for idx in 0..8 {
        write_image(&data.join(format!("test/class-{}/{idx:02}.png", idx % 2)), 100 + idx);
    }
}

fn write_image(path: &Path, idx: u64) {
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a new folder");
    let file = fs::File::create(path).expect("a new file");
    let mut encoder = png::Encoder::new(file, 16, 16);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().expect("a header fits");
    writer.write_image_data(&pixels(idx)).expect("the pixels fit");
}

/// One of the IDX format's pairs of files.
fn write_idx(folder: &Path, split: &str, images: Range<u64>) {
    let n_images = (images.end - images.start) as u32;
    let header =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let mut image_file = header(&[0x0803, n_images, 16, 16]);
    image_file.extend(images.clone().flat_map(pixels));
    let mut label_file = header(&[0x0801, n_images]);
    label_file.extend(images.map(|idx| (idx % 2) as u8));
    fs::write(folder.join(format!("{split}-images-idx3-ubyte")), image_file).expect("a new file");
    fs::write(folder.join(format!("{split}-labels-idx1-ubyte")), label_file).expect("a new file");
}

/// Stripes for one class, a slope for the other, shifted by the index.
fn pixels(idx: u64) -> Vec<u8> {
    let pixel = |at: u64| {
        let (x, y) = (at % 16, at / 16);
        if idx.is_multiple_of(2) { (x / 4 + idx) % 2 * 200 + y } else { x * 8 + y * 7 + idx }
    };
    (0..256).map(|at| pixel(at) as u8).collect()
}
