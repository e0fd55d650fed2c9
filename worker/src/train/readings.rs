//! Scalars of the steps since the last reading, kept on the device so that no step waits for one.

use kindred_proto::ids::Step;
use tch::{Device, Kind, Tensor};

use super::{Error, step::Outcome};
use crate::collective::Collective;

/// Losses that were computed and not read yet.
#[derive(Default)]
pub struct Readings {
    losses: Vec<Unread>,
    metrics: Vec<(&'static str, Tensor)>,
}

struct Unread {
    taken: Step,
    lr: f64,
    loss: Tensor,
}

/// What a reading gives: means over all ranks.
pub struct Reading {
    /// Mean loss of the steps since the last reading.
    pub loss: f64,
    /// The method's own scalars at the last step.
    pub metrics: Vec<(&'static str, f64)>,
}

impl Readings {
    /// Remembers what a step gave.
    pub fn push(&mut self, taken: Step, lr: f64, outcome: &Outcome) {
        self.losses.push(Unread { taken, lr, loss: outcome.loss.shallow_clone() });
        self.metrics = outcome.metrics.iter().map(|(name, value)| (*name, value.shallow_clone())).collect();
    }

    /// Reads all that was remembered; `None` when that is nothing. All ranks call this after the same step.
    ///
    /// # Errors
    /// When a loss is not finite: all ranks name the first such step. When a peer is lost.
    pub fn read(&mut self, collective: &Collective) -> Result<Option<Reading>, Error> {
        let (losses, metrics) = (std::mem::take(&mut self.losses), std::mem::take(&mut self.metrics));
        if losses.is_empty() {
            return Ok(None);
        }
        let scalars = losses.iter().map(|unread| &unread.loss).chain(metrics.iter().map(|(_, value)| value));
        let values = means(scalars, collective)?;
        let (loss_values, metric_values) = values.split_at(losses.len());
        for (unread, &loss) in losses.iter().zip(loss_values) {
            if !loss.is_finite() {
                return Err(Error::NotFinite { step: unread.taken, lr: unread.lr, loss });
            }
        }
        Ok(Some(Reading {
            loss: loss_values.iter().sum::<f64>() / loss_values.len() as f64,
            metrics: metrics.iter().map(|(name, _)| *name).zip(metric_values.iter().copied()).collect(),
        }))
    }
}

fn means<'a>(scalars: impl Iterator<Item = &'a Tensor>, collective: &Collective) -> Result<Vec<f64>, Error> {
    let scalars: Vec<Tensor> = scalars.map(|scalar| scalar.to_kind(Kind::Double).reshape([1])).collect();
    let mean = Tensor::cat(&scalars, 0);
    collective.mean_(&[mean.shallow_clone()])?;
    Ok(Vec::try_from(mean.to_device(Device::Cpu))?)
}
