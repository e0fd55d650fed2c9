//! What is measured before, while and after training.

use std::collections::BTreeMap;

use kindred_proto::{ids::Step, recipe::DataKind};

use super::{
    Error,
    job::Job,
    report::{KNN, Reporter},
    step::Trainer,
};
use crate::eval::Evaluator;

/// Measures the encoder and remembers what the result will name.
pub struct Measuring {
    evaluator: Option<Evaluator>,
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
        let evaluator = Evaluator::open(&job.spec, &job.start.data_root, &job.dataset, job.device)?;
        Ok(Self { evaluator, metrics, knn_taken: None })
    }

    /// What is known after so many steps, by the names that the result uses: of kNN only what was measured then.
    pub fn metrics_at(&self, taken: Step) -> BTreeMap<String, f64> {
        let mut metrics = self.metrics.clone();
        if self.knn_taken != Some(taken) {
            metrics.remove(KNN);
        }
        metrics
    }

    /// Measures what the encoder has to beat: itself before the first step, and raw pixels. Of folders of images the
    /// latter are not measured, since they mix sizes.
    ///
    /// # Errors
    /// When an image cannot be read or a peer is lost.
    pub fn before(&mut self, job: &Job, trainer: &Trainer, reporter: &mut Reporter<'_>) -> Result<(), Error> {
        let Some(evaluator) = &self.evaluator else { return Ok(()) };
        reporter.activity("evaluating");
        let mut found =
            in_full(evaluator, trainer, ["knn_random_encoder_percent", "linear_random_encoder_percent"])?;
        let is_one_size = matches!(job.spec.recipe.data.kind, DataKind::FashionMnist { .. });
        if evaluator.settings().knn.is_some() && is_one_size {
            found.push(("knn_raw_pixels_percent", evaluator.knn_raw_pixels(trainer.collective())?));
        }
        self.remember(&found, reporter);
        Ok(())
    }

    /// Whether kNN is due after so many steps; the last step is measured in full by [`Measuring::after`].
    pub fn is_due(&self, job: &Job, taken: Step) -> bool {
        let knn = self.evaluator.as_ref().and_then(|evaluator| evaluator.settings().knn.as_ref());
        let Some(knn) = knn else { return false };
        taken.0 < job.steps.total && taken.0.is_multiple_of(u64::from(knn.every_epochs) * job.steps.per_epoch)
    }

    /// Measures kNN with the bank that the recipe allows while training.
    ///
    /// # Errors
    /// When an image cannot be read or a peer is lost.
    pub fn during(
        &mut self,
        taken: Step,
        trainer: &Trainer,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), Error> {
        let Some(evaluator) = &self.evaluator else { return Ok(()) };
        reporter.activity("evaluating");
        let bank_limit = evaluator.settings().knn.as_ref().and_then(|knn| knn.bank_limit);
        let accuracy = evaluator.knn(trainer.method().encoder(), trainer.collective(), bank_limit)?;
        self.remember(&[(KNN, accuracy)], reporter);
        self.knn_taken = Some(taken);
        Ok(())
    }

    /// Measures the finished encoder with all images.
    ///
    /// # Errors
    /// When an image cannot be read or a peer is lost.
    pub fn after(
        &mut self,
        taken: Step,
        trainer: &Trainer,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), Error> {
        let Some(evaluator) = &self.evaluator else { return Ok(()) };
        reporter.activity("evaluating");
        let found = in_full(evaluator, trainer, [KNN, "linear_accuracy_percent"])?;
        self.remember(&found, reporter);
        self.knn_taken = Some(taken);
        Ok(())
    }

    fn remember(&mut self, found: &[(&str, f64)], reporter: &mut Reporter<'_>) {
        for (name, value) in found {
            self.metrics.insert((*name).to_owned(), *value);
            reporter.measured(name, *value);
        }
    }
}

/// Accuracies of kNN and linear probe, by these names, with all images; each where the recipe asks for it.
fn in_full(
    evaluator: &Evaluator,
    trainer: &Trainer,
    [knn, linear]: [&'static str; 2],
) -> Result<Vec<(&'static str, f64)>, Error> {
    let (encoder, collective) = (trainer.method().encoder(), trainer.collective());
    let mut found = Vec::new();
    if evaluator.settings().knn.is_some() {
        found.push((knn, evaluator.knn(encoder, collective, None)?));
    }
    if evaluator.settings().linear.is_some() {
        found.push((linear, evaluator.linear(encoder, collective)?));
    }
    Ok(found)
}
