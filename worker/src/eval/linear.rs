//! Linear probe: multinomial logistic regression on frozen, standardised features, solved by L-BFGS.
//!
//! Full-batch and deterministic: each rank computes loss and gradient on its share of the rows, the mean over ranks
//! is the global one, so every rank's solver takes the same path. Minimises
//! `mean cross-entropy + l2 ‖W‖²` (the bias is not penalised).
//!
//! Shape legend: n rows, f features, c classes.

use argmin::{
    core::{CostFunction, Executor, Gradient, State as _},
    solver::{linesearch::MoreThuenteLineSearch, quasinewton::LBFGS},
};
use kindred_proto::recipe::LinearProbe;
use tch::{Kind, Reduction, Tensor, no_grad};

use super::{Error, features::Labelled, knn, share::Share};
use crate::collective::Collective;

/// Past steps that L-BFGS keeps.
const HISTORY: usize = 10;

/// Accuracy in percent on `test` of a probe fitted to `train`.
pub(super) fn accuracy_percent(
    train: &Labelled,
    test: &Labelled,
    n_classes: u32,
    probe: &LinearProbe,
    collective: &Collective,
) -> Result<f64, Error> {
    let (mean_f, std_f) = no_grad(|| {
        (train.rows_nf.mean_dim(0, false, Kind::Float), train.rows_nf.std_dim(0, true, false) + 1e-6)
    });
    let standard = |rows: &Tensor| no_grad(|| ((rows - &mean_f) / &std_f).to_kind(Kind::Float));
    let share = Share::of(train.rows_nf.size()[0] as u64, collective.rank(), collective.world_size());
    let (start, n_own) = (share.rows.start as i64, (share.rows.end - share.rows.start) as i64);
    let problem = Problem {
        rows_nf: standard(&train.rows_nf.narrow(0, start, n_own)),
        labels_n: train.labels_n.narrow(0, start, n_own),
        n_all: train.rows_nf.size()[0],
        n_classes: i64::from(n_classes),
        l2: probe.l2,
        collective,
    };
    let weights = problem.solve(probe.max_iterations)?;
    let scores_nc = no_grad(|| problem.scores(&weights, &standard(&test.rows_nf)));
    let n_correct = knn::count_correct(&scores_nc, &test.labels_n);
    Ok(100.0 * n_correct as f64 / test.rows_nf.size()[0] as f64)
}

/// This rank's share of the regression.
struct Problem<'a> {
    rows_nf: Tensor,
    labels_n: Tensor,
    n_all: i64,
    n_classes: i64,
    l2: f64,
    collective: &'a Collective,
}

impl Problem<'_> {
    /// The weights `[f + 1, c]`, flat; the last row is the bias.
    fn solve(&self, max_iterations: u32) -> Result<Vec<f64>, Error> {
        let start = vec![0.0; ((self.rows_nf.size()[1] + 1) * self.n_classes) as usize];
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), HISTORY);
        Executor::new(self, solver)
            .configure(|state| state.param(start).max_iters(u64::from(max_iterations)))
            .run()
            .map_err(|error| Error::Solver(error.to_string()))?
            .state()
            .get_best_param()
            .cloned()
            .ok_or_else(|| Error::Solver("no iteration gave a finite loss".into()))
    }

    fn scores(&self, weights: &[f64], rows_nf: &Tensor) -> Tensor {
        let (weights_fc, bias_c) = self.split(&self.tensor(weights));
        rows_nf.matmul(&weights_fc) + bias_c
    }

    fn tensor(&self, weights: &[f64]) -> Tensor {
        Tensor::from_slice(weights)
            .to_device(self.rows_nf.device())
            .to_kind(Kind::Float)
            .view([-1, self.n_classes])
    }

    fn split(&self, weights: &Tensor) -> (Tensor, Tensor) {
        let n_features = self.rows_nf.size()[1];
        (weights.narrow(0, 0, n_features), weights.select(0, n_features))
    }

    /// Loss over all ranks and its gradient.
    fn evaluate(&self, weights: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        let weights = self.tensor(weights).set_requires_grad(true);
        let (weights_fc, bias_c) = self.split(&weights);
        let scores_nc = self.rows_nf.matmul(&weights_fc) + bias_c;
        // The mean over ranks of (world size / n) × this rank's sum is the mean over all rows.
        let scale = f64::from(self.collective.world_size()) / self.n_all as f64;
        let fit =
            scores_nc.cross_entropy_loss::<Tensor>(&self.labels_n, None, Reduction::Sum, -100, 0.0) * scale;
        let loss = fit + weights_fc.square().sum(Kind::Float) * self.l2;
        let gradient = Tensor::run_backward(&[&loss], &[&weights], false, false).remove(0);
        let both = Tensor::cat(&[loss.detach().view([1]), gradient.view([-1])], 0).to_kind(Kind::Double);
        self.collective.mean_(&[both.shallow_clone()])?;
        let mut both = Vec::<f64>::try_from(&both.to_device(tch::Device::Cpu)).expect("a flat f64 tensor");
        let loss = both.remove(0);
        Ok((loss, both))
    }
}

impl CostFunction for &Problem<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, weights: &Self::Param) -> Result<f64, argmin::core::Error> {
        Ok(self.evaluate(weights)?.0)
    }
}

impl Gradient for &Problem<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, weights: &Self::Param) -> Result<Self::Gradient, argmin::core::Error> {
        Ok(self.evaluate(weights)?.1)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn clusters(n: i64, seed: i64) -> Labelled {
        tch::manual_seed(seed);
        let labels_n = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(3);
        let centres = Tensor::from_slice2(&[[3.0f32, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]);
        let noise = Tensor::randn([n, 3], (Kind::Float, Device::Cpu)) * 0.5;
        Labelled { rows_nf: centres.index_select(0, &labels_n) + noise, labels_n }
    }

    #[test]
    fn separate_clusters_are_told_apart() {
        let probe = LinearProbe { max_iterations: 50, l2: 1e-4 };
        let accuracy =
            accuracy_percent(&clusters(300, 1), &clusters(90, 2), 3, &probe, &Collective::single()).unwrap();
        assert!(accuracy > 97.0, "{accuracy}");
    }

    #[test]
    fn the_gradient_equals_finite_differences() {
        let data = clusters(30, 5);
        let collective = Collective::single();
        let problem = Problem {
            rows_nf: data.rows_nf,
            labels_n: data.labels_n,
            n_all: 30,
            n_classes: 3,
            l2: 0.1,
            collective: &collective,
        };
        let weights: Vec<f64> = (0..12).map(|i| 0.1 * f64::from(i % 5) - 0.2).collect();
        let (_, gradient) = problem.evaluate(&weights).unwrap();
        for (i, slope) in gradient.iter().enumerate() {
            let shifted = |by: f64| {
                let mut weights = weights.clone();
                weights[i] += by;
                problem.evaluate(&weights).unwrap().0
            };
            let difference = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((slope - difference).abs() < 2e-3, "weight {i}: {slope} {difference}");
        }
    }
}
