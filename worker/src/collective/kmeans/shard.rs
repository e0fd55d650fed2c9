//! One rank's rows, and what is added up over the ranks.

use kindred_bridge::ErrorKind;
use tch::{Device, Kind, Tensor};

use super::{Collective, Error};

/// Numbers in the largest table of rows by clusters that is computed at once, and its most rows.
const TABLE_LEN: i64 = 1 << 24;
const TABLE_ROWS: i64 = 1 << 16;

/// One rank's rows among those of all.
pub(super) struct Shard<'a> {
    pub rows_bf: &'a Tensor,
    /// Rows of the ranks before this one.
    pub first: i64,
    /// Rows of all ranks.
    pub n_all: i64,
    pub collective: &'a Collective,
}

/// Where this rank's rows belong.
pub(super) struct Assignment {
    pub cluster_b: Tensor,
    pub squared_distance_b: Tensor,
}

/// A row of any rank.
#[derive(Clone, Copy)]
struct Candidate {
    squared_distance: f64,
    /// Its number among all rows.
    row: i64,
}

impl<'a> Shard<'a> {
    pub fn of(rows_bf: &'a Tensor, collective: &'a Collective) -> Result<Self, Error> {
        let counts = collective.gather(&Tensor::from_slice(&[rows_bf.size()[0]]))?;
        let counts = Vec::<i64>::try_from(counts).expect("a flat i64 tensor");
        let first = counts[..collective.rank() as usize].iter().sum();
        let n_all = counts.iter().sum();
        if n_all == 0 {
            return Err(Error::new(ErrorKind::Other, "k-means: there is no row to cluster"));
        }
        Ok(Self { rows_bf, first, n_all, collective })
    }

    /// The sum over ranks, on every rank.
    pub fn total(&self, own: &Tensor) -> Result<Tensor, Error> {
        let total = own.copy();
        self.collective.mean_(&[&total])?;
        Ok(total * f64::from(self.collective.world_size()))
    }

    /// Each row's nearest centroid.
    pub fn assign(&self, centroids_cf: &Tensor) -> Assignment {
        let half_norm_c = centroids_cf.square().sum_dim_intlist([1_i64].as_slice(), false, None) / 2;
        let centroids_fc = centroids_cf.transpose(0, 1);
        let nearest = |rows: &Tensor| (&half_norm_c - rows.matmul(&centroids_fc)).argmin(1, false);
        let chunks = self.rows_bf.split(rows_at_once(centroids_cf.size()[0]), 0);
        let chunks: Vec<Tensor> = chunks.iter().map(nearest).collect();
        self.assigned(centroids_cf, Tensor::cat(&chunks, 0))
    }

    /// The given clusters, with the distances to their centroids.
    pub fn assigned(&self, centroids_cf: &Tensor, cluster_b: Tensor) -> Assignment {
        let offset_bf = self.rows_bf - centroids_cf.index_select(0, &cluster_b);
        let squared_distance_b = offset_bf.square().sum_dim_intlist([1_i64].as_slice(), false, None);
        Assignment { cluster_b, squared_distance_b }
    }

    /// Rows per cluster over all ranks, i64.
    pub fn counts(&self, assignment: &Assignment, n_clusters: i64) -> Result<Tensor, Error> {
        let own_c = assignment.cluster_b.bincount::<Tensor>(None, n_clusters).to_kind(Kind::Double);
        Ok(self.total(&own_c)?.round().to_kind(Kind::Int64))
    }

    /// Sums of `values_bf` by cluster over all ranks, f64. As a product with indicators, since a device adds scattered
    /// rows in no fixed order.
    pub fn sums(&self, values_bf: &Tensor, cluster_b: &Tensor, n_clusters: i64) -> Result<Tensor, Error> {
        let options = (Kind::Double, values_bf.device());
        let mut sums_cf = Tensor::zeros([n_clusters, values_bf.size()[1]], options);
        let clusters_c = Tensor::arange(n_clusters, (Kind::Int64, values_bf.device()));
        let n_rows = rows_at_once(n_clusters);
        for (rows, cluster) in values_bf.split(n_rows, 0).iter().zip(cluster_b.split(n_rows, 0)) {
            let is_in_cb = clusters_c.unsqueeze(1).eq_tensor(&cluster.unsqueeze(0)).to_kind(rows.kind());
            sums_cf += is_in_cb.matmul(rows);
        }
        self.total(&sums_cf)
    }

