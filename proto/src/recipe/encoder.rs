//! The network that is kept.

use super::{data::DataKind, methods::Share, view::View};
use crate::{
    scope::Scope,
    v1::{self, encoder::Kind, res_net},
};

mod vit;

pub use vit::Vit;

/// The network that is kept, without a classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// Its layers. Default: a ResNet.
    pub network: Network,
    /// Which samples share statistics, in the encoder and in the heads behind it.
    pub batch_norm: BatchNorm,
}

/// A kind of network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// A residual network.
    ResNet(ResNet),
    /// A vision transformer.
    Vit(Vit),
}

impl Encoder {
    /// Width of the features.
    pub fn feature_dim(&self) -> u32 {
        match &self.network {
            Network::ResNet(resnet) => resnet.feature_dim(),
            Network::Vit(vit) => vit.width,
        }
    }

    /// The stem, which decides between what methods published for small images and for ImageNet; of a transformer, the
    /// stem of the ResNets for images with such patches.
    pub fn stem(&self) -> Stem {
        match &self.network {
            Network::ResNet(resnet) => resnet.stem,
            Network::Vit(vit) => vit.stem(),
        }
    }

    /// One of its two networks, where each is for channels of its own.
    pub fn half(&self) -> Option<Self> {
        let Network::ResNet(resnet) = &self.network else { return None };
        let network = Network::ResNet(resnet.half()?);
        Some(Self { network, ..self.clone() })
    }

    /// Everything but `batch_norm`, whose default follows from the batch: see [`BatchNorm::check`]. `split_channels` is
    /// the method's default.
    pub(super) fn check(
        wire: Option<&v1::Encoder>,
        data: &DataKind,
        split_channels: u32,
        at: &Scope,
    ) -> Self {
        let resnet = |wire: &v1::ResNet| ResNet::check(wire, data, split_channels, &at.field("resnet"));
        let network = match wire.and_then(|encoder| encoder.kind.as_ref()) {
            Some(Kind::Resnet(wire)) => Network::ResNet(resnet(wire)),
            Some(Kind::Vit(wire)) => Network::Vit(Vit::check(wire, data, &at.field("vit"))),
            None => Network::ResNet(resnet(&v1::ResNet::default())),
        };
        Self { network, batch_norm: BatchNorm::Frozen }
    }

    /// `at` is the recipe, which holds the views.
    pub(super) fn check_views(&self, views: &[View], at: &Scope) {
        if let Network::Vit(vit) = &self.network {
            vit.check_views(views, at);
        }
    }

    pub(super) fn to_wire(&self) -> v1::Encoder {
        let kind = match &self.network {
            Network::ResNet(resnet) => Kind::Resnet(resnet.to_wire(self.batch_norm)),
            Network::Vit(vit) => Kind::Vit(vit.to_wire(self.batch_norm)),
        };
        v1::Encoder { kind: Some(kind) }
    }
}

/// A residual network without its classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResNet {
    /// 18, 34, 50, 101 or 152. Default 18 with the CIFAR stem, 50 with the ImageNet stem (MoCo, SCE).
    pub depth: u32,
    /// Channels of the first stage, of both halves together. Default 64, the published network.
    pub width: u32,
    /// First layers. Default ImageNet for folders, CIFAR for the sets of small images.
    pub stem: Stem,
    /// Above 0: two networks of half the width side by side, one for so many of the first channels, one for the others.
    /// Default 0; for CMC on colour images 1 (brightness, colours; code).
    pub split_channels: u32,
}

impl ResNet {
    /// Width of the features: `8 width` for basic blocks, `32 width` for bottlenecks.
    pub fn feature_dim(&self) -> u32 {
        if self.depth < 50 { 8 * self.width } else { 32 * self.width }
    }

    /// One of its two networks, if it is split.
    pub fn half(&self) -> Option<Self> {
        (self.split_channels > 0).then(|| Self { width: self.width / 2, split_channels: 0, ..self.clone() })
    }

    fn check(wire: &v1::ResNet, data: &DataKind, split_channels: u32, at: &Scope) -> Self {
        let stem = Stem::check(wire, data, at);
        let depth = wire.depth.unwrap_or(if stem == Stem::Cifar { 18 } else { 50 });
        if !matches!(depth, 18 | 34 | 50 | 101 | 152) {
            at.violate("depth", format!("must be 18, 34, 50, 101 or 152, not {depth}"));
        }
        let width = at.number("width", wire.width, 64, 1..=1024);
        let most = data.channels().saturating_sub(1);
        let split_channels =
            at.number("split_channels", wire.split_channels, split_channels.min(most), 0..=most);
        if split_channels > 0 && !width.is_multiple_of(2) {
            at.violate("width", format!("must be even where the encoder is split, not {width}"));
        }
        Self { depth, width, stem, split_channels }
    }

