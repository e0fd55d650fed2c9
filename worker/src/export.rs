//! Writes the encoder for others to load, torchvision's or timm's names and layout in safetensors, and reads it back.
//!
//! `torchvision.models.resnetNN().load_state_dict(tensors, strict=False)` misses `fc` alone, and timm loads the file
//! with `num_classes=0`; of a transformer, timm's `VisionTransformer(**model_args, num_classes=0)` takes all of it. Called
//! by `train`: at the end of a job, on rank 0, and for evaluation jobs. Non-goals: resuming from it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kindred_proto::{
    job_spec::JobSpec,
    recipe::{self, Network, Recipe, Stem},
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::{
    checkpoint::{self, write_synced},
    nn::{Encoder, Split},
};

mod description;
mod read;

pub use description::Description;
pub use read::{Exported, ReadError};

/// Why an encoder is not written; the cause names the file.
#[derive(Debug, thiserror::Error)]
#[error("export the encoder: {0}")]
pub struct Error(#[from] pub checkpoint::Error);

/// The encoder's tensors by their published names: f32, contiguous, on the CPU. Of a transformer also its positions, for
/// images of this side in pixels.
pub fn encoder_tensors(encoder: &Encoder, image_size: u32) -> Vec<(String, Tensor)> {
    let plain = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let entries = encoder.entries().iter().map(|entry| (entry.name.clone(), plain(&entry.tensor)));
    let positions = match encoder {
        Encoder::ResNet(_) | Encoder::Split(_) => None,
        Encoder::Vit(vit) => Some(("pos_embed".to_owned(), plain(&vit.positions(image_size.into())))),
    };
    entries.chain(positions).collect()
}

/// Writes `encoder.safetensors` and `config.json` into a folder, which is made if need be; returns the first's path.
///
/// Each file is synced and then renamed into place, the configuration first.
///
/// # Errors
/// When a file cannot be written; the error names it.
pub fn write_encoder(
    encoder: &Encoder,
    spec: &JobSpec,
    n_channels: u32,
    folder: &Path,
) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).map_err(|source| in_place(folder, source))?;
    let image_size = spec.recipe.views.first().map_or(0, |view| view.crop.size);
    let config = format!("{:#}\n", config(encoder, &spec.recipe, (image_size, n_channels)));
    put(&folder.join("config.json"), config.as_bytes())?;
    let path = folder.join("encoder.safetensors");
    put(&path, &checkpoint::encode(&encoder_tensors(encoder, image_size), &[("format", "pt")])?)?;
    Ok(path)
}

/// What a loader must know beside the tensors; field names as timm's where timm has one.
fn config(encoder: &Encoder, recipe: &Recipe, (image_size, n_channels): (u32, u32)) -> Value {
    let network = &recipe.encoder.network;
    let (global_pool, first_conv, classifier) = match network {
        Network::ResNet(_) => ("avg", "conv1", "fc"),
        Network::Vit(_) => ("token", "patch_embed.proj", "head"),
    };
    let mut config = match network {
        Network::ResNet(resnet) => resnet_config(resnet),
        Network::Vit(vit) => vit_config(vit, image_size, n_channels),
    };
    if let Some(flow) = encoder.split().and_then(Split::flow) {
        config["flow"] = json!(flow.shape());
    }
    config["num_classes"] = json!(0);
    config["num_features"] = json!(recipe.encoder.feature_dim());
    config["global_pool"] = json!(global_pool);
    let (_, color_space, statistics) = recipe.plain_view();
    config["color_space"] = json!(color_space.name());
    config["pretrained_cfg"] = json!({
        "input_size": [n_channels, image_size, image_size],
        "mean": statistics.mean,
        "std": statistics.std,
        "num_classes": 0,
        "first_conv": first_conv,
        "classifier": classifier,
    });
    config
}

fn resnet_config(resnet: &recipe::ResNet) -> Value {
    json!({
        "architecture": format!("resnet{}", resnet.depth),
        "stem": match resnet.stem { Stem::Cifar => "cifar", Stem::ImageNet => "imagenet" },
        "width": resnet.width,
        "split_channels": resnet.split_channels,
    })
}

