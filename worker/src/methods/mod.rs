//! The objectives: one file per method, one line per method in the table below.
//!
//! A method owns its networks and its memory and knows nothing of processes or optimisers. Its caller, `train::step`,
//! gathers what [`Method::embed`] returns and calls a [`Method`] in the order in which its functions stand; only
//! forward passes see the other ranks, for the statistics that they share. The formulas are pure functions over
//! tensors, so that reference fixtures can call them.

use kindred_proto::{
    job_spec::JobSpec,
    recipe::{Method as Recipe, Precision},
};
use tch::{Device, Kind, Tensor};

use crate::{
    collective::{Collective, Error as PeerError},
    nn::{Encoder, Entry, Pass, Role, Setup},
};

pub mod byol;
pub mod clsa;
pub mod cmc;
pub mod co2;
mod contrast;
pub mod infomin;
pub mod insdis;
pub mod isd;
pub mod learned_views;
pub mod moco_v1;
pub mod moco_v2;
pub mod moco_v3;
mod momentum;
mod momentum_pair;
pub mod pauc_r;
pub mod pcl;
pub mod prototypes;
mod prototypical;
pub mod ressl;
pub mod sane;
pub mod sce;
pub mod simclr;
pub mod simsiam;
pub mod swav;

pub use contrast::{cosines, cross_entropy, log_relations, own_mask};
pub use momentum::{cosine_between, momentum};

use prototypes::Prototypes;

/// The views of this rank's images.
pub struct Input {
    /// One tensor a view, `[B, C, H, W]`, on the device.
    pub views: Vec<Tensor>,
    /// Which images of the training set they are, `[B]`, i64, on the device.
    pub samples_b: Tensor,
}

/// What a rank's images became: rows of unit length, `[B, D]`.
pub struct Embeddings {
    /// Of the online branch, with gradient.
    pub queries: Vec<Tensor>,
    /// Of the momentum branch, without.
    pub keys: Vec<Tensor>,
}

/// What all ranks' images became, in rank order.
pub struct Gathered {
    /// [`Embeddings::queries`], one by one, `[N, D]`: with gradient, of all ranks. Empty unless
    /// [`Method::gathers_queries`].
    pub queries: Vec<Tensor>,
    /// [`Embeddings::keys`], one by one, `[N, D]`.
    pub keys: Vec<Tensor>,
    /// [`Input::samples_b`], `[N]`.
    pub samples_n: Tensor,
    /// The row at which this rank's begin.
    pub first_row: i64,
}

/// What a method must know of the training images.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Channels of each.
    pub n_channels: u32,
    /// How many there are; [`Input::samples_b`] counts them from 0.
    pub n_images: u64,
    /// The class of each that has a label, if any have; those come first.
    pub labels: Option<&'a [u32]>,
    /// Classes of their labels; 0 without labels.
    pub n_classes: u32,
}

/// A place in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The step, from 0.
    pub step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// Steps of one pass over the training set.
    pub steps_per_epoch: u64,
}

impl At {
    /// Passes over the training set before this step.
    pub fn epoch(&self) -> f64 {
        self.step as f64 / self.steps_per_epoch as f64
    }
}

/// What an objective gives.
pub struct Loss {
    /// The local loss; its mean over ranks is the global one.
    pub total: Tensor,
    /// Scalars worth watching, still on the device.
    pub metrics: Vec<(&'static str, Tensor)>,
}

/// A self-supervised objective with its networks.
///
/// Where a step accumulates over micro-batches, `embed` and `loss` run once for each; what runs before and after them
/// runs once a step, the latter with the rows of all micro-batches.
pub trait Method: Send {
    /// All its tensors in a fixed order: networks and memory.
    fn entries(&self) -> Vec<Entry>;

    /// What is found anew from the training images now and then, for methods that have such.
    fn prototypes(&mut self) -> Option<&mut Prototypes> {
        None
    }

