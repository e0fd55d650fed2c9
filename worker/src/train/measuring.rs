//! What is measured before, while and after training.

use std::collections::BTreeMap;

use kindred_proto::{ids::Step, recipe::DataKind};

use super::{
    Error,
    job::{Job, site},
    report::{KNN, Reporter},
    step::Trainer,
    stop::Watch,
};
use crate::eval::{Evaluator, Session};

/// Measures the encoder and remembers what the result will name.
pub struct Measuring {
    evaluator: Option<Evaluator>,
    seed: u64,
    metrics: BTreeMap<String, f64>,
    /// When kNN was measured last.
    knn_taken: Option<Step>,
}

impl Measuring {
    /// Opens the images to measure with; `metrics` are those of earlier generations.
    ///
    /// # Errors
    /// When the images cannot be read.
    pub fn open(job: &Job, metrics: BTreeMap<String, f64>) -> Result<Self, Error> {
        let evaluator = Evaluator::open(&job.spec, &site(&job.start), &job.dataset, job.device)?;
        Ok(Self { evaluator, seed: job.spec.recipe.training.seed, metrics, knn_taken: None })
    }

    /// What was measured so far.
    pub fn metrics(&self) -> &BTreeMap<String, f64> {
        &self.metrics
    }

    /// What is known after so many steps, by the names that the result uses: of kNN only what was measured then.
    pub fn metrics_at(&self, taken: Step) -> BTreeMap<String, f64> {
        let mut metrics = self.metrics.clone();
        if self.knn_taken != Some(taken) {
            metrics.retain(|name, _| !is_of_knn(name));
        }
        metrics
    }

    /// Measures what the encoder has to beat: itself before the first step, and raw pixels. Of folders of images the
    /// latter are not measured, since they mix sizes.
    ///
    /// # Errors
    /// When an image cannot be read, a peer is lost, or the ranks are to stop.
    pub fn before(
        &mut self,
        job: &Job,
        trainer: &Trainer,
        reporter: &mut Reporter<'_>,
        watch: Watch<'_>,
    ) -> Result<(), Error> {
        let Some(evaluator) = &self.evaluator else { return Ok(()) };
        reporter.activity("evaluating");
        let tick = |_| watch.tick(trainer.collective());
        let session = Session { collective: trainer.collective(), seed: self.seed, tick: &tick };
        let features = evaluator.features(trainer.method().encoder(), None, &session)?;
        let mut found = of(evaluator.knn(&features, &session)?, "random_encoder");
        if evaluator.protocols().knn.is_some()
            && matches!(job.spec.recipe.data.kind, DataKind::FashionMnist { .. })
        {
            let pixels = evaluator.raw_pixels(&session)?;
            found.extend(of(evaluator.knn(&pixels, &session)?, "raw_pixels"));
        }
        found.extend(of(evaluator.linear(&features, &session)?, "random_encoder"));
        self.remember(&found, reporter);
        Ok(())
    }

    /// Whether kNN is due after so many steps; the last step is measured in full by [`Measuring::after`].
    pub fn is_due(&self, job: &Job, taken: Step) -> bool {
        let knn = self.evaluator.as_ref().and_then(|evaluator| evaluator.protocols().knn.as_ref());
        let Some(knn) = knn else { return false };
        taken.0 < job.steps.total && taken.0.is_multiple_of(u64::from(knn.every_epochs) * job.steps.per_epoch)
    }

    /// Measures kNN with the bank that the recipe allows while training.
    ///
    /// # Errors
    /// As [`Measuring::before`].
    pub fn during(
        &mut self,
        taken: Step,
        trainer: &Trainer,
        reporter: &mut Reporter<'_>,
        watch: Watch<'_>,
    ) -> Result<(), Error> {
        let Some(evaluator) = &self.evaluator else { return Ok(()) };
        reporter.activity("evaluating");
        let tick = |_| watch.tick(trainer.collective());
        let session = Session { collective: trainer.collective(), seed: self.seed, tick: &tick };
        let bank_limit = evaluator.protocols().knn.as_ref().and_then(|knn| knn.bank_limit);
        let features = evaluator.features(trainer.method().encoder(), bank_limit, &session)?;
        let found = evaluator.knn(&features, &session)?;
        self.remember(&found, reporter);
        self.knn_taken = Some(taken);
        Ok(())
    }

    /// Measures the finished encoder with all images.
    ///
    /// # Errors
    /// As [`Measuring::before`], and when a setting does not fit the images.
    pub fn after(
        &mut self,
        taken: Step,
        trainer: &Trainer,
        reporter: &mut Reporter<'_>,
        watch: Watch<'_>,
    ) -> Result<(), Error> {
        let Some(evaluator) = &self.evaluator else { return Ok(()) };
        reporter.activity("evaluating");
        let tick = |_| watch.tick(trainer.collective());
        let session = Session { collective: trainer.collective(), seed: self.seed, tick: &tick };
        let features = evaluator.features(trainer.method().encoder(), None, &session)?;
        let mut found = Vec::new();
        evaluator.all(&features, &session, |figures| found.extend_from_slice(figures))?;
        self.remember(&found, reporter);
        self.knn_taken = Some(taken);
        Ok(())
    }

    fn remember(&mut self, found: &[(String, f64)], reporter: &mut Reporter<'_>) {
        for (name, value) in found {
            self.metrics.insert(name.clone(), *value);
            reporter.measured(name, *value);
        }
    }
}

/// Whether a figure is one of those that [`Measuring::during`] renews.
fn is_of_knn(name: &str) -> bool {
    [KNN, "knn_rare_accuracy_percent"].contains(&name)
}

/// Accuracies of what stands for the encoder: `knn_accuracy_percent` becomes `knn_random_encoder_percent`.
fn of(figures: Vec<(String, f64)>, what: &str) -> Vec<(String, f64)> {
    figures.into_iter().map(|(name, value)| (name.replace("accuracy", what), value)).collect()
}
