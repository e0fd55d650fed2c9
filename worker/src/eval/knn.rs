//! Cosine kNN: the nearest rows of a bank vote for their classes.
//!
//! # Source
//! Weighted: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination (CVPR 2018), §3.4: a
//! neighbour of cosine s votes for its class with exp(s / T). Majority: UMBCvision/ISD @ 4bdd603, `eval_knn.py`, whose
//! ties are broken at random; here by rank.
//!
//! Shape legend: q queries, n bank rows, f features, c classes, k neighbours.

use kindred_proto::recipe::evaluation::{Neighbours, Vote};
use tch::{Kind, Tensor, no_grad};

use super::{Error, Figures, Session, features::Labelled, subset};
use crate::nn::normalize;

/// The nearest rows of a bank, nearest first.
pub struct Nearest {
    /// Cosines, `[q, k]`.
    pub cosines_qk: Tensor,
    /// Their classes, `[q, k]`, i64.
    pub classes_qk: Tensor,
}

impl Nearest {
    /// The `k` nearest rows of each query, or all where the bank has fewer.
    ///
    /// # Shapes
    /// `bank_nf` and `queries_qf` have rows of unit length, `labels_n` is i64.
    pub fn of(bank_nf: &Tensor, labels_n: &Tensor, queries_qf: &Tensor, k: u32) -> Self {
        let k = i64::from(k).min(bank_nf.size()[0]);
        let cosines_qn = queries_qf.matmul(&bank_nf.transpose(0, 1));
        let (cosines_qk, neighbours_qk) = cosines_qn.topk(k, 1, true, true);
        let classes_qk = labels_n.index_select(0, &neighbours_qk.view([-1])).view([-1, k]);
        Self { cosines_qk, classes_qk }
    }

    /// Scores per class, `[q, c]`, with exp(cosine / temperature) votes of each neighbour.
    pub fn weighted(&self, n_classes: u32, temperature: f64) -> Tensor {
        self.sums(n_classes, &(&self.cosines_qk / temperature).exp())
    }

    /// Scores per class, `[q, c]`, i64, with one vote of each neighbour, counted as k (k + 1) less its rank: of classes
    /// with as many votes the one whose ranks sum to less scores higher.
    pub fn majority(&self, n_classes: u32) -> Tensor {
        let k = self.classes_qk.size()[1];
        let vote_k = k * (k + 1) - Tensor::arange(k, (Kind::Int64, self.classes_qk.device()));
        self.sums(n_classes, &vote_k.expand_as(&self.classes_qk))
    }

    fn sums(&self, n_classes: u32, votes_qk: &Tensor) -> Tensor {
        let shape = [votes_qk.size()[0], i64::from(n_classes)];
        Tensor::zeros(shape, (votes_qk.kind(), votes_qk.device())).scatter_add(1, &self.classes_qk, votes_qk)
    }
}

/// Share of queries in percent whose highest score is their own class: of all, and of the rare classes if some are
/// named.
pub(super) fn accuracy(
    bank: &Labelled,
    queries: &Labelled,
    n_classes: u32,
    neighbours: &Neighbours,
    session: &Session,
) -> Result<Figures, Error> {
    let balanced = match neighbours.bank_per_class {
        Some(n) => Some(subset::per_class(bank, n_classes, n.into(), session.seed, "bank_per_class")?),
        None => None,
    };
    let is_rare_q = is_any_of(&queries.labels_n, &neighbours.rare_classes);
    let mut n_correct = [0; 2];
    for_each_chunk(
        balanced.as_ref().unwrap_or(bank),
        queries,
        neighbours.k,
        session,
        |nearest, labels_q, rows| {
            let scores_qc = match neighbours.vote {
                Vote::Weighted { temperature } => nearest.weighted(n_classes, temperature),
                Vote::Majority => nearest.majority(n_classes),
            };
            let is_correct_q = scores_qc.argmax(1, false).eq_tensor(labels_q);
            n_correct[0] += count(&is_correct_q);
            n_correct[1] += count(&is_correct_q.logical_and(&is_rare_q.narrow(0, rows.0, rows.1)));
        },
    )?;
    let n_correct = session.totals(&n_correct)?;
    let n_queries = [queries.labels_n.size()[0], count(&is_rare_q)];
    let percent = |at: usize| 100.0 * n_correct[at] / n_queries[at] as f64;
    let mut figures = vec![("accuracy_percent", percent(0))];
    if !neighbours.rare_classes.is_empty() {
        if n_queries[1] == 0 {
            return Err(Error::Unfit("rare_classes names no class of the test images".into()));
        }
        figures.push(("rare_accuracy_percent", percent(1)));
    }
    Ok(figures)
}

