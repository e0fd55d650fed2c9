//! The objectives: one file per method, one line per method in [`build`].
//!
//! A method owns its networks and its queue and knows nothing of ranks, processes or optimisers: collectives stay
//! with the caller, `train::step`, which calls a [`Method`] in the order in which its functions stand. The formulas
//! are pure functions over tensors, so that reference fixtures can call them.

use kindred_proto::{
    job_spec::JobSpec,
    recipe::{Method as Recipe, Precision},
};
use tch::{Device, Kind, Tensor};

use crate::nn::{ResNet, Setup};

mod contrast;
pub mod moco_v2;
mod momentum_pair;
pub mod sce;

pub use contrast::cosines;

/// The views of this rank's images.
pub struct Input {
    /// One tensor a view, `[B, C, H, W]`, on the device.
    pub views: Vec<Tensor>,
}

/// What a rank's images became: rows of unit length, `[B, D]`.
pub struct Embeddings {
    /// Of the online branch, with gradient.
    pub queries: Vec<Tensor>,
    /// Of the momentum branch, without.
    pub keys: Vec<Tensor>,
}

/// What all ranks' images became.
pub struct Gathered {
    /// The keys of [`Embeddings::keys`], one by one, of all ranks in rank order: `[N, D]`.
    pub keys: Vec<Tensor>,
}

/// A place in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The step, from 0.
    pub step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
}

/// What an objective gives.
pub struct Loss {
    /// The local loss; its mean over ranks is the global one.
    pub total: Tensor,
    /// Scalars worth watching, still on the device.
    pub metrics: Vec<(&'static str, Tensor)>,
}

/// A self-supervised objective with its networks.
pub trait Method: Send {
    /// What gradients train, by name, in a fixed order.
    fn parameters(&self) -> Vec<(String, Tensor)>;

    /// What a checkpoint carries and all ranks agree on. Shallow handles: copying into them loads the state.
    fn state(&self) -> Vec<(String, Tensor)>;

    /// The running statistics of all branches, whose mean over ranks is taken after each step.
    fn buffers(&self) -> Vec<Tensor>;

    /// Runs before the forward pass.
    fn before_forward(&mut self, at: &At);

    /// The forward pass; the caller sets autocast.
    fn embed(&mut self, input: &Input) -> Embeddings;

    /// The objective, a pure function of its arguments and the queue; softmaxes are in f32 or f64.
    fn loss(&self, local: &Embeddings, gathered: &Gathered) -> Loss;

    /// Runs after the optimiser's step.
    fn after_step(&mut self, gathered: &Gathered, at: &At);

    /// The network that is kept.
    fn encoder(&self) -> &ResNet;
}

/// Why a method cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("device {device:?} cannot be used: {source}")]
pub struct Error {
    device: Device,
    source: tch::TchError,
}

/// The methods that are built, by their names in the recipe.
pub const NAMES: [&str; 2] = ["moco_v2", "sce"];

/// Builds the method that a job asks for, with initial values from its seed.
///
/// # Errors
/// When the device cannot be used.
pub fn build(spec: &JobSpec, n_channels: u32, device: Device) -> Result<Box<dyn Method>, Error> {
    let _ = Tensor::f_zeros([1], (Kind::Float, device)).map_err(|source| Error { device, source })?;
    let setup = setup(spec, device);
    Ok(match &spec.recipe.method {
        Recipe::MocoV2(recipe) => Box::new(moco_v2::MocoV2::new(recipe, spec, n_channels, &setup)),
        Recipe::Sce(recipe) => Box::new(sce::Sce::new(recipe, spec, n_channels, &setup)),
    })
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
