//! The checked recipe: every default filled in, every bound enforced.
//!
//! `v1::Recipe` is the wire form. [`JobSpec::check`] turns it into this one, and [`JobSpec::to_wire`] back with
//! nothing left out. One file per noun, and one per method below [`methods`]; each field's doc states its default and
//! where that comes from. A default is a function of the rest of the spec, never of the machine.
//!
//! [`JobSpec::check`]: crate::job_spec::JobSpec::check
//! [`JobSpec::to_wire`]: crate::job_spec::JobSpec::to_wire

use crate::{ids::WorldSize, scope::Scope, v1};

mod checkpoint;
mod data;
mod encoder;
mod evaluation;
pub mod methods;
mod optimizer;
mod schedule;
mod training;
mod view;

pub use checkpoint::{CheckpointInterval, CheckpointPolicy};
pub use data::{DataKind, DataSource};
pub use encoder::{BatchNorm, ResNet, Stem};
pub use evaluation::{Evaluation, Knn, LinearProbe};
pub use methods::Method;
pub use optimizer::Sgd;
pub use schedule::{Decay, Schedule};
pub use training::{Precision, Training};
pub use view::{ColorJitter, GaussianBlur, RandomResizedCrop, Solarize, View};

/// What to train, in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Where the images are.
    pub data: DataSource,
    /// One pipeline per view, in the method's order. Default: the method's published views.
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

impl Recipe {
    /// The order of the checks is that of the defaults: data → stem → method → batch → all the rest.
    pub(crate) fn check(wire: &v1::Recipe, ranks: WorldSize, at: &Scope) -> Self {
        let data = DataSource::check(&wire.data.clone().unwrap_or_default(), &at.field("data"));
        let encoder_at = at.field("encoder");
        let encoder = ResNet::check(wire.encoder.as_ref(), &data.kind, &encoder_at);
        let method = Method::check(wire.method.as_ref(), &encoder, &at.field("method"));
        let published = method.published(encoder.stem);
        let training_wire = wire.training.unwrap_or_default();
        let training = Training::check(&training_wire, &published, ranks, &at.field("training"));
        let global_batch = training.global_batch;
        let batch_norm = BatchNorm::check(wire.encoder.as_ref(), global_batch, ranks, &encoder_at);
        method.check_queue(global_batch, &at.field("method"));
        check_limit(&data, global_batch, at);
        let schedule_wire = wire.schedule.clone().unwrap_or_default();
        Self {
            views: check_views(&wire.views, &method, &encoder, &data, at),
            optimizer: Sgd::check(wire.optimizer.as_ref(), &published, global_batch, &at.field("optimizer")),
            schedule: Schedule::check(&schedule_wire, &published, training.epochs, &at.field("schedule")),
            checkpoint: CheckpointPolicy::check(
                &wire.checkpoint.unwrap_or_default(),
                &at.field("checkpoint"),
            ),
            evaluation: Evaluation::check(
                &wire.evaluation.unwrap_or_default(),
                &data,
                &at.field("evaluation"),
            ),
            encoder: ResNet { batch_norm, ..encoder },
            data,
            method,
            training,
        }
    }

    pub(crate) fn to_wire(&self) -> v1::Recipe {
        v1::Recipe {
            data: Some(self.data.to_wire()),
            views: self.views.iter().map(View::to_wire).collect(),
            encoder: Some(self.encoder.to_wire()),
            method: Some(self.method.to_wire()),
            optimizer: Some(self.optimizer.to_wire()),
            schedule: Some(self.schedule.to_wire()),
            training: Some(self.training.to_wire()),
            checkpoint: Some(self.checkpoint.to_wire()),
            evaluation: Some(self.evaluation.to_wire()),
        }
    }
}

fn check_views(
    wire: &[v1::View],
    method: &Method,
    encoder: &ResNet,
    data: &DataSource,
    at: &Scope,
) -> Vec<View> {
    let size = encoder.stem.crop_size(&data.kind);
    if wire.is_empty() {
        return method.published_views(encoder.stem, size);
    }
    let n_views = method.n_views();
    if wire.len() != n_views {
        at.violate(
            "views",
            format!(
                "must be {n_views}, as the method takes, not {}: leave them out for its published ones",
                wire.len()
            ),
        );
    }
    wire.iter().enumerate().map(|(idx, view)| View::check(view, size, &at.item("views", idx))).collect()
}

fn check_limit(data: &DataSource, global_batch: u32, at: &Scope) {
    if let Some(limit) = data.limit.filter(|&limit| limit < global_batch.into()) {
        at.violate(
            "data.limit",
            format!("must be at least {global_batch}, the images of one step, not {limit}"),
        );
    }
}
