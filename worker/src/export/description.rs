//! What `config.json` says of an encoder.

use std::path::Path;

use kindred_proto::recipe::{self, BatchNorm, ColorSpace, Network, ResNet, Stem, Vit};
use serde::Deserialize;

use super::read::{ReadError, config_path};
use crate::nn::{Encoder, Flow, FlowShape, Setup};

/// What `config.json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Channels that the network takes.
    pub n_channels: u32,
    /// Side of its images in pixels.
    pub size: u32,
    /// What its channels mean.
    pub color_space: ColorSpace,
    /// Per-channel mean in that colour space, of RGB and grey for pixels in [0, 1].
    pub mean: Vec<f64>,
    /// Per-channel standard deviation, likewise.
    pub std: Vec<f64>,
    network: Network,
    flow: Option<FlowShape>,
}

#[derive(Deserialize)]
struct Config {
    architecture: String,
    /// Of a residual network.
    stem: Option<String>,
    width: Option<u32>,
    #[serde(default)]
    split_channels: u32,
    /// Before a network that is split.
    flow: Option<FlowShape>,
    /// Of a transformer.
    model_args: Option<ModelArgs>,
    /// Left out: the image's own.
    color_space: Option<String>,
    pretrained_cfg: Pretrained,
}

#[derive(Deserialize)]
struct ModelArgs {
    patch_size: u32,
    embed_dim: u32,
    depth: u32,
    num_heads: u32,
}

#[derive(Deserialize)]
struct Pretrained {
    input_size: [u32; 3],
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Description {
    /// Reads a `config.json`; `encoder` is the path of the tensors beside it, for the error.
    ///
    /// # Errors
    /// When a field is missing, or not one that this version knows; the error names it.
    pub fn parse(config: &[u8], encoder: &Path) -> Result<Self, ReadError> {
        let path = config_path(encoder);
        let config: Config =
            serde_json::from_slice(config).map_err(|error| ReadError::invalid(&path, error))?;
        Self::of(config).map_err(|why| ReadError::invalid(&path, why))
    }

    fn of(config: Config) -> Result<Self, String> {
        let (network, color_space, flow) = (config.network()?, config.color_space()?, config.flow()?);
        let Pretrained { input_size: [n_channels, height, size], mean, std } = config.pretrained_cfg;
        if !matches!(n_channels, 1 | 3) || height != size || !(8..=1024).contains(&size) {
            let found = [n_channels, height, size];
            return Err(format!(
                "pretrained_cfg.input_size is {found:?}: 1 or 3 channels and a square are needed"
            ));
        }
        for (field, values) in [("mean", &mean), ("std", &std)] {
            if values.len() != n_channels as usize {
                let n_values = values.len();
                return Err(format!(
                    "pretrained_cfg.{field} holds {n_values} values for {n_channels} channels"
                ));
            }
        }
        Ok(Self { n_channels, size, color_space, mean, std, network, flow })
    }

    /// Builds the network; its values are still to be loaded.
    pub fn build(&self, setup: &Setup) -> Encoder {
        let recipe = recipe::Encoder { network: self.network.clone(), batch_norm: BatchNorm::Frozen };
        let encoder = Encoder::new(&recipe, self.n_channels, setup);
        match self.flow {
            Some(shape) => encoder.behind(Flow::new(shape, self.n_channels, setup)),
            None => encoder,
        }
    }
}

impl Config {
    fn network(&self) -> Result<Network, String> {
        match self.architecture.as_str() {
            "vit" => self.vit().map(Network::Vit),
            other => self.resnet(other).map(Network::ResNet),
        }
    }

    fn resnet(&self, architecture: &str) -> Result<ResNet, String> {
        let depth = match architecture {
            "resnet18" => 18,
            "resnet34" => 34,
            "resnet50" => 50,
            "resnet101" => 101,
            "resnet152" => 152,
            other => {
                return Err(format!("architecture is {other:?}, not resnet18, 34, 50, 101 or 152, or vit"));
            }
        };
        let stem = match self.stem.as_deref() {
            Some("cifar") => Stem::Cifar,
            Some("imagenet") => Stem::ImageNet,
            other => return Err(format!("stem is {}, not cifar or imagenet", other.unwrap_or("missing"))),
        };
        let width = self.width.ok_or("width is missing")?;
        within("width", width, 1024)?;
        let split_channels = self.split_channels;
        let [n_channels, ..] = self.pretrained_cfg.input_size;
        if split_channels > 0 && (split_channels >= n_channels || !width.is_multiple_of(2)) {
            return Err(format!(
                "split_channels is {split_channels}: fewer than the {n_channels} channels and an even width are needed"
            ));
        }
        Ok(ResNet { depth, width, stem, split_channels })
    }

