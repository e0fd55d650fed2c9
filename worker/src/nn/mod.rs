//! Networks: ResNets, invertible flows, vision transformers, heads, batch normalisation (groups, synchronised, shuffled), momentum branches.
//!
//! A network owns its named tensors ([`Entry`]); names inside a ResNet are torchvision's, inside a transformer timm's. Called by `methods`, which
//! prefix the names with the branch, and by `export`. Non-goals: losses, gradients across ranks, optimisation.

mod batch_norm;
mod branch;
mod builder;
mod encoder;
mod flow;
mod head;
mod jigsaw;
mod layers;
mod pass;
mod random;
mod resnet;
mod shuffle;
mod split;
pub mod statistics;
mod vit;

pub use batch_norm::BatchNorm;
pub use branch::{Branch, Momentum, normalize};
pub use builder::{Builder, Entry, Role, Setup};
pub use encoder::Encoder;
pub use flow::{Coupling, Flow, FlowShape, PixelNet, through};
pub use head::Head;
pub use jigsaw::JigsawHead;
pub use pass::Pass;
pub use random::{Stream, unit_rows};
pub use resnet::ResNet;
pub use shuffle::Shuffle;
pub use split::Split;
pub use vit::Vit;
