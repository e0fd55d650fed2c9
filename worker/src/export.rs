//! Writes the encoder for others to load: torchvision's names and layout, in safetensors.
//!
//! `torchvision.models.resnetNN().load_state_dict(tensors, strict=False)` misses `fc` alone, and timm loads the file
//! with `num_classes=0`. Called by `train` at the end of a job, on rank 0. Non-goals: resuming from it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use kindred_proto::{
    job_spec::JobSpec,
    recipe::{Recipe, Stem},
};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::nn::ResNet;

/// Why an encoder is not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system.
    #[error("write {path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The format.
    #[error("encode the encoder: {0}")]
    Format(#[from] safetensors::SafeTensorError),
}

/// The encoder's tensors by torchvision's names: f32, contiguous, on the CPU.
pub fn encoder_tensors(encoder: &ResNet) -> Vec<(String, Tensor)> {
    let plain = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    encoder.entries().iter().map(|entry| (entry.name.clone(), plain(&entry.tensor))).collect()
}

/// Writes `encoder.safetensors` and `config.json` into a folder, which is made if need be; returns the first's path.
///
/// Each file is synced and then renamed into place, the configuration first.
///
/// # Errors
/// When a file cannot be written.
pub fn write_encoder(
    encoder: &ResNet,
    spec: &JobSpec,
    n_channels: u32,
    folder: &Path,
) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
    let config = format!("{:#}\n", config(&spec.recipe, n_channels));
    put(&folder.join("config.json"), config.as_bytes())?;
    let path = folder.join("encoder.safetensors");
    put(&path, &encode(&encoder_tensors(encoder))?)?;
    Ok(path)
}

fn encode(tensors: &[(String, Tensor)]) -> Result<Vec<u8>, Error> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| little_endian(tensor)).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for ((name, tensor), bytes) in tensors.iter().zip(&bytes) {
        let shape = tensor.size().iter().map(|&length| length as usize).collect();
        views.push((name.as_str(), TensorView::new(Dtype::F32, shape, bytes)?));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}

fn little_endian(tensor: &Tensor) -> Vec<u8> {
    let mut values = vec![0_f32; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// What a loader must know beside the tensors; field names as timm's where timm has one.
fn config(recipe: &Recipe, n_channels: u32) -> serde_json::Value {
    let encoder = &recipe.encoder;
    let size = recipe.views.first().map_or(0, |view| view.crop.size);
    json!({
        "architecture": format!("resnet{}", encoder.depth),
        "stem": match encoder.stem { Stem::Cifar => "cifar", Stem::ImageNet => "imagenet" },
        "width": encoder.width,
        "num_classes": 0,
        "num_features": encoder.feature_dim(),
        "global_pool": "avg",
        "pretrained_cfg": {
            "input_size": [n_channels, size, size],
            "mean": recipe.data.mean,
            "std": recipe.data.std,
            "num_classes": 0,
            "first_conv": "conv1",
            "classifier": "fc",
        },
    })
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let error = |source| Error::Io { path: path.to_owned(), source };
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial).map_err(error)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(error)?;
    fs::rename(&partial, path).map_err(error)
}
