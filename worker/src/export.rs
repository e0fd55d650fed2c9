//! Writes the encoder for others to load: torchvision's names and layout, in safetensors.
//!
//! `torchvision.models.resnetNN().load_state_dict(tensors, strict=False)` misses `fc` alone, and timm loads the file
//! with `num_classes=0`. Called by `train` at the end of a job, on rank 0. Non-goals: resuming from it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kindred_proto::{
    job_spec::JobSpec,
    recipe::{Recipe, Stem},
};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::{
    checkpoint::{self, write_synced},
    nn::ResNet,
};

/// Why an encoder is not written; the cause names the file.
#[derive(Debug, thiserror::Error)]
#[error("export the encoder: {0}")]
pub struct Error(#[from] pub checkpoint::Error);

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
/// When a file cannot be written; the error names it.
pub fn write_encoder(
    encoder: &ResNet,
    spec: &JobSpec,
    n_channels: u32,
    folder: &Path,
) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).map_err(|source| in_place(folder, source))?;
    let config = format!("{:#}\n", config(&spec.recipe, n_channels));
    put(&folder.join("config.json"), config.as_bytes())?;
    let path = folder.join("encoder.safetensors");
    put(&path, &checkpoint::encode(&encoder_tensors(encoder), &[("format", "pt")])?)?;
    Ok(path)
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
    let partial = path.with_extension("partial");
    write_synced(&partial, bytes)?;
    Ok(fs::rename(&partial, path).map_err(|source| in_place(path, source))?)
}

fn in_place(path: &Path, source: io::Error) -> checkpoint::Error {
    checkpoint::Error::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use kindred_proto::job_spec;

    use super::*;
    use crate::methods;

    fn spec(stem: &str) -> JobSpec {
        let text = format!(
            "name: export\nranks: 1\ndevice: cpu\nrecipe:\n  data: {{image_folder: {{train: images}}}}\n  \
             encoder: {{resnet: {{depth: 18, width: 8, stem: {stem}}}}}\n  method: {{sce: {{}}}}\n"
        );
        JobSpec::check(&job_spec::from_yaml(&text, &[]).expect("the text is a job"))
            .expect("the job is sound")
    }

    #[test]
    fn a_written_encoder_has_torchvisions_names_and_these_values() {
        let spec = spec("imagenet");
        let method = methods::build(&spec, 3, Device::Cpu).expect("the processor is there");
        let folder = tempfile::tempdir().expect("there is room");
        let path =
            write_encoder(method.encoder(), &spec, 3, &folder.path().join("encoder")).expect("it is written");
        let bytes = fs::read(&path).expect("it is there");
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("it is sound");
        assert_eq!(header.metadata().as_ref().expect("it has metadata")["format"], "pt");
        let stored: std::collections::HashMap<String, Tensor> =
            Tensor::read_safetensors(&path).expect("it is sound").into_iter().collect();
        assert_eq!(stored.len(), 20 * 5, "a weight and four vectors of each of 20 layers");
        for entry in method.encoder().entries() {
            let stored = &stored[&entry.name];
            assert_eq!(stored.kind(), Kind::Float);
            assert!(stored.equal(&entry.tensor.detach()), "{}", entry.name);
        }
        assert_eq!(stored["conv1.weight"].size(), [8, 3, 7, 7]);
        assert_eq!(stored["layer2.0.downsample.0.weight"].size(), [16, 8, 1, 1]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let spec = spec("cifar");
        let method = methods::build(&spec, 3, Device::Cpu).expect("the processor is there");
        let file = tempfile::NamedTempFile::new().expect("there is room");
        let error = write_encoder(method.encoder(), &spec, 3, &file.path().join("encoder"))
            .expect_err("a file is there");
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