    /// What prototypes are found from: embeddings of images as they are, in evaluation mode; without gradient.
    ///
    /// # Errors
    /// When a peer is lost.
    fn embed_plain(&self, images_bchw: &Tensor) -> Result<Tensor, PeerError> {
        self.encoder().features(images_bchw, Pass::Evaluate)
    }

    /// Runs before the forward pass.
    fn before_forward(&mut self, _at: &At) {}

    /// The forward pass; the caller sets autocast.
    ///
    /// # Errors
    /// When a peer is lost while statistics or images are shared.
    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, PeerError>;

    /// Whether the objective looks at the queries of all ranks.
    fn gathers_queries(&self) -> bool {
        false
    }

    /// The objective, a pure function of its arguments and the memory; softmaxes are in f32 or f64.
    fn loss(&self, local: &Embeddings, gathered: &Gathered, at: &At) -> Loss;

    /// Runs after the optimiser's step.
    fn after_step(&mut self, _gathered: &Gathered, _at: &At) {}

    /// The network that is kept.
    fn encoder(&self) -> &Encoder;

    /// What gradients train, by name.
    fn parameters(&self) -> Vec<(String, Tensor)> {
        let is_trained = |entry: &Entry| entry.role == Role::Parameter && entry.tensor.requires_grad();
        self.entries().into_iter().filter(is_trained).map(|entry| (entry.name, entry.tensor)).collect()
    }

    /// What a checkpoint carries and all ranks agree on. Shallow handles: copying into them loads the state.
    fn state(&self) -> Vec<(String, Tensor)> {
        self.entries().into_iter().map(|entry| (entry.name, entry.tensor)).collect()
    }

    /// The running statistics, whose mean over ranks is taken after each step.
    fn buffers(&self) -> Vec<Tensor> {
        let is_buffer = |entry: &Entry| entry.role == Role::Buffer;
        self.entries().into_iter().filter(is_buffer).map(|entry| entry.tensor).collect()
    }
}

/// Why a method cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No tensor can be made on the device.
    #[error("device {device:?} cannot be used: {source}")]
    Device {
        /// The device.
        device: Device,
        /// What libtorch says.
        source: tch::TchError,
    },
    /// Labels are missing.
    #[error("recipe.method.{0} sees labels of the training images, and these have none")]
    Unlabelled(&'static str),
}

/// The table of methods: each line is the module, and the name that struct and recipe have.
macro_rules! methods {
    ($($module:ident::$Name:ident,)*) => {
        /// Builds the method that a job asks for, with initial values from its seed.
        ///
        /// # Errors
        /// When the device cannot be used, or labels are missing.
        pub fn build(spec: &JobSpec, images: &Images, device: Device) -> Result<Box<dyn Method>, Error> {
            let _ = Tensor::f_zeros([1], (Kind::Float, device)).map_err(|source| Error::Device { device, source })?;
            let method = &spec.recipe.method;
            if method.needs_labels() && images.labels.is_none() {
                return Err(Error::Unlabelled(method.name()));
            }
            let setup = setup(spec, device);
            Ok(match method {
                $(Recipe::$Name(recipe) => Box::new($module::$Name::new(recipe, spec, images, &setup)),)*
            })
        }
    };
}

methods! {
    moco_v2::MocoV2,
    sce::Sce,
    moco_v1::MocoV1,
    moco_v3::MocoV3,
    simclr::Simclr,
    byol::Byol,
    simsiam::Simsiam,
    ressl::Ressl,
    co2::Co2,
    swav::Swav,
    insdis::Insdis,
    clsa::Clsa,
    isd::Isd,
    sane::Sane,
    infomin::Infomin,
    pcl::Pcl,
    pauc_r::PaucR,
    cmc::Cmc,
    learned_views::LearnedViews,
}

fn setup(spec: &JobSpec, device: Device) -> Setup {
    let training = &spec.recipe.training;
    Setup {
        seed: training.seed,
        device,
        kind: if training.precision == Precision::Fp64 { Kind::Double } else { Kind::Float },
        channels_last: training.channels_last,
        batch_norm: spec.recipe.encoder.batch_norm,
        has_gradient: true,
    }
}
