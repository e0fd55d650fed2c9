//! Where the images are.

use std::path::{Path, PathBuf};

use super::Subset;
use crate::{
    scope::{Scope, positive_to},
    v1::{self, data_source::Source, stl10},
};

/// Where the images are and how their pixels are normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSource {
    /// The kind of data set.
    pub kind: DataKind,
    /// Train on the first so many images of the index only. Default: on all.
    pub limit: Option<u64>,
    /// Train on the images that this chooses of those within the limit. Default: on all.
    pub subset: Option<Subset>,
    /// Per-channel mean of pixels in [0, 1]; one per channel. Default: that of Fashion-MNIST's training set; for folders and shards
    /// that of ImageNet's (torchvision's reference transforms; 0.449 for grey is the mean of the three); for CIFAR-10
    /// that of MoCo's notebook (@ f736491), for CIFAR-100 that of its training set, for STL-10 that of
    /// SsnL/align_uniform (@ e256d47).
    pub mean: Vec<f64>,
    /// Per-channel standard deviation of pixels in [0, 1]; one per channel. Default: as for the mean.
    pub std: Vec<f64>,
    /// Share of the images that may be damaged before a job fails. Default 0.001.
    pub max_damaged: f64,
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
    /// Tar files of JPEG or PNG files, and of their labels.
    WebDataset {
        /// Folder of the training shards, or the URL of their place in an object store.
        train: PathBuf,
        /// The same of the shards of labelled query images. Default: none, and then nothing is evaluated.
        test: Option<PathBuf>,
        /// 1 or 3. Default 3.
        channels: u32,
    },
    /// The binary version of CIFAR-10.
    Cifar10 {
        /// Folder that holds it. Default `cifar-10-batches-bin`, as it is packed.
        root: PathBuf,
    },
    /// The binary version of CIFAR-100, with its fine labels.
    Cifar100 {
        /// Folder that holds it. Default `cifar-100-binary`, as it is packed.
        root: PathBuf,
    },
    /// The binary version of STL-10.
    Stl10 {
        /// Folder that holds it. Default `stl10_binary`, as it is packed.
        root: PathBuf,
        /// What is trained on. Default the labelled images.
        train: Stl10Part,
    },
}

/// A part of STL-10's training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stl10Part {
    /// The 5,000 with labels.
    Labelled,
    /// The 100,000 without.
    Unlabelled,
    /// Both, the labelled ones first.
    All,
}

impl Stl10Part {
    fn check(wire: i32, at: &Scope) -> Self {
        match at.known("train", wire).unwrap_or_default() {
            stl10::Part::Unspecified | stl10::Part::Labelled => Self::Labelled,
            stl10::Part::Unlabelled => Self::Unlabelled,
            stl10::Part::All => Self::All,
        }
    }

    fn to_wire(self) -> stl10::Part {
        match self {
            Self::Labelled => stl10::Part::Labelled,
            Self::Unlabelled => stl10::Part::Unlabelled,
            Self::All => stl10::Part::All,
        }
    }
}

impl DataSource {
    /// Channels that the network sees.
    pub fn channels(&self) -> u32 {
        self.kind.channels()
    }

    /// Whether the source has labelled test images by its nature.
    pub fn has_test(&self) -> bool {
        match &self.kind {
            DataKind::ImageFolder { test, .. } | DataKind::WebDataset { test, .. } => test.is_some(),
            _ => true,
        }
    }

    pub(crate) fn check(wire: Option<&v1::DataSource>, at: &Scope) -> Self {
        let wire = wire.cloned().unwrap_or_default();
        let kind = DataKind::check(wire.source.as_ref(), at);
        let (mean, std) = kind.published_statistics();
        if wire.subset.is_some() && (kind.is_unlabelled() || kind.is_partly_labelled()) {
            at.violate("subset", "chooses by labels, which not all of these images have: leave it out");
        }
        Self {
            limit: at.optional("limit", wire.limit, 1..),
            subset: wire.subset.and_then(|wire| Subset::check(&wire, &at.field("subset"))),
            mean: per_channel(at, ("mean", &wire.mean), mean),
            std: per_channel(at, ("std", &wire.std), std),
            max_damaged: wire.max_damaged.unwrap_or(0.001),
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
        at.within("max_damaged", self.max_damaged, 0.0..=1.0);
        self
    }

    pub(crate) fn to_wire(&self) -> v1::DataSource {
        let source = match &self.kind {
            DataKind::FashionMnist { root } => {
                Source::FashionMnist(v1::FashionMnist { root: Some(text(root)) })
            }
            DataKind::ImageFolder { train, test, channels } => Source::ImageFolder(v1::ImageFolder {
                train: text(train),
                test: test.as_deref().map(text),
                channels: Some(*channels),
            }),
            DataKind::WebDataset { train, test, channels } => Source::Webdataset(v1::WebDataset {
                train: text(train),
                test: test.as_deref().map(text),
                channels: Some(*channels),
            }),
            DataKind::Cifar10 { root } => Source::Cifar10(v1::Cifar10 { root: Some(text(root)) }),
            DataKind::Cifar100 { root } => Source::Cifar100(v1::Cifar100 { root: Some(text(root)) }),
            DataKind::Stl10 { root, train } => {
                Source::Stl10(v1::Stl10 { root: Some(text(root)), train: train.to_wire().into() })
            }
        };
        v1::DataSource {
            source: Some(source),
            limit: self.limit,
            mean: self.mean.clone(),
            std: self.std.clone(),
            subset: self.subset.as_ref().map(Subset::to_wire),
            max_damaged: Some(self.max_damaged),
        }
    }
}

impl DataKind {
    fn check(wire: Option<&Source>, at: &Scope) -> Self {
        let root = |field: &str, given: &Option<String>, default: &str| {
            path(&at.field(field), "root", given.as_deref().unwrap_or(default))
        };
        match wire {
            Some(Source::FashionMnist(wire)) => {
                Self::FashionMnist { root: root("fashion_mnist", &wire.root, "fashion-mnist") }
            }
            Some(Source::ImageFolder(wire)) => Self::image_folder(wire, &at.field("image_folder")),
            Some(Source::Webdataset(wire)) => {
                let (at, channels) = (at.field("webdataset"), wire.channels);
                Self::WebDataset {
                    train: place(&at, "train", &wire.train),
                    test: wire.test.as_deref().map(|test| place(&at, "test", test)),
                    channels: color_channels(channels, &at),
                }
            }
            Some(Source::Cifar10(wire)) => {
                Self::Cifar10 { root: root("cifar10", &wire.root, "cifar-10-batches-bin") }
            }
            Some(Source::Cifar100(wire)) => {
                Self::Cifar100 { root: root("cifar100", &wire.root, "cifar-100-binary") }
            }
            Some(Source::Stl10(wire)) => Self::Stl10 {
                root: root("stl10", &wire.root, "stl10_binary"),
                train: Stl10Part::check(wire.train, &at.field("stl10")),
            },
            None => {
                at.refuse(
                    "names no data set: give `fashion_mnist: {}`, `cifar10: {}`, `cifar100: {}`, `stl10: {}`, \
                     `image_folder: {train: FOLDER}` or `webdataset: {train: FOLDER}`",
                );
                Self::FashionMnist { root: PathBuf::new() }
            }
        }
    }

