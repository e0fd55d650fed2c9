//! Features of many images, a slice per rank.
//!
//! Shape legend: n images, f features, b one chunk.

use kindred_bridge::with_autocast;
use kindred_data::Dataset;
use kindred_proto::{
    job_spec::JobSpec,
    recipe::{ColorSpace, Precision},
};
use tch::{Device, Kind, Tensor, no_grad};

use super::{Error, Session};
use crate::nn::{Encoder, Pass};

/// Rows of features with the class of each.
pub(super) struct Labelled {
    /// `[n, f]`, f32 (f64 with that precision).
    pub(super) rows_nf: Tensor,
    /// `[n]`, i64.
    pub(super) labels_n: Tensor,
}

/// How images become features.
pub struct Reader {
    /// Side in pixels.
    pub size: u32,
    /// What the encoder sees.
    pub color_space: ColorSpace,
    /// Per-channel mean in that colour space, of RGB and grey for pixels in [0, 1].
    pub mean: Vec<f64>,
    /// Per-channel standard deviation, likewise.
    pub std: Vec<f64>,
    /// Threads that decode.
    pub n_threads: u32,
    /// Number format of the forward pass.
    pub precision: Precision,
    /// Where the encoder is.
    pub device: Device,
}

impl Reader {
    /// Reads images as a job's encoder sees them when it is measured, in the job's precision.
    pub fn of(spec: &JobSpec, device: Device) -> Self {
        let recipe = &spec.recipe;
        let (size, color_space, statistics) = recipe.plain_view();
        Self {
            size,
            color_space,
            mean: statistics.mean,
            std: statistics.std,
            n_threads: recipe.training.threads_per_rank,
            precision: recipe.training.precision,
            device,
        }
    }

    /// What `embed` makes of all images, `[n, D]`, the same on every rank.
    ///
    /// # Errors
    /// When an image cannot be read, `embed` fails, or another rank is lost.
    pub fn embeddings(
        &self,
        dataset: &Dataset,
        session: &Session,
        embed: impl Fn(&Tensor) -> Result<Tensor, kindred_bridge::Error>,
    ) -> Result<Tensor, Error> {
        let rows_of = |ids: &[u64]| Ok(embed(&self.images(dataset, ids)?)?);
        let all: Vec<u64> = (0..dataset.len()).collect();
        Ok(self.gathered(dataset, &all, session, rows_of)?.rows_nf)
    }

    /// Features of these images, the same on every rank, and the same bits at any number of ranks on the CPU.
    pub(super) fn features(
        &self,
        encoder: &Encoder,
        dataset: &Dataset,
        ids: &[u64],
        session: &Session,
    ) -> Result<Labelled, Error> {
        self.gathered(dataset, ids, session, |ids| {
            let images = self.images(dataset, ids)?;
            let autocast = (self.precision == Precision::Bf16).then_some(Kind::BFloat16);
            let features = || encoder.features(&images, Pass::Evaluate);
            Ok(no_grad(|| with_autocast(self.device, autocast, features))?.to_kind(self.kind()))
        })
    }

    /// Pixels in [0, 1] of these images as rows, the same on every rank.
    pub(super) fn raw_pixels(
        &self,
        dataset: &Dataset,
        ids: &[u64],
        session: &Session,
    ) -> Result<Labelled, Error> {
        self.gathered(dataset, ids, session, |ids| {
            let pixels = kindred_data::raw_pixels(dataset, ids)?;
            Ok(Tensor::from_slice(&pixels).view([ids.len() as i64, -1]).to_device(self.device))
        })
    }

    fn gathered(
        &self,
        dataset: &Dataset,
        ids: &[u64],
        session: &Session,
        rows_of: impl Fn(&[u64]) -> Result<Tensor, Error>,
    ) -> Result<Labelled, Error> {
        let n = ids.len() as i64;
        let share = session.share(n);
        let mut chunks = Vec::new();
        for rows in share.chunks() {
            // A rank without rows of its own computes the first one: it needs the width to take part in the gather.
            match &ids[rows.start as usize..rows.end as usize] {
                [] if chunks.is_empty() => chunks.push(rows_of(&ids[..1])?),
                [] => {}
                own => chunks.push(rows_of(own)?),
            }
            (session.tick)(1)?;
        }
        let rows_nf = pad(&Tensor::cat(&chunks, 0), share.per_rank as i64);
        let rows_nf = session.collective.gather(&rows_nf)?.narrow(0, 0, n);
        let labels = dataset.labels().unwrap_or_default();
        let labels = ids.iter().filter_map(|&id| labels.get(id as usize));
        let labels: Vec<i64> = labels.map(|&label| i64::from(label)).collect();
        Ok(Labelled { rows_nf, labels_n: Tensor::from_slice(&labels).to_device(self.device) })
    }

    /// Normalised images `[b, C, size, size]`, channels last in memory.
    fn images(&self, dataset: &Dataset, ids: &[u64]) -> Result<Tensor, Error> {
        let form = (self.size, self.color_space);
        let pixels = kindred_data::plain_batch(dataset, ids, form, &self.mean, &self.std, self.n_threads)?;
        let size = i64::from(self.size);
        Ok(Tensor::from_slice(&pixels)
            .view([ids.len() as i64, size, size, i64::from(dataset.channels())])
            .permute([0, 3, 1, 2])
            .to_device(self.device)
            .to_kind(self.kind()))
    }

    /// The number format of images and features, outside of autocast.
    fn kind(&self) -> Kind {
        match self.precision {
            Precision::Fp64 => Kind::Double,
            Precision::Fp32 | Precision::Bf16 => Kind::Float,
        }
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
