//! Where the images are.

use std::path::{Path, PathBuf};

use crate::{
    scope::{Scope, positive_to},
    v1::{self, data_source::Source},
};

/// Where the images are and how their pixels are normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSource {
    /// The kind of data set.
    pub kind: DataKind,
    /// Train on the first so many images of the index only. Default: on all.
    pub limit: Option<u64>,
    /// Per-channel mean of pixels in [0, 1]; one per channel. Default: that of Fashion-MNIST's training set, or for
    /// folders that of ImageNet's (torchvision's reference transforms; 0.449 for grey is the mean of the three).
    pub mean: Vec<f64>,
    /// Per-channel standard deviation of pixels in [0, 1]; one per channel. Default: as for the mean.
    pub std: Vec<f64>,
}

/// The kind of data set. Relative paths are below the node's data root.
#[derive(Clone, Debug, PartialEq)]
pub enum DataKind {
    /// The four IDX files.
    FashionMnist {
        /// Folder that holds them. Default `fashion-mnist`.
        root: PathBuf,
    },
    /// JPEG or PNG files at any depth.
    ImageFolder {
        /// Folder of the training images.
        train: PathBuf,
        /// Folder of labelled query images. Default: none, and then nothing is evaluated.
        test: Option<PathBuf>,
        /// 1 or 3. Default 3.
        channels: u32,
    },
}

impl DataSource {
    /// Channels that the network sees.
    pub fn channels(&self) -> u32 {
        self.kind.channels()
    }

    /// Whether the source has labelled test images by its nature.
    pub fn has_test(&self) -> bool {
        match &self.kind {
            DataKind::FashionMnist { .. } => true,
            DataKind::ImageFolder { test, .. } => test.is_some(),
        }
    }

    pub(super) fn check(wire: Option<&v1::DataSource>, at: &Scope) -> Self {
        let wire = wire.cloned().unwrap_or_default();
        let kind = DataKind::check(wire.source.as_ref(), at);
        let (mean, std) = kind.published_statistics();
        Self {
            limit: at.optional("limit", wire.limit, 1..),
            mean: per_channel(at, ("mean", &wire.mean), mean),
            std: per_channel(at, ("std", &wire.std), std),
            kind,
        }
        .with_statistics_in_bounds(at)
    }

    fn with_statistics_in_bounds(self, at: &Scope) -> Self {
        for &mean in &self.mean {
            at.within("mean", mean, 0.0..=1.0);
        }
        for &std in &self.std {
            at.within("std", std, positive_to(1.0));
        }
        self
    }

    pub(super) fn to_wire(&self) -> v1::DataSource {
        let source = match &self.kind {
            DataKind::FashionMnist { root } => {
                Source::FashionMnist(v1::FashionMnist { root: Some(text(root)) })
            }
            DataKind::ImageFolder { train, test, channels } => Source::ImageFolder(v1::ImageFolder {
                train: text(train),
                test: test.as_deref().map(text),
                channels: Some(*channels),
            }),
        };
        let (mean, std) = (self.mean.clone(), self.std.clone());
        v1::DataSource { source: Some(source), limit: self.limit, mean, std }
    }
}

impl DataKind {
    fn check(wire: Option<&Source>, at: &Scope) -> Self {
        match wire {
            Some(Source::FashionMnist(wire)) => Self::fashion_mnist(wire, &at.field("fashion_mnist")),
            Some(Source::ImageFolder(wire)) => Self::image_folder(wire, &at.field("image_folder")),
            None => {
                at.refuse("names no data set: give `fashion_mnist: {}` or `image_folder: {train: FOLDER}`");
                Self::fashion_mnist(&v1::FashionMnist::default(), at)
            }
        }
    }

    fn fashion_mnist(wire: &v1::FashionMnist, at: &Scope) -> Self {
        Self::FashionMnist { root: path(at, "root", wire.root.as_deref().unwrap_or("fashion-mnist")) }
    }

    fn image_folder(wire: &v1::ImageFolder, at: &Scope) -> Self {
        let channels = wire.channels.unwrap_or(3);
        if !matches!(channels, 1 | 3) {
            at.violate("channels", format!("must be 1 (grey) or 3 (colour), not {channels}"));
        }
        Self::ImageFolder {
            train: path(at, "train", &wire.train),
            test: wire.test.as_deref().map(|test| path(at, "test", test)),
            channels,
        }
    }

    fn channels(&self) -> u32 {
        match self {
            Self::FashionMnist { .. } => 1,
            Self::ImageFolder { channels, .. } => *channels,
        }
    }

    fn published_statistics(&self) -> (&'static [f64], &'static [f64]) {
        match self {
            Self::FashionMnist { .. } => (&[0.2860], &[0.3530]),
            Self::ImageFolder { channels: 1, .. } => (&[0.449], &[0.226]),
            Self::ImageFolder { .. } => (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
        }
    }
}

fn per_channel(at: &Scope, (field, given): (&str, &[f64]), published: &[f64]) -> Vec<f64> {
    match given {
        [] => published.to_vec(),
        [value] => vec![*value; published.len()],
        given => {
            if given.len() != published.len() {
                let (n_given, n_channels) = (given.len(), published.len());
                at.violate(
                    field,
                    format!("must hold 1 value or {n_channels}, one per channel, not {n_given}"),
                );
            }
            given.iter().copied().take(published.len()).collect()
        }
    }
}

fn path(at: &Scope, field: &str, given: &str) -> PathBuf {
    if given.is_empty() {
        at.violate(field, "must name a folder, not be empty");
    }
    if given.contains('\0') || given.len() > 4096 {
        at.violate(field, "is not a path: it must be at most 4096 bytes long and hold no NUL");
    }
    PathBuf::from(given)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