    fn flow(&self) -> Result<Option<FlowShape>, String> {
        let Some(flow) = self.flow else { return Ok(None) };
        if self.split_channels == 0 {
            return Err(
                "flow is given, but split_channels is 0: a flow is for an encoder in two halves".to_owned()
            );
        }
        within("flow.n_couplings", flow.n_couplings, 64)?;
        within("flow.hidden_dim", flow.hidden_dim, 65_536)?;
        Ok(Some(flow))
    }

    fn color_space(&self) -> Result<ColorSpace, String> {
        let name = self.color_space.as_deref().unwrap_or("rgb");
        let space =
            ColorSpace::of_name(name).ok_or(format!("color_space is {name:?}, not one that is known"))?;
        match self.pretrained_cfg.input_size {
            [1, ..] if space != ColorSpace::Rgb => {
                Err(format!("color_space is {name:?}, but the images are grey"))
            }
            _ => Ok(space),
        }
    }

    fn vit(&self) -> Result<Vit, String> {
        let args = self.model_args.as_ref().ok_or("model_args is missing")?;
        let ModelArgs { patch_size, embed_dim: width, depth, num_heads: heads } = *args;
        let bounds = [("patch_size", patch_size, 256), ("embed_dim", width, 8192)];
        for (field, value, most) in
            bounds.into_iter().chain([("depth", depth, 128), ("num_heads", heads, 128)])
        {
            within(&format!("model_args.{field}"), value, most)?;
        }
        let [_, _, size] = self.pretrained_cfg.input_size;
        if !width.is_multiple_of(4) || !width.is_multiple_of(heads) || !size.is_multiple_of(patch_size) {
            let fix = "a width of whole heads and of quarters, and a side of whole patches are needed";
            return Err(format!("model_args do not fit images of {size} pixels: {fix}"));
        }
        Ok(Vit { width, depth, heads, patch_size, frozen_patch_projection: true })
    }
}

fn within(field: &str, value: u32, most: u32) -> Result<(), String> {
    if (1..=most).contains(&value) { Ok(()) } else { Err(format!("{field} is {value}, not 1 to {most}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_does_not_fit_is_named() {
        let config = r#"{"architecture": "resnet18", "stem": "cifar", "width": 4,
            "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0, 0, 0], "std": [1, 1, 1]}}"#;
        let path = Path::new("/e/encoder.safetensors");
        Description::parse(config.as_bytes(), path).expect("it is sound");
        for (from, to, words) in [
            ("\"resnet18\"", "\"vgg\"", "architecture is \"vgg\", not resnet18, 34, 50, 101 or 152, or vit"),
            ("\"cifar\"", "\"none\"", "stem is none, not cifar or imagenet"),
            ("\"width\": 4", "\"width\": 0", "width is 0, not 1 to 1024"),
            (
                "[3, 32, 32]",
                "[3, 32, 33]",
                "pretrained_cfg.input_size is [3, 32, 33]: 1 or 3 channels and a square",
            ),
            ("[0, 0, 0]", "[0]", "pretrained_cfg.mean holds 1 values for 3 channels"),
            (
                "\"width\": 4",
                "\"width\": 4, \"split_channels\": 3",
                "split_channels is 3: fewer than the 3 channels",
            ),
            (
                "\"width\": 4",
                "\"width\": 4, \"color_space\": \"hsv\"",
                "color_space is \"hsv\", not one that",
            ),
            (
                "\"width\": 4",
                "\"width\": 4, \"flow\": {\"preserves_volume\": true, \"n_couplings\": 2, \"hidden_dim\": 8}",
                "flow is given, but split_channels is 0",
            ),
            ("\"stem\"", "\"steam\"", "stem is missing, not cifar or imagenet"),
            ("\"resnet18\"", "\"vit\"", "model_args is missing"),
        ] {
            let error =
                Description::parse(config.replace(from, to).as_bytes(), path).expect_err(to).to_string();
            assert!(error.starts_with("encoder file /e/config.json: ") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_transformer_that_does_not_fit_its_images_is_named() {
        let config = r#"{"architecture": "vit",
            "model_args": {"patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3},
            "pretrained_cfg": {"input_size": [1, 32, 32], "mean": [0], "std": [1]}}"#;
        let path = Path::new("/e/encoder.safetensors");
        Description::parse(config.as_bytes(), path).expect("it is sound");
        for (from, to, words) in [
            ("\"patch_size\": 4", "\"patch_size\": 5", "model_args do not fit images of 32 pixels"),
            ("\"num_heads\": 3", "\"num_heads\": 5", "model_args do not fit images of 32 pixels"),
            ("\"depth\": 2", "\"depth\": 0", "model_args.depth is 0, not 1 to 128"),
            ("\"depth\"", "\"deep\"", "missing field `depth`"),
        ] {
            let error =
                Description::parse(config.replace(from, to).as_bytes(), path).expect_err(to).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