    fn to_wire(&self, batch_norm: BatchNorm) -> v1::ResNet {
        let stem = match self.stem {
            Stem::Cifar => res_net::Stem::Cifar,
            Stem::ImageNet => res_net::Stem::Imagenet,
        };
        v1::ResNet {
            depth: Some(self.depth),
            split_channels: Some(self.split_channels),
            width: Some(self.width),
            stem: stem.into(),
            batch_norm: Some(batch_norm.to_wire()),
        }
    }
}

/// First layers of a ResNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 3x3 convolution of stride 1, no max-pool.
    Cifar,
    /// 7x7 convolution of stride 2, then max-pool.
    ImageNet,
}

impl Stem {
    fn check(wire: &v1::ResNet, data: &DataKind, at: &Scope) -> Self {
        match at.known("stem", wire.stem).unwrap_or_default() {
            res_net::Stem::Cifar => Self::Cifar,
            res_net::Stem::Imagenet => Self::ImageNet,
            res_net::Stem::Unspecified => Self::published_for(data),
        }
    }

    /// The stem of the ResNets that were published on such images.
    fn published_for(data: &DataKind) -> Self {
        match data {
            DataKind::ImageFolder { .. } | DataKind::WebDataset { .. } => Self::ImageNet,
            _ => Self::Cifar,
        }
    }

    /// Side of the views that the stem was published with.
    pub(super) fn crop_size(self, data: &DataKind) -> u32 {
        match (self, data) {
            (Self::ImageNet, DataKind::Stl10 { .. }) => 96,
            (Self::ImageNet, _) => 224,
            (Self::Cifar, DataKind::FashionMnist { .. }) => 28,
            (Self::Cifar, DataKind::Stl10 { .. }) => 64,
            (Self::Cifar, _) => 32,
        }
    }
}

/// Which samples share batch statistics in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNorm {
    /// Fixed groups of so many consecutive samples of the global batch.
    Groups {
        /// Samples per group; divides what a rank passes at once, which is the default: its batch, or its micro-batch.
        size: u32,
    },
    /// Running statistics, and no gradient for affine parameters.
    Frozen,
    /// The whole global batch; ranks exchange statistics.
    Synchronized,
}

impl BatchNorm {
    /// `wire` is the encoder that holds it. A batch that the ranks can not share is noted elsewhere.
    pub(super) fn check(wire: Option<&v1::Encoder>, images_per_pass: u32, at: &Scope) -> Self {
        let (network, wire) = match wire.and_then(|encoder| encoder.kind.as_ref()) {
            Some(Kind::Resnet(resnet)) => ("resnet", resnet.batch_norm),
            Some(Kind::Vit(vit)) => ("vit", vit.batch_norm),
            None => ("resnet", None),
        };
        let wire = wire.unwrap_or_default();
        let at = &at.field(network).field("batch_norm");
        let (is_frozen, is_synchronized) = (wire.frozen.unwrap_or(false), wire.synchronized.unwrap_or(false));
        if is_frozen && is_synchronized {
            at.violate("synchronized", "has no meaning where `frozen` is true: leave one of the two out");
        }
        if is_frozen || is_synchronized {
            if wire.group_size.is_some() {
                let other = if is_frozen { "frozen" } else { "synchronized" };
                let message = format!("has no meaning where `{other}` is true: leave one of the two out");
                at.violate("group_size", message);
            }
            return if is_frozen { Self::Frozen } else { Self::Synchronized };
        }
        let size = wire.group_size.unwrap_or(images_per_pass);
        if size < 2 {
            at.violate("group_size", format!("must be at least 2 (statistics of {size} vary by nothing)"));
        } else if !images_per_pass.is_multiple_of(size) {
            let message =
                format!("must divide the {images_per_pass} images that a rank passes at once, not be {size}");
            at.violate("group_size", message);
        }
        Self::Groups { size }
    }

    /// What a rank passes at once.
    pub(super) fn share_of(self, n_images: u32) -> Share {
        let group = if let Self::Groups { size } = self { Some(size) } else { None };
        Share { n_images, group }
    }

    fn to_wire(self) -> v1::BatchNorm {
        match self {
            Self::Groups { size } => {
                v1::BatchNorm { group_size: Some(size), frozen: Some(false), synchronized: Some(false) }
            }
            Self::Frozen => v1::BatchNorm { group_size: None, frozen: Some(true), synchronized: Some(false) },
            Self::Synchronized => {
                v1::BatchNorm { group_size: None, frozen: Some(false), synchronized: Some(true) }
            }
        }
    }
}