    /// The mean of each cluster; an empty one's centroid stays.
    pub fn means(&self, assignment: &Assignment, centroids_cf: &Tensor) -> Result<Tensor, Error> {
        let n_clusters = centroids_cf.size()[0];
        let counts_c1 = self.counts(assignment, n_clusters)?.unsqueeze(1);
        let sums_cf = self.sums(self.rows_bf, &assignment.cluster_b, n_clusters)?;
        let means_cf = (sums_cf / counts_c1.clamp_min(1)).to_kind(centroids_cf.kind());
        Ok(means_cf.where_self(&counts_c1.gt(0), centroids_cf))
    }

    /// Whether any rank's rows are elsewhere than before.
    pub fn has_moved(&self, before: &Assignment, after: &Assignment) -> Result<bool, Error> {
        let n_moved = before.cluster_b.ne_tensor(&after.cluster_b).sum(Kind::Double).view([1]);
        Ok(self.total(&n_moved)?.double_value(&[0]) > 0.0)
    }

    /// Gives each empty cluster the farthest row of the largest one, as long as that has distinct rows.
    pub fn fill_empty(&self, assignment: &mut Assignment, n_clusters: i64) -> Result<(), Error> {
        let counts_c = self.counts(assignment, n_clusters)?.to_device(Device::Cpu);
        let mut counts = Vec::<i64>::try_from(counts_c).expect("a flat i64 tensor");
        for empty in (0..counts.len()).filter(|&cluster| counts[cluster] == 0).collect::<Vec<_>>() {
            let most = counts.iter().copied().max().unwrap_or(0);
            if most < 2 {
                return Ok(());
            }
            let largest = counts.iter().position(|&count| count == most).expect("one of them is the most");
            let farthest = self.farthest(assignment, largest as i64)?;
            if farthest.squared_distance <= 0.0 {
                return Ok(());
            }
            self.move_row(assignment, farthest.row, empty as i64);
            (counts[largest], counts[empty]) = (most - 1, 1);
        }
        Ok(())
    }

    /// The row of all ranks that is farthest from its centroid in a cluster; the first of equals.
    fn farthest(&self, assignment: &Assignment, cluster: i64) -> Result<Candidate, Error> {
        let own = self.own_farthest(assignment, cluster);
        let pair = Tensor::from_slice(&[own.squared_distance, own.row as f64]);
        let pairs = Vec::<f64>::try_from(self.collective.gather(&pair)?).expect("a flat f64 tensor");
        let candidates = pairs.chunks_exact(2);
        let candidates = candidates.map(|pair| Candidate { squared_distance: pair[0], row: pair[1] as i64 });
        let is_farther = |a: &Candidate, b: &Candidate| b.squared_distance > a.squared_distance;
        Ok(candidates.reduce(|a, b| if is_farther(&a, &b) { b } else { a }).unwrap_or(own))
    }

    fn own_farthest(&self, assignment: &Assignment, cluster: i64) -> Candidate {
        if self.rows_bf.size()[0] == 0 {
            return Candidate { squared_distance: 0.0, row: self.first };
        }
        let is_elsewhere_b = assignment.cluster_b.ne(cluster);
        let distance_b = assignment.squared_distance_b.masked_fill(&is_elsewhere_b, 0.0);
        let own = distance_b.argmax(0, false).int64_value(&[]);
        Candidate { squared_distance: distance_b.double_value(&[own]), row: self.first + own }
    }

    /// Does so where the row lies.
    fn move_row(&self, assignment: &mut Assignment, row: i64, cluster: i64) {
        let own = row - self.first;
        if (0..self.rows_bf.size()[0]).contains(&own) {
            let _ = assignment.cluster_b.get(own).fill_(cluster);
            let _ = assignment.squared_distance_b.get(own).fill_(0.0);
        }
    }
}

fn rows_at_once(n_clusters: i64) -> i64 {
    (TABLE_LEN / n_clusters).clamp(1, TABLE_ROWS)
}
