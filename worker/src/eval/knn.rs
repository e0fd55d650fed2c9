//! Weighted cosine kNN.
//!
//! # Source
//! Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination (CVPR 2018), §3.4: a neighbour
//! of cosine s votes for its class with exp(s / T).
//!
//! Shape legend: q queries, n bank rows, f features, c classes, k neighbours.

use kindred_proto::recipe::Knn;
use tch::{Kind, Tensor, no_grad};

use super::{Error, features::Labelled, share::Share};
use crate::collective::Collective;

/// Queries per matrix product.
const CHUNK: i64 = 500;

/// Scores per class of each query.
///
/// # Shapes
/// `bank_nf` and `queries_qf` have rows of unit length, `labels_n` is i64 in `[0, n_classes)`; the result is `[q, c]`.
pub fn vote(
    bank_nf: &Tensor,
    labels_n: &Tensor,
    queries_qf: &Tensor,
    n_classes: u32,
    k: u32,
    temperature: f64,
) -> Tensor {
    let k = i64::from(k).min(bank_nf.size()[0]);
    let (cosines_qk, neighbours_qk) = queries_qf.matmul(&bank_nf.transpose(0, 1)).topk(k, 1, true, true);
    let classes_qk = labels_n.index_select(0, &neighbours_qk.view([-1])).view([-1, k]);
    Tensor::zeros([queries_qf.size()[0], i64::from(n_classes)], (bank_nf.kind(), bank_nf.device()))
        .scatter_add(1, &classes_qk, &(cosines_qk / temperature).exp())
}

/// Share of queries in percent whose highest score is their own class.
pub(super) fn accuracy_percent(
    bank: &Labelled,
    queries: &Labelled,
    n_classes: u32,
    knn: &Knn,
    collective: &Collective,
) -> Result<f64, Error> {
    let n_queries = queries.rows_nf.size()[0];
    let share = Share::of(n_queries as u64, collective.rank(), collective.world_size());
    let n_correct = no_grad(|| {
        let bank_nf = unit_rows(&bank.rows_nf);
        let (start, n_own) = (share.rows.start as i64, (share.rows.end - share.rows.start) as i64);
        let own_qf = unit_rows(&queries.rows_nf.narrow(0, start, n_own));
        let own_q = queries.labels_n.narrow(0, start, n_own);
        (0..n_own).step_by(CHUNK as usize).fold(0, |n_correct, row| {
            let length = CHUNK.min(n_own - row);
            let chunk_qf = own_qf.narrow(0, row, length);
            let scores_qc = vote(&bank_nf, &bank.labels_n, &chunk_qf, n_classes, knn.k, knn.temperature);
            n_correct + count_correct(&scores_qc, &own_q.narrow(0, row, length))
        })
    });
    percent(n_correct, n_queries, collective)
}

/// How many rows have their highest score at their label.
pub(super) fn count_correct(scores_qc: &Tensor, labels_q: &Tensor) -> i64 {
    scores_qc.argmax(1, false).eq_tensor(labels_q).sum(Kind::Int64).int64_value(&[])
}

/// The share in percent of correct answers over all ranks.
pub(super) fn percent(n_correct: i64, n_queries: i64, collective: &Collective) -> Result<f64, Error> {
    let mean = Tensor::from_slice(&[n_correct as f64]);
    collective.mean_(&[mean.shallow_clone()])?;
    Ok(100.0 * mean.double_value(&[0]) * f64::from(collective.world_size()) / n_queries as f64)
}

fn unit_rows(rows: &Tensor) -> Tensor {
    let norm = rows.norm_scalaropt_dim(2, [1], true).clamp_min(1e-12);
    rows / norm
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// The vote, written as loops.
    fn slow_vote(
        bank: &[Vec<f64>],
        labels: &[usize],
        query: &[f64],
        n_classes: usize,
        k: usize,
        t: f64,
    ) -> Vec<f64> {
        let mut cosines: Vec<(f64, usize)> = bank
            .iter()
            .zip(labels)
            .map(|(row, &label)| (row.iter().zip(query).map(|(a, b)| a * b).sum(), label))
            .collect();
        cosines.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut scores = vec![0.0; n_classes];
        for &(cosine, label) in cosines.iter().take(k) {
            scores[label] += f64::exp(cosine / t);
        }
        scores
    }

    fn rows(tensor: &Tensor) -> Vec<Vec<f64>> {
        Vec::<Vec<f64>>::try_from(tensor).unwrap()
    }

    #[test]
    fn the_vote_equals_the_loops() {
        tch::manual_seed(3);
        let bank = unit_rows(&Tensor::randn([30, 6], (Kind::Double, Device::Cpu)));
        let queries = unit_rows(&Tensor::randn([7, 6], (Kind::Double, Device::Cpu)));
        let labels: Vec<i64> = (0..30).map(|i| (i * 7) % 4).collect();
        let scores = rows(&vote(&bank, &Tensor::from_slice(&labels), &queries, 4, 5, 0.07));
        let labels: Vec<usize> = labels.iter().map(|&l| l as usize).collect();
        for (query, got) in rows(&queries).iter().zip(scores) {
            let want = slow_vote(&rows(&bank), &labels, query, 4, 5, 0.07);
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() <= 1e-9 * want.abs().max(1.0), "{got} {want}");
            }
        }
    }

    #[test]
    fn more_neighbours_than_rows_means_all_rows() {
        let bank = Tensor::eye(3, (Kind::Double, Device::Cpu));
        let scores = vote(&bank, &Tensor::from_slice(&[0i64, 1, 2]), &bank, 3, 50, 0.1);
        assert_eq!(count_correct(&scores, &Tensor::from_slice(&[0i64, 1, 2])), 3);
    }
}