/// Share in percent of the nearest bank rows that are of the query's class.
pub(super) fn purity(
    bank: &Labelled,
    queries: &Labelled,
    k: u32,
    session: &Session,
) -> Result<Figures, Error> {
    let mut n_same = 0;
    for_each_chunk(bank, queries, k, session, |nearest, labels_q, _| {
        n_same += count(&nearest.classes_qk.eq_tensor(&labels_q.unsqueeze(1)));
    })?;
    let n_neighbours = queries.labels_n.size()[0] * i64::from(k).min(bank.labels_n.size()[0]);
    Ok(vec![("percent", 100.0 * session.totals(&[n_same])?[0] / n_neighbours as f64)])
}

/// Shows the neighbours of this rank's queries, chunk by chunk, with the queries' labels and where they stand: first
/// row and number of rows.
fn for_each_chunk(
    bank: &Labelled,
    queries: &Labelled,
    k: u32,
    session: &Session,
    mut see: impl FnMut(&Nearest, &Tensor, (i64, i64)),
) -> Result<(), Error> {
    no_grad(|| {
        let bank_nf = normalize(&bank.rows_nf);
        for rows in session.share(queries.labels_n.size()[0]).chunks() {
            (session.tick)(0)?;
            if rows.is_empty() {
                continue;
            }
            let rows = (rows.start as i64, (rows.end - rows.start) as i64);
            let chunk_qf = normalize(&queries.rows_nf.narrow(0, rows.0, rows.1));
            let nearest = Nearest::of(&bank_nf, &bank.labels_n, &chunk_qf, k);
            see(&nearest, &queries.labels_n.narrow(0, rows.0, rows.1), rows);
        }
        (session.tick)(1)
    })
}

fn is_any_of(labels_q: &Tensor, classes: &[u32]) -> Tensor {
    let nobody = Tensor::zeros_like(labels_q).to_kind(Kind::Bool);
    classes.iter().fold(nobody, |is_any, &class| is_any.logical_or(&labels_q.eq(i64::from(class))))
}

