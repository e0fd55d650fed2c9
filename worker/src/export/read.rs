//! Reads an exported encoder back.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use tch::{Tensor, no_grad};

use crate::{checkpoint::digest_of_file, nn::Encoder};

/// Why an encoder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// None of the job's nodes has it.
    #[error("encoder {} is on none of the job's nodes: copy it there with its config.json, or share its folder", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// A file that is there and not what it should be.
    #[error("encoder file {}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl ReadError {
    pub(super) fn invalid(path: &Path, why: impl ToString) -> Self {
        Self::Invalid { path: path.to_owned(), why: why.to_string() }
    }

    /// The file that must change.
    pub fn path(&self) -> &Path {
        match self {
            Self::NotFound { path } | Self::Invalid { path, .. } => path,
        }
    }
}

/// An exported encoder on this node's disk.
pub struct Exported {
    /// Its `encoder.safetensors`.
    pub path: PathBuf,
    /// The bytes of its `config.json`.
    pub config: Vec<u8>,
    /// BLAKE3 of its tensors, in hex.
    pub digest: String,
}

impl Exported {
    /// Looks for it; `None` when the file is not there.
    ///
    /// # Errors
    /// When it cannot be read, or has no configuration beside it.
    pub fn find(path: &Path) -> Result<Option<Self>, ReadError> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ReadError::invalid(path, error)),
            Ok(metadata) if !metadata.is_file() => {
                return Err(ReadError::invalid(path, "is no file: name the encoder.safetensors in it"));
            }
            Ok(_) => {}
        }
        let config_path = config_path(path);
        let config = fs::read(&config_path).map_err(|error| ReadError::invalid(&config_path, error))?;
        let digest = digest_of_file(path).map_err(|error| ReadError::invalid(path, error))?;
        Ok(Some(Self { path: path.to_owned(), config, digest }))
    }

    /// Copies its tensors into a network; a classifier's are left out.
    ///
    /// # Errors
    /// When the file does not hold exactly the network's tensors.
    pub fn load_into(&self, encoder: &Encoder) -> Result<(), ReadError> {
        let invalid = |why: String| ReadError::invalid(&self.path, why);
        let stored = Tensor::read_safetensors(&self.path).map_err(|error| invalid(error.to_string()))?;
        let mut stored: HashMap<String, Tensor> =
            stored.into_iter().filter(|(name, _)| is_of_encoder(name)).collect();
        for entry in encoder.entries() {
            let (name, shape) = (&entry.name, entry.tensor.size());
            let needs = "which the architecture in config.json needs";
            let tensor =
                stored.remove(name).ok_or_else(|| invalid(format!("has no tensor {name}, {needs}")))?;
            if tensor.size() != shape {
                return Err(invalid(format!("tensor {name} is {:?}, not {shape:?}, {needs}", tensor.size())));
            }
            no_grad(|| entry.tensor.shallow_clone().copy_(&tensor));
        }
        match stored.into_keys().min() {
            Some(name) => {
                Err(invalid(format!("holds tensor {name}, which the architecture in config.json lacks")))
            }
            None => Ok(()),
        }
    }
}

/// `config.json` beside an encoder.
pub(super) fn config_path(encoder: &Path) -> PathBuf {
    encoder.with_file_name("config.json")
}

/// Whether a tensor of torchvision's or timm's file is one that the encoder holds: positions are computed.
fn is_of_encoder(name: &str) -> bool {
    let is_classifier = name.starts_with("fc.") || name.starts_with("head.");
    !is_classifier && name != "pos_embed" && !name.ends_with(".num_batches_tracked")
}

#[cfg(test)]
mod tests {
    use kindred_proto::{
        job_spec::{self, JobSpec},
        recipe::BatchNorm,
    };
    use tch::{Device, Kind};

    use super::*;
    use crate::{
        export::{Description, write_encoder},
        methods,
        nn::{Flow, FlowShape, Pass, Setup},
    };

    const RESNET: &str = "{resnet: {depth: 18, width: 4, stem: cifar}}";
    const VIT: &str = "{vit: {width: 12, depth: 2, heads: 3, patch_size: 4}}";

    fn setup(seed: u64) -> Setup {
        let (device, kind, batch_norm) = (Device::Cpu, Kind::Float, BatchNorm::Frozen);
        Setup { seed, device, kind, channels_last: true, batch_norm, has_gradient: false }
    }

    /// Writes a network, and gives its features of some images.
    fn write(network: &str, folder: &Path) -> (PathBuf, Tensor, Tensor) {
        let text = format!(
            "name: read\nrecipe:\n  data: {{image_folder: {{train: images, channels: 1}}}}\n  encoder: {network}\n  \
             views: [{{crop: {{size: 32}}}}, {{crop: {{size: 32}}}}]\n  method: {{sce: {{}}}}\n"
        );
        let wire = job_spec::from_yaml(&text, &[]).expect("the text is a job");
        let spec = JobSpec::check(&wire).expect("the job is sound");
        let images = methods::Images { n_channels: 1, n_images: 1, labels: None, n_classes: 0 };
        let method = methods::build(&spec, &images, Device::Cpu).expect("the processor is there");
        let images = Tensor::arange(2 * 32 * 32, (Kind::Float, Device::Cpu)).sin().view([2, 1, 32, 32]);
        let features = method.encoder().features(&images, Pass::Evaluate).expect("nobody else takes part");
        (write_encoder(method.encoder(), &spec, 1, folder).expect("it is written"), images, features.detach())
    }

