//! Clusters of rows that stay on their ranks: distributed k-means.
//!
//! Each rank assigns its own rows; sums and counts are added up over the ranks, so that all hold the same centroids. A
//! function of the rows in rank order and the settings alone: how many ranks share the rows changes the last bits at
//! most. Called by `eval`, and between epochs by `train` for methods with prototypes. Non-goals: other metrics than the
//! Euclidean one, rows that do not fit on their device.
//!
//! # Source
//! Lloyd, Least squares quantization in PCM (1982); starts after Arthur and Vassilvitskii, k-means++ (SODA 2007).
//!
//! Shape legend: b this rank's rows, n all rows, s sampled rows, f features, c clusters.

use tch::{Kind, Tensor, no_grad};

use super::{Collective, Error};

mod density;
mod seeds;
mod shard;

#[cfg(test)]
mod tests;

use shard::{Assignment, Shard};

/// How clusters are sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KMeans {
    /// Clusters. With fewer distinct rows some stay empty.
    pub n_clusters: u32,
    /// Iterations of a start, at most: it ends when no row changes its cluster.
    pub n_iterations: u32,
    /// Starts, of which the one with the least inertia counts.
    pub n_starts: u32,
    /// Seed of the starts.
    pub seed: u64,
}

/// Rows by cluster.
pub struct Clusters {
    /// `[c, f]`, of the rows' kind: the mean of each cluster's rows, the same on every rank. Not normalised.
    pub centroids_cf: Tensor,
    /// `[b]`, i64: the cluster of each of this rank's rows.
    pub cluster_b: Tensor,
    /// `[c]`, i64: rows per cluster over all ranks.
    pub counts_c: Tensor,
    /// Mean squared distance of all rows to their centroids.
    pub inertia: f64,
}

impl KMeans {
    /// Clusters the rows `[b, f]` of all ranks; ranks may hold different numbers of them, none too.
    ///
    /// A cluster that lost all its rows takes the farthest row of the largest one.
    ///
    /// # Errors
    /// When no rank has a row, or a peer is lost.
    pub fn cluster(&self, rows_bf: &Tensor, collective: &Collective) -> Result<Clusters, Error> {
        no_grad(|| {
            let shard = Shard::of(rows_bf, collective)?;
            let mut best = self.start(&shard, 0)?;
            for start in 1..u64::from(self.n_starts) {
                let other = self.start(&shard, start)?;
                if other.inertia < best.inertia {
                    best = other;
                }
            }
            Ok(best)
        })
    }

    fn start(&self, shard: &Shard, start: u64) -> Result<Clusters, Error> {
        let n_clusters = i64::from(self.n_clusters);
        let mut centroids_cf = seeds::draw(shard, n_clusters, self.seed, start)?;
        let mut assignment = shard.assign(&centroids_cf);
        for _ in 0..self.n_iterations {
            shard.fill_empty(&mut assignment, n_clusters)?;
            centroids_cf = shard.means(&assignment, &centroids_cf)?;
            let before = std::mem::replace(&mut assignment, shard.assign(&centroids_cf));
            if !shard.has_moved(&before, &assignment)? {
                break;
            }
        }
        Clusters::new(shard, centroids_cf, assignment)
    }
}

impl Clusters {
    /// The clusters that these assignments make: `[b]`, i64.
    ///
    /// # Errors
    /// When no rank has a row, or a peer is lost.
    pub fn of(
        rows_bf: &Tensor,
        centroids_cf: Tensor,
        cluster_b: Tensor,
        collective: &Collective,
    ) -> Result<Self, Error> {
        no_grad(|| {
            let shard = Shard::of(rows_bf, collective)?;
            let assignment = shard.assigned(&centroids_cf, cluster_b);
            Self::new(&shard, centroids_cf, assignment)
        })
    }

    fn new(shard: &Shard, centroids_cf: Tensor, assignment: Assignment) -> Result<Self, Error> {
        let counts_c = shard.counts(&assignment, centroids_cf.size()[0])?;
        let total = shard.total(&assignment.squared_distance_b.sum(Kind::Double).view([1]))?;
        let inertia = total.double_value(&[0]) / shard.n_all as f64;
        Ok(Self { centroids_cf, cluster_b: assignment.cluster_b, counts_c, inertia })
    }
}
