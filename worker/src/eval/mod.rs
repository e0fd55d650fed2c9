//! Measures what an encoder is good for: weighted cosine kNN and a linear probe on frozen features.
//!
//! Every rank calls the same function with the same arguments and gets the same number: features are computed for
//! a slice of the images each, then gathered; queries are shared out the same way. Called by `train` while a job
//! runs and at its end. Non-goals: fine-tuning, other data sets than the job's own.

use std::path::Path;

use kindred_data::{Dataset, Split};
use kindred_proto::{
    job_spec::JobSpec,
    recipe::{Evaluation, Precision},
};
use tch::Device;

use crate::{collective::Collective, nn::Encoder};

mod features;
pub mod knn;
pub mod linear;
mod share;

use features::{Labelled, Reader};

/// The images that features are computed from, and how.
pub struct Evaluator {
    bank: Dataset,
    queries: Dataset,
    settings: Evaluation,
    reader: Reader,
}

/// What can go wrong while measuring.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The images.
    #[error(transparent)]
    Data(#[from] kindred_data::Error),
    /// The other ranks.
    #[error(transparent)]
    Collective(#[from] kindred_bridge::Error),
    /// The linear probe's solver.
    #[error("the linear probe's solver stopped: {0}")]
    Solver(String),
}

impl Evaluator {
    /// Opens the labelled images of a job; `None` when its data has no labelled test images, or nothing is to be
    /// measured.
    ///
    /// # Errors
    /// When the test images cannot be read.
    pub fn open(
        spec: &JobSpec,
        data_root: &Path,
        train: &Dataset,
        device: Device,
    ) -> Result<Option<Self>, Error> {
        let recipe = &spec.recipe;
        let settings = recipe.evaluation.clone();
        if settings.knn.is_none() && settings.linear.is_none() {
            return Ok(None);
        }
        let Some(queries) = Dataset::open(&recipe.data, data_root, Split::Test)? else { return Ok(None) };
        if train.labels().is_none() || queries.labels().is_none() {
            return Ok(None);
        }
        let reader = Reader {
            size: recipe.views[0].crop.size,
            mean: recipe.data.mean.clone(),
            std: recipe.data.std.clone(),
            n_threads: recipe.training.threads_per_rank,
            precision: recipe.training.precision,
            device,
        };
        Ok(Some(Self { bank: train.clone(), queries, settings, reader }))
    }

    /// What is to be measured.
    pub fn settings(&self) -> &Evaluation {
        &self.settings
    }

    /// Accuracy in percent of weighted cosine kNN on the encoder's features, with the first `bank_limit` training
    /// images as bank.
    ///
    /// # Errors
    /// When an image cannot be read or another rank is lost.
    ///
    /// # Panics
    /// When the recipe has no kNN settings: ask [`Evaluator::settings`] first.
    pub fn knn(
        &self,
        encoder: &Encoder,
        collective: &Collective,
        bank_limit: Option<u64>,
    ) -> Result<f64, Error> {
        let n_bank = bank_limit.unwrap_or(u64::MAX).min(self.bank.len());
        let bank = self.reader.features(encoder, &self.bank, n_bank, collective)?;
        let queries = self.reader.features(encoder, &self.queries, self.queries.len(), collective)?;
        self.vote(&bank, &queries, collective)
    }

    /// Accuracy in percent of the same vote on raw pixels: the floor that an encoder has to beat.
    ///
    /// # Errors
    /// When an image cannot be read, images differ in size, or another rank is lost.
    ///
    /// # Panics
    /// When the recipe has no kNN settings.
    pub fn knn_raw_pixels(&self, collective: &Collective) -> Result<f64, Error> {
        let bank = self.reader.raw_pixels(&self.bank, self.bank.len(), collective)?;
        let queries = self.reader.raw_pixels(&self.queries, self.queries.len(), collective)?;
        self.vote(&bank, &queries, collective)
    }

    /// Accuracy in percent of a logistic regression on the encoder's standardised features.
    ///
    /// # Errors
    /// When an image cannot be read, the solver stops without a result, or another rank is lost.
    ///
    /// # Panics
    /// When the recipe has no settings for the probe.
    pub fn linear(&self, encoder: &Encoder, collective: &Collective) -> Result<f64, Error> {
        let probe = self.settings.linear.as_ref().expect("asked for by the recipe");
        let train = self.reader.features(encoder, &self.bank, self.bank.len(), collective)?;
        let test = self.reader.features(encoder, &self.queries, self.queries.len(), collective)?;
        linear::accuracy_percent(&train, &test, self.n_classes(), probe, collective)
    }

    fn vote(&self, bank: &Labelled, queries: &Labelled, collective: &Collective) -> Result<f64, Error> {
        let knn = self.settings.knn.as_ref().expect("asked for by the recipe");
        knn::accuracy_percent(bank, queries, self.n_classes(), knn, collective)
    }

    fn n_classes(&self) -> u32 {
        self.bank.n_classes().max(self.queries.n_classes())
    }
}

/// The number format that features are computed in, outside of autocast.
fn kind_of(precision: Precision) -> tch::Kind {
    match precision {
        Precision::Fp64 => tch::Kind::Double,
        Precision::Fp32 | Precision::Bf16 => tch::Kind::Float,
    }
}
