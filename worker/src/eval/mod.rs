//! Measures what an encoder is good for, on frozen features: kNN, linear probes, purity, prototypes.
//!
//! Every rank calls the same function with the same arguments and gets the same figures: features are computed for a
//! slice of the images each, then gathered (each rank holds those of all images); queries, batches and clusters are shared
//! out the same way. Called by `train` while a job runs, at its end, and for evaluation jobs. Non-goals: fine-tuning,
//! augmentation.

use kindred_data::{Dataset, Site, Split};
use kindred_proto::{
    job_spec::JobSpec,
    recipe::{
        Evaluation,
        evaluation::{MeasurementKind, Neighbours, Solver},
    },
};
use tch::Device;

use crate::nn::Encoder;

mod features;
pub mod knn;
mod linear;
mod prototypes;
mod session;
mod share;
mod subset;

pub use features::Reader;
pub use session::Session;

use features::Labelled;
use share::Share;

/// Figures by what follows the measurement's name; nothing for a figure of that very name.
type Figures = Vec<(&'static str, f64)>;

/// The images that features are computed from, how, and what is measured of them.
pub struct Evaluator {
    bank: Part,
    queries: Part,
    protocols: Evaluation,
    reader: Reader,
    /// What kNN counts on its own where the recipe names no classes.
    rare_classes: Vec<u32>,
}

/// Some images of a data set.
struct Part {
    dataset: Dataset,
    ids: Vec<u64>,
}

impl Part {
    fn all(dataset: Dataset) -> Self {
        Self { ids: (0..dataset.len()).collect(), dataset }
    }

    fn keep_classes(&mut self, is_kept: impl Fn(u32) -> bool) {
        let labels = self.dataset.labels().unwrap_or_default();
        self.ids.retain(|&id| is_kept(labels[id as usize]));
    }
}

/// Features of bank and queries, or what stands for them.
pub struct Features {
    bank: Labelled,
    queries: Labelled,
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
    /// A setting that the images do not allow.
    #[error("{0}")]
    Unfit(String),
    /// Whoever hears how far the session is wanted it to end.
    #[error("stopped as asked")]
    Stopped,
}

impl Evaluator {
    /// Opens the labelled images of a job that trains; `None` when its data has no labelled test images, or nothing is
    /// to be measured. What is trained on is the bank, too, unless it is unlabelled or a chosen part: then all labelled
    /// training images are, of the classes that are in it.
    ///
    /// # Errors
    /// When the images cannot be read.
    pub fn open(spec: &JobSpec, site: &Site, train: &Dataset, device: Device) -> Result<Option<Self>, Error> {
        let recipe = &spec.recipe;
        if recipe.evaluation.is_empty() {
            return Ok(None);
        }
        let open = |split| Dataset::open(&recipe.data, site, split);
        let Some(queries) = open(Split::Test)? else { return Ok(None) };
        let is_part = recipe.data.subset.is_some() || train.labels().is_none();
        let Some(bank) = (if is_part { open(Split::Bank)? } else { Some(train.clone()) }) else {
            return Ok(None);
        };
        if bank.labels().is_none() || queries.labels().is_none() {
            return Ok(None);
        }
        let evaluator = Self::new(bank, queries, recipe.evaluation.clone(), Reader::of(spec, device));
        match recipe.data.subset {
            Some(_) => evaluator.after_unbalanced(&train.images_per_class()).map(Some),
            None => Ok(Some(evaluator)),
        }
    }

    /// Measures with the images of `bank` and `queries`, which are labelled.
    pub fn new(bank: Dataset, queries: Dataset, protocols: Evaluation, reader: Reader) -> Self {
        let (bank, queries) = (Part::all(bank), Part::all(queries));
        Self { bank, queries, protocols, reader, rare_classes: Vec::new() }
    }

    /// For an encoder that learnt from an unbalanced set with so many images of each class: leaves out the classes that
    /// had none, and has kNN count those on their own that had fewer than the mean of the others.
    ///
    /// # Errors
    /// When no bank or query image is left.
    pub fn after_unbalanced(mut self, n_images: &[u64]) -> Result<Self, Error> {
        let n_of = |class: u32| n_images.get(class as usize).copied().unwrap_or(0);
        for part in [&mut self.bank, &mut self.queries] {
            part.keep_classes(|class| n_of(class) > 0);
            if part.ids.is_empty() {
                return Err(Error::Unfit("trained_on: no image is of one of its classes".into()));
            }
        }
        let n_classes = n_images.iter().filter(|&&n| n > 0).count();
        let mean = n_images.iter().sum::<u64>() as f64 / n_classes as f64;
        let is_rare = |&class: &u32| n_of(class) > 0 && (n_of(class) as f64) < mean;
        self.rare_classes = (0..n_images.len() as u32).filter(is_rare).collect();
        Ok(self)
    }

    /// What is to be measured.
    pub fn protocols(&self) -> &Evaluation {
        &self.protocols
    }

    /// Features of the first `bank_limit` training images, or of all, and of the queries.
    ///
    /// # Errors
    /// When an image cannot be read or another rank is lost.
    pub fn features(
        &self,
        encoder: &Encoder,
        bank_limit: Option<u64>,
        session: &Session,
    ) -> Result<Features, Error> {
        let n_bank = bank_limit.map_or(self.bank.ids.len(), |limit| self.bank.ids.len().min(limit as usize));
        let of =
            |part: &Part, n: usize| self.reader.features(encoder, &part.dataset, &part.ids[..n], session);
        Ok(Features { bank: of(&self.bank, n_bank)?, queries: of(&self.queries, self.queries.ids.len())? })
    }

    /// Raw pixels in the place of features: the floor that an encoder has to beat.
    ///
    /// # Errors
    /// When an image cannot be read, images differ in size, or another rank is lost.
    pub fn raw_pixels(&self, session: &Session) -> Result<Features, Error> {
        let of = |part: &Part| self.reader.raw_pixels(&part.dataset, &part.ids, session);
        Ok(Features { bank: of(&self.bank)?, queries: of(&self.queries)? })
    }

    /// kNN's figures by name, if it is to be measured.
    ///
    /// # Errors
    /// When a setting does not fit the images, or another rank is lost.
    pub fn knn(&self, features: &Features, session: &Session) -> Result<Vec<(String, f64)>, Error> {
        let Some(knn) = &self.protocols.knn else { return Ok(Vec::new()) };
        Ok(named("knn", self.measure(&MeasurementKind::Knn(knn.neighbours.clone()), features, session)?))
    }

    /// The linear probe's figures by name, if it is to be measured.
    ///
    /// # Errors
    /// As [`Evaluator::knn`], and when the solver stops without a result.
    pub fn linear(&self, features: &Features, session: &Session) -> Result<Vec<(String, f64)>, Error> {
        let Some(probe) = &self.protocols.linear else { return Ok(Vec::new()) };
        Ok(named("linear", self.measure(&MeasurementKind::Linear(probe.clone()), features, session)?))
    }

    /// All that is to be measured of a finished encoder, by name; `found` sees each as it comes.
    ///
    /// # Errors
    /// As [`Evaluator::linear`]; the error names the measurement.
    pub fn all(
        &self,
        features: &Features,
        session: &Session,
        mut found: impl FnMut(&[(String, f64)]),
    ) -> Result<(), Error> {
        found(&self.knn(features, session)?);
        found(&self.linear(features, session)?);
        for measurement in &self.protocols.further {
            let figures = self.measure(&measurement.kind, features, session);
            let figures = figures.map_err(|error| error.of_measurement(&measurement.name))?;
            found(&named(&measurement.name, figures));
        }
        Ok(())
    }

    /// Units of [`Session::tick`] from [`Evaluator::features`] of all images to the end of [`Evaluator::all`].
    pub fn units(&self, world_size: u32) -> u64 {
        let n_chunks = |part: &Part| Share::of(part.ids.len() as u64, 0, world_size).chunks().count() as u64;
        let knn = self.protocols.knn.iter().map(|_| 1);
        let linear = self.protocols.linear.iter().map(|probe| units_of_solver(&probe.solver));
        let further = self.protocols.further.iter().map(|measurement| match &measurement.kind {
            MeasurementKind::Linear(probe) => units_of_solver(&probe.solver),
            _ => 1,
        });
        n_chunks(&self.bank) + n_chunks(&self.queries) + knn.chain(linear).chain(further).sum::<u64>()
    }

    fn measure(
        &self,
        kind: &MeasurementKind,
        features: &Features,
        session: &Session,
    ) -> Result<Figures, Error> {
        let (bank, queries) = (&features.bank, &features.queries);
        let n_classes = self.bank.dataset.n_classes().max(self.queries.dataset.n_classes());
        match kind {
            MeasurementKind::Knn(neighbours) if neighbours.rare_classes.is_empty() => {
                let neighbours = Neighbours { rare_classes: self.rare_classes.clone(), ..neighbours.clone() };
                knn::accuracy(bank, queries, n_classes, &neighbours, session)
            }
            MeasurementKind::Knn(neighbours) => knn::accuracy(bank, queries, n_classes, neighbours, session),
            MeasurementKind::Linear(probe) => linear::accuracy(bank, queries, n_classes, probe, session),
            MeasurementKind::Purity { k } => knn::purity(bank, queries, *k, session),
            MeasurementKind::PrototypeVariance(settings) => prototypes::variance(bank, settings, session),
        }
    }
}

fn units_of_solver(solver: &Solver) -> u64 {
    match solver {
        Solver::Lbfgs(_) => 1,
        Solver::Descent(descent) => descent.epochs.into(),
    }
}

fn named(name: &str, figures: Figures) -> Vec<(String, f64)> {
    let full = |figure: &str| if figure.is_empty() { name.to_owned() } else { format!("{name}_{figure}") };
    figures.into_iter().map(|(figure, value)| (full(figure), value)).collect()
}

impl Error {
    fn of_measurement(self, name: &str) -> Self {
        match self {
            Self::Unfit(why) => Self::Unfit(format!("measurement {name}: {why}")),
            Self::Solver(why) => Self::Solver(format!("{why} (measurement {name})")),
            other => other,
        }
    }
}
