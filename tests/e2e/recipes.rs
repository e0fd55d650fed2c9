//! Jobs small enough for a test.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result};

/// A job on the first images of Fashion-MNIST, without evaluations; `training` holds further keys of that section.
pub fn fashion_mnist(name: &str, ranks: u32, training: &str) -> String {
    format!(
        "
name: {name}
ranks: {ranks}
device: cpu
recipe:
  data: {{fashion_mnist: {{root: fashion-mnist}}, limit: 4096}}
  encoder: {{resnet: {{depth: 18, width: 8, stem: cifar}}}}
  method: {{sce: {{queue_size: 512}}}}
  optimizer: {{sgd: {{lr: 0.03}}}}
  training: {{global_batch: 64, precision: bf16, log_every_steps: 1, {training}}}
  checkpoint: {{every_steps: 20}}
  evaluation: {{knn: {{enabled: false}}, linear: {{enabled: false}}}}
"
    )
}

/// A job on a folder of images.
pub fn image_folder(name: &str, folder: &str, training: &str) -> String {
    format!(
        "
name: {name}
ranks: 1
device: cpu
recipe:
  data: {{image_folder: {{train: {folder}}}}}
  encoder: {{resnet: {{depth: 18, width: 8, stem: cifar}}}}
  method: {{moco_v2: {{queue_size: 64}}}}
  optimizer: {{sgd: {{lr: 0.03}}}}
  training: {{global_batch: 8, precision: fp32, log_every_steps: 1, {training}}}
"
    )
}

/// Puts Fashion-MNIST below a data root.
pub fn link_fashion_mnist(data_root: &Path) -> Result<()> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.kindred/data/fashion-mnist");
    let fetched = fetched.canonicalize().context("Fashion-MNIST is fetched by make setup")?;
    fs::create_dir_all(data_root)?;
    symlink(fetched, data_root.join("fashion-mnist")).context("linking Fashion-MNIST")
}

/// A real photograph, 64x48, as JPEG.
const PHOTOGRAPH: &[u8] = include_bytes!("../data/photograph.jpg");

/// Writes `n` copies of a photograph (distinct files are enough for a loader) below `folder`.
pub fn write_photographs(folder: &Path, n: usize) -> Result<()> {
    fs::create_dir_all(folder)?;
    for index in 0..n {
        fs::write(folder.join(format!("photo-{index:03}.jpg")), PHOTOGRAPH)?;
    }
    Ok(())
}