    fn read(path: &Path) -> (Exported, Description) {
        let found = Exported::find(path).expect("it is readable").expect("it is there");
        let description = Description::parse(&found.config, path).expect("it is sound");
        (found, description)
    }

    #[test]
    fn what_is_written_gives_the_same_features_when_read() {
        for network in [RESNET, VIT] {
            let folder = tempfile::tempdir().expect("there is room");
            let (path, images, features) = write(network, folder.path());
            let (found, description) = read(&path);
            assert_eq!((description.n_channels, description.size), (1, 32));
            assert_eq!((&description.mean[..], &description.std[..]), (&[0.449][..], &[0.226][..]));
            let network = description.build(&setup(9));
            found.load_into(&network).expect("it fits");
            assert_eq!(network.features(&images, Pass::Evaluate).expect("nobody else takes part"), features);
        }
    }

    #[test]
    fn a_flow_ahead_of_the_halves_is_written_and_read() {
        let text = "{name: read, recipe: {data: {image_folder: {train: images}}, encoder: {resnet: {width: 4, stem: cifar}}, \
                    method: {cmc: {}}}}";
        let wire = job_spec::from_yaml(text, &[]).expect("the text is a job");
        let spec = JobSpec::check(&wire).expect("the job is sound");
        let shape = FlowShape { preserves_volume: false, n_couplings: 3, hidden_dim: 5 };
        let flow = Flow::new(shape, 3, &setup(1));
        for entry in flow.entries() {
            let values = Tensor::arange(entry.tensor.numel() as i64, (Kind::Float, Device::Cpu)).sin();
            entry.tensor.shallow_clone().copy_(&values.view_as(&entry.tensor));
        }
        let network = Encoder::new(&spec.recipe.encoder, 3, &setup(1)).behind(flow);
        let images = Tensor::arange(2 * 3 * 32 * 32, (Kind::Float, Device::Cpu)).sin().view([2, 3, 32, 32]);
        let folder = tempfile::tempdir().expect("there is room");
        let path = write_encoder(&network, &spec, 3, folder.path()).expect("it is written");
        let (found, description) = read(&path);
        let loaded = description.build(&setup(9));
        found.load_into(&loaded).expect("it fits");
        let features = |network: &Encoder| network.features(&images, Pass::Evaluate).expect("one rank");
        assert_eq!(features(&loaded), features(&network));
    }

    #[test]
    fn tensors_that_do_not_fit_the_architecture_are_named() {
        let folder = tempfile::tempdir().expect("there is room");
        let (path, ..) = write(RESNET, folder.path());
        for (field, value, words) in [
            ("\"resnet18\"", "\"resnet34\"", "has no tensor layer1.2.conv1.weight, which the architecture"),
            ("\"width\": 4", "\"width\": 8", "tensor conv1.weight is [4, 1, 3, 3], not [8, 1, 3, 3], which"),
        ] {
            let (found, description) = read(&path);
            let config = String::from_utf8(found.config.clone()).expect("JSON is text").replace(field, value);
            let other = Description::parse(config.as_bytes(), &path).expect("it is sound");
            assert_ne!(other, description);
            let error = found.load_into(&other.build(&setup(9))).expect_err("it does not fit").to_string();
            assert!(error.contains(words) && error.contains("encoder.safetensors"), "{error}");
        }
    }

    #[test]
    fn tensors_that_the_architecture_lacks_are_named() {
        let folder = tempfile::tempdir().expect("there is room");
        let (path, ..) = write(RESNET, folder.path());
        let (_, description) = read(&path);
        let mut tensors = Tensor::read_safetensors(&path).expect("it is sound");
        for name in ["fc.weight", "bn1.num_batches_tracked", "layer5.weight"] {
            tensors.push((name.into(), Tensor::zeros([1], (Kind::Float, Device::Cpu))));
        }
        Tensor::write_safetensors(&tensors, &path).expect("it is writable");
        let (found, _) = read(&path);
        let error = found.load_into(&description.build(&setup(9))).expect_err("one is too many").to_string();
        assert!(error.contains("holds tensor layer5.weight, which the architecture"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_no_error_but_a_folder_is() {
        let folder = tempfile::tempdir().expect("there is room");
        let missing = Exported::find(&folder.path().join("encoder.safetensors")).expect("nothing is there");
        assert!(missing.is_none());
        let error = Exported::find(folder.path()).err().expect("a folder is there").to_string();
        assert!(error.contains("is no file: name the encoder.safetensors in it"), "{error}");
        let (path, ..) = write(RESNET, folder.path());
        fs::remove_file(folder.path().join("config.json")).expect("it was there");
        assert_eq!(
            Exported::find(&path).err().expect("half of it is there").path(),
            folder.path().join("config.json")
        );
    }
}
