//! The checked recipe: every default filled in, every bound enforced.
//!
//! `v1::Recipe` is the wire form. [`JobSpec::check`] turns it into this one, and [`JobSpec::to_wire`] back with
//! nothing left out. One file per noun, and one per method below [`methods`]; each field's doc states its default and
//! where that comes from. A default is a function of the rest of the spec, never of the machine.
//!
//! [`JobSpec::check`]: crate::job_spec::JobSpec::check
//! [`JobSpec::to_wire`]: crate::job_spec::JobSpec::to_wire

use crate::{job_spec::Terms, scope::Scope, v1};

mod checkpoint;
mod data;
mod encoder;
pub mod evaluation;
pub mod methods;
mod optimizer;
mod schedule;
mod subset;
mod training;
mod view;

pub use checkpoint::{CheckpointInterval, CheckpointPolicy};
pub use data::{DataKind, DataSource, Stl10Part, stays_in_place, store_url};
pub use encoder::{BatchNorm, Encoder, Network, ResNet, Stem, Vit};
pub use evaluation::Evaluation;
pub use methods::Method;
pub use optimizer::{AdamW, Lars, Optimizer, ParameterGroup, Rule, Sgd};
pub use schedule::{Decay, Schedule, WarmupForm};
pub use subset::{Subset, SubsetKind};
pub use training::{Precision, Training};
pub use view::{
    ColorJitter, ColorSpace, Fill, GaussianBlur, ImageOp, Interpolation, Jigsaw, Level, RandAugment,
    RandAugmentOp, RandomResizedCrop, Solarize, Statistics, View,
};

/// What to train, in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Where the images are.
    pub data: DataSource,
    /// One pipeline per view, in the method's order. Default: the method's published views.
    pub views: Vec<View>,
    /// The network that is kept.
    pub encoder: Encoder,
    /// The objective and its networks.
    pub method: Method,
    /// How gradients become steps.
    pub optimizer: Optimizer,
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
    pub(crate) fn check(wire: &v1::Recipe, terms: &Terms, at: &Scope) -> Self {
        let data = DataSource::check(wire.data.as_ref(), &at.field("data"));
        let encoder_at = at.field("encoder");
        let split_channels = methods::split_channels(wire.method.as_ref());
        let encoder = Encoder::check(wire.encoder.as_ref(), &data.kind, split_channels, &encoder_at);
        let mut method = Method::check(wire.method.as_ref(), &encoder, &at.field("method"));
        let published = method.published(encoder.stem());
        let training = Training::check(wire.training, &published, terms.ranks, &at.field("training"));
        let (batch, epochs) = (training.global_batch, training.epochs);
        method.check_queue(batch, &at.field("method"));
        method.check_labels(&data, &at.field("method"));
        check_limit(&data, batch, at);
        let images_per_pass = training.images_per_pass(terms);
        let batch_norm = BatchNorm::check(wire.encoder.as_ref(), images_per_pass, &encoder_at);
        method.settle(&batch_norm.share_of(images_per_pass), &at.field("method"));
        let views = check_views(&wire.views, &method, (encoder.stem(), &data), at);
        encoder.check_views(&views, at);
        Self {
            views,
            encoder: Encoder { batch_norm, ..encoder },
            optimizer: Optimizer::check(wire.optimizer.as_ref(), &published, batch, &at.field("optimizer")),
            schedule: Schedule::check(wire.schedule.as_ref(), &published, epochs, &at.field("schedule")),
            checkpoint: CheckpointPolicy::check(wire.checkpoint, &at.field("checkpoint")),
            evaluation: Evaluation::check(wire.evaluation.as_ref(), &data, &at.field("evaluation")),
            data,
            method,
            training,
        }
    }

    /// How an image that is not augmented is shown to the network: its side in pixels, its colour space, and by what it is
    /// normalised. All are those of view 0.
    pub fn plain_view(&self) -> (u32, ColorSpace, Statistics) {
        let view = &self.views[0];
        let of_data = || Statistics { mean: self.data.mean.clone(), std: self.data.std.clone() };
        (view.crop.size, view.color_space, view.statistics.clone().unwrap_or_else(of_data))
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
    (stem, data): (Stem, &DataSource),
    at: &Scope,
) -> Vec<View> {
    let size = stem.crop_size(&data.kind);
    let published = method.published_views(stem, size);
    let (n_given, n_views) = (wire.len(), published.len());
    if n_given != 0 && n_given != n_views {
        let message =
            format!("must be the method's {n_views}, or none for its published ones, not {n_given}");
        at.violate("views", message);
    }
    let given = wire.iter().take(n_views).enumerate();
    let views = match n_given {
        0 => published,
        _ => given.map(|(idx, view)| View::check(view, (size, data), &at.item("views", idx))).collect(),
    };
    if data.channels() == 1 && views.iter().any(|view: &View| view.color_space != ColorSpace::Rgb) {
        at.violate("views", "must stay in the images' own channels: grey images have no other colour space");
    }
    views
}

fn check_limit(data: &DataSource, global_batch: u32, at: &Scope) {
    if let Some(limit) = data.limit.filter(|&limit| limit < global_batch.into()) {
        let message = format!("must be at least {global_batch}, the images of one step, not {limit}");
        at.violate("data.limit", message);
    }
}