    fn image_folder(wire: &v1::ImageFolder, at: &Scope) -> Self {
        Self::ImageFolder {
            train: path(at, "train", &wire.train),
            test: wire.test.as_deref().map(|test| path(at, "test", test)),
            channels: color_channels(wire.channels, at),
        }
    }

    pub(super) fn channels(&self) -> u32 {
        match self {
            Self::FashionMnist { .. } => 1,
            Self::ImageFolder { channels, .. } | Self::WebDataset { channels, .. } => *channels,
            Self::Cifar10 { .. } | Self::Cifar100 { .. } | Self::Stl10 { .. } => 3,
        }
    }

    /// Whether it is known before the images are seen that they have no labels.
    pub(super) fn is_unlabelled(&self) -> bool {
        matches!(self, Self::Stl10 { train: Stl10Part::Unlabelled, .. })
    }

    /// Whether it is known before the images are seen that only some have labels.
    fn is_partly_labelled(&self) -> bool {
        matches!(self, Self::Stl10 { train: Stl10Part::All, .. })
    }

    fn published_statistics(&self) -> (&'static [f64], &'static [f64]) {
        match self {
            Self::FashionMnist { .. } => (&[0.2860], &[0.3530]),
            Self::Cifar10 { .. } => (&[0.4914, 0.4822, 0.4465], &[0.2023, 0.1994, 0.2010]),
            Self::Cifar100 { .. } => (&[0.5071, 0.4867, 0.4408], &[0.2675, 0.2565, 0.2761]),
            Self::Stl10 { .. } => (&[0.4409, 0.4279, 0.3868], &[0.2683, 0.2610, 0.2687]),
            Self::ImageFolder { channels: 1, .. } | Self::WebDataset { channels: 1, .. } => {
                (&[0.449], &[0.226])
            }
            Self::ImageFolder { .. } | Self::WebDataset { .. } => {
                (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])
            }
        }
    }
}

/// Channels of files that may have either: 3 unless given.
fn color_channels(given: Option<u32>, at: &Scope) -> u32 {
    let channels = given.unwrap_or(3);
    if !matches!(channels, 1 | 3) {
        at.violate("channels", format!("must be 1 (grey) or 3 (colour), not {channels}"));
    }
    channels
}

/// What was given of `field`, one per channel: as many as were published.
pub(super) fn per_channel(at: &Scope, (field, given): (&str, &[f64]), published: &[f64]) -> Vec<f64> {
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

/// A folder, or the URL of a place in an object store.
fn place(at: &Scope, field: &str, given: &str) -> PathBuf {
    if let Some((scheme, rest)) = given.split_once("://") {
        if !matches!(scheme, "s3" | "file") || rest.is_empty() || scheme == "file" && !rest.starts_with('/') {
            let forms = "give a folder, s3://BUCKET/PREFIX or file:///FOLDER";
            at.violate(field, format!("names no place that shards can be read from: {forms}"));
        }
        if !stays_in_place(given) {
            at.violate(field, "must be plain: without `..`, `%`, `\\`, blanks, and letters beyond ASCII");
        }
    }
    path(at, field, given)
}

/// Whether a URL names a place below what it begins with, however it is read: programs that read URLs take `%2e` for a dot, `\` for a
/// slash, and leave tabs out.
pub fn stays_in_place(url: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\');
    url.bytes().all(is_plain) && url.split('/').all(|part| part != "..")
}

/// The URL, where a path of a recipe is one of an object store and not of this machine's files.
pub fn store_url(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| text.starts_with("s3://") || text.starts_with("file://"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
