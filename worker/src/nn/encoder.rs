//! The network that is kept, whatever its kind.

use kindred_proto::recipe::{self, Network};
use tch::Tensor;

use super::{
    builder::{Entry, Setup},
    flow::Flow,
    pass::Pass,
    resnet::ResNet,
    split::Split,
    vit::Vit,
};
use crate::collective::Error;

/// The network that is kept: images to features.
pub enum Encoder {
    /// A residual network.
    ResNet(ResNet),
    /// Two residual networks side by side.
    Split(Box<Split>),
    /// A vision transformer.
    Vit(Vit),
}

impl Encoder {
    /// Builds the network for images of so many channels.
    pub fn new(recipe: &recipe::Encoder, n_channels: u32, setup: &Setup) -> Self {
        match &recipe.network {
            Network::ResNet(resnet) => match resnet.half() {
                None => Self::ResNet(ResNet::new(resnet, n_channels, setup)),
                Some(half) => {
                    let n_first = resnet.split_channels;
                    Self::Split(Box::new(Split::new(&half, (n_first, n_channels - n_first), setup)))
                }
            },
            Network::Vit(vit) => Self::Vit(Vit::new(vit, n_channels, setup)),
        }
    }

    /// Shows it what a flow makes of images, if it is split.
    pub fn behind(self, flow: Flow) -> Self {
        match self {
            Self::Split(split) => Self::Split(Box::new(split.behind(flow))),
            whole => whole,
        }
    }

    /// Its two networks, if it is split.
    pub fn split(&self) -> Option<&Split> {
        match self {
            Self::Split(split) => Some(split),
            Self::ResNet(_) | Self::Vit(_) => None,
        }
    }

    /// Features of images.
    ///
    /// # Shapes
    /// `[B, C, H, W]` to `[B, F]`.
    ///
    /// # Errors
    /// When statistics are synchronised and a peer is lost.
    pub fn features(&self, images_bchw: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        match self {
            Self::ResNet(resnet) => resnet.features(images_bchw, pass),
            Self::Split(split) => split.features(images_bchw, pass),
            Self::Vit(vit) => Ok(vit.features(images_bchw)),
        }
    }

    /// Width of the features.
    pub fn feature_dim(&self) -> i64 {
        match self {
            Self::ResNet(resnet) => resnet.feature_dim(),
            Self::Split(split) => split.feature_dim(),
            Self::Vit(vit) => vit.feature_dim(),
        }
    }

    /// All tensors: torchvision's names for residual networks (behind `first.` and `second.` where there are two), timm's for transformers.
    pub fn entries(&self) -> &[Entry] {
        match self {
            Self::ResNet(resnet) => resnet.entries(),
            Self::Split(split) => split.entries(),
            Self::Vit(vit) => vit.entries(),
        }
    }
}
