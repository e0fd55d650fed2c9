//! How concentrated clusters are, as PCL's loss divides by it.

use tch::{Kind, Tensor, no_grad};

use super::{Clusters, Collective, Error, shard::Shard};

/// Shares of the clusters between which an estimate is believed.
const BELIEVED: [f64; 2] = [0.1, 0.9];

impl Clusters {
    /// φ of each cluster, `[c]`: the mean distance of its Z rows to their centroid, over ln(Z + `smoothing`), so that
    /// a small cluster counts as a loose one. One with at most one row takes the largest φ; then all are clipped to
    /// the 10th and 90th percentile and scaled to the mean `temperature`.
    ///
    /// `rows_bf` are the rows that were clustered; centroids are those before any normalisation.
    ///
    /// # Errors
    /// When no rank has a row, or a peer is lost.
    ///
    /// # Source
    /// Li et al., Prototypical Contrastive Learning (ICLR 2021), equation 12; clipping and scaling as in
    /// salesforce/PCL @ 964da1f, `run_kmeans`, where `smoothing` is 10.
    pub fn concentration(
        &self,
        rows_bf: &Tensor,
        smoothing: f64,
        temperature: f64,
        collective: &Collective,
    ) -> Result<Tensor, Error> {
        no_grad(|| {
            let shard = Shard::of(rows_bf, collective)?;
            let distance_b1 =
                shard.assigned(&self.centroids_cf, self.cluster_b.shallow_clone()).squared_distance_b.sqrt();
            let sums_c1 = shard.sums(&distance_b1.unsqueeze(1), &self.cluster_b, self.counts_c.size()[0])?;
            let mean_c = sums_c1.squeeze_dim(1) / self.counts_c.clamp_min(1);
            let phi_c = mean_c / (self.counts_c.to_kind(Kind::Double) + smoothing).log();
            let phi_c = clip(&largest_for_the_small(&phi_c, &self.counts_c));
            let mean = phi_c.mean(None).double_value(&[]);
            let phi_c = if mean > 0.0 { phi_c * (temperature / mean) } else { phi_c + temperature };
            Ok(phi_c.to_kind(rows_bf.kind()))
        })
    }
}

fn largest_for_the_small(phi_c: &Tensor, counts_c: &Tensor) -> Tensor {
    let is_small_c = counts_c.le(1);
    let largest = phi_c.masked_fill(&is_small_c, 0.0).max();
    largest.where_self(&is_small_c, phi_c)
}

fn clip(phi_c: &Tensor) -> Tensor {
    let [least, most] = BELIEVED.map(|share| phi_c.quantile_scalar(share, None, false, "linear"));
    phi_c.clamp(least.double_value(&[]), most.double_value(&[]))
}