fn vit_config(vit: &recipe::Vit, image_size: u32, n_channels: u32) -> Value {
    json!({
        "architecture": "vit",
        "model_args": {
            "img_size": image_size,
            "patch_size": vit.patch_size,
            "in_chans": n_channels,
            "embed_dim": vit.width,
            "depth": vit.depth,
            "num_heads": vit.heads,
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
    use crate::methods::{self, Images};

    const IMAGES: Images<'static> = Images { n_channels: 3, n_images: 1, labels: None, n_classes: 0 };

    fn spec(encoder: &str) -> JobSpec {
        let text = format!(
            "name: export\nranks: 1\ndevice: cpu\nrecipe:\n  data: {{image_folder: {{train: images}}}}\n  \
             encoder: {{{encoder}}}\n  method: {{sce: {{}}}}\n"
        );
        JobSpec::check(&job_spec::from_yaml(&text, &[]).expect("the text is a job"))
            .expect("the job is sound")
    }

    #[test]
    fn a_written_encoder_has_torchvisions_names_and_these_values() {
        let spec = spec("resnet: {depth: 18, width: 8, stem: imagenet}");
        let method = methods::build(&spec, &IMAGES, Device::Cpu).expect("the processor is there");
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
    fn a_written_transformer_has_timms_names_positions_and_sizes() {
        let spec = spec("vit: {width: 16, depth: 2, heads: 4}");
        let method = methods::build(&spec, &IMAGES, Device::Cpu).expect("the processor is there");
        let folder = tempfile::tempdir().expect("there is room");
        let path = write_encoder(method.encoder(), &spec, 3, folder.path()).expect("it is written");
        let stored = Tensor::read_safetensors(&path).expect("it is sound");
        let mut shapes: Vec<(&str, Vec<i64>)> =
            stored.iter().map(|(name, tensor)| (name.as_str(), tensor.size())).collect();
        shapes.retain(|(name, _)| !name.starts_with("blocks.0."));
        shapes.sort();
        let block = |name: &str| format!("blocks.1.{name}");
        let expected = [
            (block("attn.proj.bias"), vec![16]),
            (block("attn.proj.weight"), vec![16, 16]),
            (block("attn.qkv.bias"), vec![48]),
            (block("attn.qkv.weight"), vec![48, 16]),
            (block("mlp.fc1.bias"), vec![64]),
            (block("mlp.fc1.weight"), vec![64, 16]),
            (block("mlp.fc2.bias"), vec![16]),
            (block("mlp.fc2.weight"), vec![16, 64]),
            (block("norm1.bias"), vec![16]),
            (block("norm1.weight"), vec![16]),
            (block("norm2.bias"), vec![16]),
            (block("norm2.weight"), vec![16]),
            ("cls_token".to_owned(), vec![1, 1, 16]),
            ("norm.bias".to_owned(), vec![16]),
            ("norm.weight".to_owned(), vec![16]),
            ("patch_embed.proj.bias".to_owned(), vec![16]),
            ("patch_embed.proj.weight".to_owned(), vec![16, 3, 16, 16]),
            ("pos_embed".to_owned(), vec![1, 197, 16]),
        ];
        assert_eq!(shapes, expected.each_ref().map(|(name, shape)| (name.as_str(), shape.clone())));
        let config = fs::read_to_string(folder.path().join("config.json")).expect("it is there");
        let config: Value = serde_json::from_str(&config).expect("it is JSON");
        let sizes = json!({
            "img_size": 224, "patch_size": 16, "in_chans": 3, "embed_dim": 16, "depth": 2, "num_heads": 4
        });
        assert_eq!(config["model_args"], sizes);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let spec = spec("resnet: {depth: 18, width: 8, stem: cifar}");
        let method = methods::build(&spec, &IMAGES, Device::Cpu).expect("the processor is there");
        let file = tempfile::NamedTempFile::new().expect("there is room");
        let error = write_encoder(method.encoder(), &spec, 3, &file.path().join("encoder"))
            .expect_err("a file is there");
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
