//! Features of many images, a slice per rank.
//!
//! Shape legend: n images, f features, b one chunk.

use kindred_bridge::with_autocast;
use kindred_data::Dataset;
use kindred_proto::recipe::Precision;
use tch::{Device, Kind, Tensor, no_grad};

use super::{Error, kind_of, share::Share};
use crate::{
    collective::Collective,
    nn::{Encoder, Pass},
};

/// Images per forward pass.
const CHUNK: u64 = 500;

/// Rows of features with the class of each.
pub(super) struct Labelled {
    /// `[n, f]`, f32 (f64 with that precision).
    pub(super) rows_nf: Tensor,
    /// `[n]`, i64.
    pub(super) labels_n: Tensor,
}

/// How images become features.
pub(super) struct Reader {
    pub(super) size: u32,
    pub(super) mean: Vec<f64>,
    pub(super) std: Vec<f64>,
    pub(super) n_threads: u32,
    pub(super) precision: Precision,
    pub(super) device: Device,
}

impl Reader {
    /// Features of the first `n` images, the same on every rank.
    pub(super) fn features(
        &self,
        encoder: &Encoder,
        dataset: &Dataset,
        n: u64,
        collective: &Collective,
    ) -> Result<Labelled, Error> {
        self.gathered(dataset, n, collective, |ids| {
            let images = self.images(dataset, ids)?;
            let autocast = (self.precision == Precision::Bf16).then_some(Kind::BFloat16);
            let features = || encoder.features(&images, Pass::Evaluate);
            Ok(no_grad(|| with_autocast(self.device, autocast, features))?.to_kind(kind_of(self.precision)))
        })
    }

    /// Pixels in [0, 1] of the first `n` images as rows, the same on every rank.
    pub(super) fn raw_pixels(
        &self,
        dataset: &Dataset,
        n: u64,
        collective: &Collective,
    ) -> Result<Labelled, Error> {
        self.gathered(dataset, n, collective, |ids| {
            let pixels = kindred_data::raw_pixels(dataset, ids)?;
            Ok(Tensor::from_slice(&pixels).view([ids.len() as i64, -1]).to_device(self.device))
        })
    }

    fn gathered(
        &self,
        dataset: &Dataset,
        n: u64,
        collective: &Collective,
        rows_of: impl Fn(&[u64]) -> Result<Tensor, Error>,
    ) -> Result<Labelled, Error> {
        let share = Share::of(n, collective.rank(), collective.world_size());
        // A rank without rows of its own computes the first ones: it needs the width to take part in the gather.
        let own = if share.rows.is_empty() { 0..1.min(n) } else { share.rows.clone() };
        let ids: Vec<u64> = own.collect();
        let chunks: Vec<Tensor> = ids.chunks(CHUNK as usize).map(&rows_of).collect::<Result<_, Error>>()?;
        let rows_nf = pad(&Tensor::cat(&chunks, 0), share.per_rank as i64);
        let rows_nf = collective.gather(&rows_nf)?.narrow(0, 0, n as i64);
        let labels: Vec<i64> = dataset
            .labels()
            .unwrap_or_default()
            .iter()
            .take(n as usize)
            .map(|&label| i64::from(label))
            .collect();
        Ok(Labelled { rows_nf, labels_n: Tensor::from_slice(&labels).to_device(self.device) })
    }

    /// Normalised images `[b, C, size, size]`, channels last in memory.
    fn images(&self, dataset: &Dataset, ids: &[u64]) -> Result<Tensor, Error> {
        let pixels =
            kindred_data::plain_batch(dataset, ids, self.size, &self.mean, &self.std, self.n_threads)?;
        let size = i64::from(self.size);
        Ok(Tensor::from_slice(&pixels)
            .view([ids.len() as i64, size, size, i64::from(dataset.channels())])
            .permute([0, 3, 1, 2])
            .to_device(self.device)
            .to_kind(kind_of(self.precision)))
    }
}

/// Adds rows of zeros until there are `n`.
fn pad(rows: &Tensor, n: i64) -> Tensor {
    let missing = n - rows.size()[0];
    if missing <= 0 {
        return rows.narrow(0, 0, n);
    }
    Tensor::cat(&[rows, &Tensor::zeros([missing, rows.size()[1]], (rows.kind(), rows.device()))], 0)
}
