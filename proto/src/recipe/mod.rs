//! The checked recipe: every default filled in, every bound enforced.
//!
//! `v1::Recipe` is the wire form. [`Recipe::check`] turns it into this one, and [`Recipe::to_wire`] back, with
//! nothing left out. One file per method below [`methods`].

use std::path::PathBuf;

use crate::v1;

mod check;
pub mod methods;
mod wire;

pub use methods::Method;

/// What to train, in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Where the images are.
    pub data: DataSource,
    /// One pipeline per view, in the method's order.
    pub views: Vec<View>,
    /// The network that is kept.
    pub encoder: ResNet,
    /// The objective and its networks.
    pub method: Method,
    /// How gradients become steps.
    pub optimizer: Sgd,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// Length, batch, precision.
    pub training: Training,
    /// When state is written.
    pub checkpoint: CheckpointPolicy,
    /// What is measured beside the loss.
    pub evaluation: Evaluation,
}

/// Where the images are and how their pixels are normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSource {
    /// The kind of data set.
    pub kind: DataKind,
    /// Train on the first so many images of the index only.
    pub limit: Option<u64>,
    /// Per-channel mean of pixels in [0, 1]; one per channel.
    pub mean: Vec<f64>,
    /// Per-channel standard deviation of pixels in [0, 1]; one per channel.
    pub std: Vec<f64>,
}

/// The kind of data set. Relative paths are below the node's data root.
#[derive(Clone, Debug, PartialEq)]
pub enum DataKind {
    /// The four IDX files.
    FashionMnist {
        /// Folder that holds them.
        root: PathBuf,
    },
    /// JPEG or PNG files at any depth.
    ImageFolder {
        /// Folder of the training images.
        train: PathBuf,
        /// Folder of labelled query images.
        test: Option<PathBuf>,
        /// 1 or 3.
        channels: u32,
    },
}

/// One view: the operations in the order in which they run.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Cut and scale.
    pub crop: RandomResizedCrop,
    /// Brightness, contrast, saturation and hue, in random order.
    pub color_jitter: Option<ColorJitter>,
    /// Probability of turning grey.
    pub grayscale_probability: f64,
    /// Gaussian blur.
    pub blur: Option<GaussianBlur>,
    /// Inversion of bright pixels.
    pub solarize: Option<Solarize>,
    /// Probability of a mirror image.
    pub horizontal_flip_probability: f64,
}

/// Cut and scale, as torchvision's RandomResizedCrop.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomResizedCrop {
    /// Side of the output in pixels.
    pub size: u32,
    /// Least share of the area.
    pub scale_min: f64,
    /// Greatest share of the area.
    pub scale_max: f64,
    /// Least aspect ratio.
    pub ratio_min: f64,
    /// Greatest aspect ratio.
    pub ratio_max: f64,
}

/// Factors as torchvision's ColorJitter: each is uniform in [max(0, 1 - x), 1 + x], hue in [-x, x].
#[derive(Clone, Debug, PartialEq)]
pub struct ColorJitter {
    /// Probability that the operation runs.
    pub probability: f64,
    /// Brightness.
    pub brightness: f64,
    /// Contrast.
    pub contrast: f64,
    /// Saturation.
    pub saturation: f64,
    /// Hue, at most 0.5.
    pub hue: f64,
}

/// Gaussian blur with a standard deviation uniform in [sigma_min, sigma_max] pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianBlur {
    /// Probability that the operation runs.
    pub probability: f64,
    /// Least standard deviation in pixels.
    pub sigma_min: f64,
    /// Greatest standard deviation in pixels.
    pub sigma_max: f64,
}

/// Inversion of the pixels at or above a threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Solarize {
    /// Probability that the operation runs.
    pub probability: f64,
    /// Threshold in [0, 1].
    pub threshold: f64,
}

/// A residual network without its classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct ResNet {
    /// 18, 34 or 50.
    pub depth: u32,
    /// Channels of the first stage.
    pub width: u32,
    /// First layers.
    pub stem: Stem,
    /// Which samples share statistics.
    pub batch_norm: BatchNorm,
}

impl ResNet {
    /// Width of the features: `8 width` for basic blocks, `32 width` for bottlenecks.
    pub fn feature_dim(&self) -> u32 {
        if self.depth < 50 { 8 * self.width } else { 32 * self.width }
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

/// Which samples share batch statistics in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNorm {
    /// Fixed groups of so many consecutive samples of the global batch.
    Groups {
        /// Samples per group; divides the batch of a rank.
        size: u32,
    },
    /// Running statistics, and no gradient for affine parameters.
    Frozen,
}

/// Stochastic gradient descent as PyTorch's SGD: decay is added to the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// Peak learning rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Nesterov's form.
    pub nesterov: bool,
}

/// How the learning rate moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Length of the linear warm-up in epochs.
    pub warmup_epochs: f64,
    /// What follows.
    pub decay: Decay,
}

/// What follows the warm-up.
#[derive(Clone, Debug, PartialEq)]
pub enum Decay {
    /// Half a cosine down to `final_share` of the peak.
    Cosine {
        /// Evaluated once per epoch rather than once per step.
        per_epoch: bool,
        /// Share of the peak that is left at the end.
        final_share: f64,
    },
    /// Multiplied by `factor` at each milestone.
    Steps {
        /// Epochs.
        milestones: Vec<u32>,
        /// Factor.
        factor: f64,
    },
    /// The peak, to the end.
    Constant,
}

/// Length, batch, precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Passes over the data.
    pub epochs: u32,
    /// Stop after so many steps.
    pub max_steps: Option<u64>,
    /// Images per step over all ranks.
    pub global_batch: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// Number format of the forward and backward passes.
    pub precision: Precision,
    /// Memory layout of images and convolutions.
    pub channels_last: bool,
    /// Threads that a rank on the CPU computes with.
    pub threads_per_rank: u32,
    /// Steps between two readings of loss and rates.
    pub log_every_steps: u32,
    /// Batches that the loader prepares ahead.
    pub prefetch_batches: u32,
}

/// Number format of the forward and backward passes; parameters stay in f32 (f64 with `Fp64`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// Autocast to bfloat16.
    Bf16,
    /// 64-bit floats, for tests of equality.
    Fp64,
}

/// When state is written.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointPolicy {
    /// When one is due.
    pub every: CheckpointInterval,
    /// How many stay.
    pub keep_last: u32,
}

/// When a checkpoint is due; the last step always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointInterval {
    /// After every so many steps.
    Steps(u64),
    /// After every so many epochs.
    Epochs(u32),
}

/// What is measured beside the loss. `None`: not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Weighted cosine kNN.
    pub knn: Option<Knn>,
    /// Linear probe at the end.
    pub linear: Option<LinearProbe>,
}

/// Weighted cosine kNN on the encoder's features: a neighbour votes with exp(cosine / temperature).
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    /// Neighbours.
    pub k: u32,
    /// Temperature.
    pub temperature: f64,
    /// Epochs between two measurements.
    pub every_epochs: u32,
    /// Images of the training set that serve as bank while training.
    pub bank_limit: Option<u64>,
}

/// Logistic regression on frozen, standardised features.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbe {
    /// Iterations of L-BFGS.
    pub max_iterations: u32,
    /// Weight of the squared norm of the weights.
    pub l2: f64,
}