fn count(is_so: &Tensor) -> i64 {
    is_so.sum(Kind::Int64).int64_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::collective::Collective;

    /// The classes of the nearest rows with their cosines, nearest first.
    fn slow_nearest(bank: &[Vec<f64>], labels: &[usize], query: &[f64], k: usize) -> Vec<(f64, usize)> {
        let mut cosines: Vec<(f64, usize)> = bank
            .iter()
            .zip(labels)
            .map(|(row, &label)| (row.iter().zip(query).map(|(a, b)| a * b).sum(), label))
            .collect();
        cosines.sort_by(|a, b| b.0.total_cmp(&a.0));
        cosines.truncate(k);
        cosines
    }

    fn rows(tensor: &Tensor) -> Vec<Vec<f64>> {
        Vec::<Vec<f64>>::try_from(tensor).unwrap()
    }

    fn example() -> (Tensor, Vec<usize>, Tensor) {
        tch::manual_seed(3);
        let bank = normalize(&Tensor::randn([30, 6], (Kind::Double, Device::Cpu)));
        let queries = normalize(&Tensor::randn([7, 6], (Kind::Double, Device::Cpu)));
        (bank, (0..30).map(|i| (i * 7) % 4).collect(), queries)
    }

    fn to_tensor(labels: &[usize]) -> Tensor {
        Tensor::from_slice(&labels.iter().map(|&label| label as i64).collect::<Vec<_>>())
    }

    #[test]
    fn the_weighted_vote_equals_the_loops() {
        let (bank, labels, queries) = example();
        let scores = Nearest::of(&bank, &to_tensor(&labels), &queries, 5).weighted(4, 0.07);
        for (query, got) in rows(&queries).iter().zip(rows(&scores)) {
            let mut want = [0.0; 4];
            for (cosine, label) in slow_nearest(&rows(&bank), &labels, query, 5) {
                want[label] += f64::exp(cosine / 0.07);
            }
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() <= 1e-9 * want.abs().max(1.0), "{got} {want}");
            }
        }
    }

    #[test]
    fn the_majority_is_of_most_votes_then_of_least_ranks() {
        let (bank, labels, queries) = example();
        for k in [1, 2, 6, 20] {
            let chosen = Nearest::of(&bank, &to_tensor(&labels), &queries, k).majority(4).argmax(1, false);
            for (query, got) in rows(&queries).iter().zip(Vec::<i64>::try_from(chosen).unwrap()) {
                let mut classes = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)];
                let nearest = slow_nearest(&rows(&bank), &labels, query, k as usize);
                for (rank, (_, label)) in nearest.into_iter().enumerate() {
                    classes[label].0 -= 1;
                    classes[label].1 += rank;
                }
                let best = classes.into_iter().min().unwrap();
                assert_eq!(got, best.2, "{k} neighbours");
            }
        }
    }

    #[test]
    fn more_neighbours_than_rows_means_all_rows() {
        let bank = Tensor::eye(3, (Kind::Double, Device::Cpu));
        let scores = Nearest::of(&bank, &to_tensor(&[0, 1, 2]), &bank, 50).weighted(3, 0.1);
        assert_eq!(Vec::<i64>::try_from(scores.argmax(1, false)).unwrap(), [0, 1, 2]);
    }

    fn labelled(rows: &[f64], labels: &[usize]) -> Labelled {
        Labelled { rows_nf: Tensor::from_slice(rows).view([-1, 2]), labels_n: to_tensor(labels) }
    }

    #[test]
    fn rare_classes_are_counted_on_their_own_with_a_balanced_bank() {
        let bank = labelled(&[1.0, 0.0, 1.0, 0.1, 1.0, 0.2, 0.0, 1.0], &[0, 0, 0, 1]);
        let queries = labelled(&[1.0, 0.0, 0.1, 1.0, 1.0, 0.5], &[0, 1, 1]);
        let neighbours =
            Neighbours { k: 1, vote: Vote::Majority, bank_per_class: Some(1), rare_classes: vec![1] };
        let alone = Collective::single();
        let figures =
            |neighbours: &Neighbours| accuracy(&bank, &queries, 2, neighbours, &Session::alone(&alone));
        let found = figures(&neighbours).unwrap();
        assert_eq!(found, [("accuracy_percent", 200.0 / 3.0), ("rare_accuracy_percent", 50.0)]);
        let refused = figures(&Neighbours { bank_per_class: Some(2), ..neighbours.clone() }).unwrap_err();
        let expected = "bank_per_class asks for 2 training images of each class, class 1 has 1";
        assert_eq!(refused.to_string(), expected);
        let refused = figures(&Neighbours { rare_classes: vec![7], ..neighbours }).unwrap_err();
        assert_eq!(refused.to_string(), "rare_classes names no class of the test images");
    }

    #[test]
    fn purity_is_the_share_of_neighbours_of_the_same_class() {
        let bank = labelled(&[1.0, 0.0, 1.0, 0.1, 0.0, 1.0], &[0, 1, 1]);
        let queries = labelled(&[1.0, 0.0, 0.0, 1.0], &[0, 1]);
        let alone = Collective::single();
        let found = purity(&bank, &queries, 2, &Session::alone(&alone)).unwrap();
        assert_eq!(found, [("percent", 75.0)]);
    }
}
