//! Linear probes: a multinomial logistic regression on frozen features.
//!
//! Features are computed once and not augmented, unlike in the published protocols, which crop and flip anew in each
//! epoch. Each rank computes on its share of the rows, and gradients are averaged over the ranks, so that every rank's
//! solver takes the same path.
//!
//! Shape legend: n rows, f features, c classes.

use kindred_proto::recipe::evaluation::{LinearProbe, Scaling, Solver};
use tch::{Kind, Tensor, no_grad};

use super::{Error, Figures, Session, features::Labelled, subset};
use crate::nn::normalize;

mod descent;
mod lbfgs;

/// Added to the variance of each feature.
const EPSILON: f64 = 1e-5;

/// What tells classes apart.
struct Classifier {
    weight_cf: Tensor,
    bias_c: Tensor,
}

impl Classifier {
    /// Scores of each class, `[n, c]`.
    fn scores(&self, rows_nf: &Tensor) -> Tensor {
        rows_nf.matmul(&self.weight_cf.transpose(0, 1)) + &self.bias_c
    }
}

/// Accuracy in percent on `test` of a probe fitted to `train`.
pub(super) fn accuracy(
    train: &Labelled,
    test: &Labelled,
    n_classes: u32,
    probe: &LinearProbe,
    session: &Session,
) -> Result<Figures, Error> {
    let scaler = Scaler::fit(&train.rows_nf, probe.scaling);
    let labelled = match probe.labelled_share {
        Some(share) => Some(share_of_each_class(train, n_classes, share, session)?),
        None => None,
    };
    let train = labelled.as_ref().unwrap_or(train);
    let train = Labelled { rows_nf: scaler.apply(&train.rows_nf), labels_n: train.labels_n.shallow_clone() };
    let classifier = match &probe.solver {
        Solver::Lbfgs(settings) => lbfgs::fit(&train, n_classes, settings, session)?,
        Solver::Descent(settings) => descent::fit(&train, n_classes, settings, session)?,
    };
    count_correct(test, n_classes, |rows_nf| classifier.scores(&scaler.apply(rows_nf)), session)
}

fn share_of_each_class(
    train: &Labelled,
    n_classes: u32,
    share: f64,
    session: &Session,
) -> Result<Labelled, Error> {
    let n_per_class = share * train.labels_n.size()[0] as f64 / subset::n_present(train) as f64;
    let n_per_class = n_per_class.round().max(1.0) as u64;
    subset::per_class(train, n_classes, n_per_class, session.seed, "labelled_share")
}

/// How many of this rank's rows have their label among the highest score, or the five highest, summed over ranks.
fn count_correct(
    test: &Labelled,
    n_classes: u32,
    scores: impl Fn(&Tensor) -> Tensor,
    session: &Session,
) -> Result<Figures, Error> {
    let n_rows = test.labels_n.size()[0];
    let mut n_correct = [0; 2];
    no_grad(|| {
        for rows in session.share(n_rows).chunks().filter(|rows| !rows.is_empty()) {
            let (start, length) = (rows.start as i64, (rows.end - rows.start) as i64);
            let scores_nc = scores(&test.rows_nf.narrow(0, start, length));
            let (_, best_nk) = scores_nc.topk(i64::from(n_classes).min(5), 1, true, true);
            let is_own_nk = best_nk.eq_tensor(&test.labels_n.narrow(0, start, length).unsqueeze(1));
            n_correct[0] += is_own_nk.narrow(1, 0, 1).sum(Kind::Int64).int64_value(&[]);
            n_correct[1] += is_own_nk.sum(Kind::Int64).int64_value(&[]);
        }
    });
    let n_correct = session.totals(&n_correct)?;
    let percent = |at: usize| 100.0 * n_correct[at] / n_rows as f64;
    let mut figures = vec![("accuracy_percent", percent(0))];
    if n_classes > 5 {
        figures.push(("top5_accuracy_percent", percent(1)));
    }
    Ok(figures)
}

/// What is done to features before they are classified.
struct Scaler {
    has_unit_rows: bool,
    /// Mean and inverse standard deviation of each feature.
    standard: Option<(Tensor, Tensor)>,
}

impl Scaler {
    /// By the statistics of all training images: labels are not needed for them.
    fn fit(rows_nf: &Tensor, scaling: Scaling) -> Self {
        let has_unit_rows = scaling == Scaling::UnitStandard;
        let plain = Self { has_unit_rows, standard: None };
        if scaling == Scaling::None {
            return plain;
        }
        let rows_nf = plain.apply(rows_nf);
        let standard = no_grad(|| {
            let mean_f = rows_nf.mean_dim([0_i64].as_slice(), false, None);
            let variance_f = rows_nf.var_dim([0_i64].as_slice(), rows_nf.size()[0] > 1, false);
            (mean_f, (variance_f + EPSILON).rsqrt())
        });
        Self { has_unit_rows, standard: Some(standard) }
    }

    fn apply(&self, rows_nf: &Tensor) -> Tensor {
        no_grad(|| {
            let rows_nf = if self.has_unit_rows { normalize(rows_nf) } else { rows_nf.shallow_clone() };
            match &self.standard {
                Some((mean_f, scale_f)) => (rows_nf - mean_f) * scale_f,
                None => rows_nf,
            }
        })
    }
}

#[cfg(test)]
mod tests;
