//! Full-batch L-BFGS: deterministic, and without a learning rate to choose.
//!
//! Minimises `mean cross-entropy + l2 ‖W‖²` (the bias is not penalised).
//!
//! Shape legend: n this rank's rows, f features, c classes.

use argmin::{
    core::{CostFunction, Executor, Gradient, State as _},
    solver::{linesearch::MoreThuenteLineSearch, quasinewton::LBFGS},
};
use kindred_proto::recipe::evaluation::Lbfgs;
use tch::{Device, Kind, Reduction, Tensor};

use super::{
    super::{Error, Session, features::Labelled},
    Classifier,
};

/// Past steps that L-BFGS keeps.
const HISTORY: usize = 10;

/// Fits a classifier to the rows of all ranks.
pub(super) fn fit(
    train: &Labelled,
    n_classes: u32,
    settings: &Lbfgs,
    session: &Session,
) -> Result<Classifier, Error> {
    let n_all = train.labels_n.size()[0];
    let own = session.share(n_all).rows;
    let (start, n_own) = (own.start as i64, (own.end - own.start) as i64);
    let problem = Problem {
        rows_nf: train.rows_nf.narrow(0, start, n_own),
        labels_n: train.labels_n.narrow(0, start, n_own),
        n_all,
        n_classes: i64::from(n_classes),
        l2: settings.l2,
        session,
    };
    let solved = problem.tensor(&problem.solve(settings.max_iterations)?);
    let (weight_cf, bias_c) = problem.split(&solved);
    (session.tick)(1)?;
    Ok(Classifier { weight_cf, bias_c })
}

/// This rank's share of the regression.
struct Problem<'a> {
    rows_nf: Tensor,
    labels_n: Tensor,
    n_all: i64,
    n_classes: i64,
    l2: f64,
    session: &'a Session<'a>,
}

impl Problem<'_> {
    /// The weights `[c, f + 1]`, flat; the last column is the bias.
    fn solve(&self, max_iterations: u32) -> Result<Vec<f64>, Error> {
        let start = vec![0.0; ((self.rows_nf.size()[1] + 1) * self.n_classes) as usize];
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), HISTORY);
        Executor::new(self, solver)
            .configure(|state| state.param(start).max_iters(u64::from(max_iterations)))
            .run()
            .map_err(own_error)?
            .state()
            .get_best_param()
            .cloned()
            .ok_or_else(|| Error::Solver("no iteration gave a finite loss".into()))
    }

    fn tensor(&self, weights: &[f64]) -> Tensor {
        Tensor::from_slice(weights)
            .to_device(self.rows_nf.device())
            .to_kind(self.rows_nf.kind())
            .view([self.n_classes, -1])
    }

    fn split(&self, weights: &Tensor) -> (Tensor, Tensor) {
        let n_features = self.rows_nf.size()[1];
        (weights.narrow(1, 0, n_features), weights.select(1, n_features))
    }

    /// Loss over all ranks and its gradient.
    fn evaluate(&self, weights: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        (self.session.tick)(0)?;
        let weights = self.tensor(weights).set_requires_grad(true);
        let (weight_cf, bias_c) = self.split(&weights);
        let scores_nc = self.rows_nf.matmul(&weight_cf.transpose(0, 1)) + bias_c;
        // The mean over ranks of (world size / n) × this rank's sum is the mean over all rows.
        let scale = f64::from(self.session.collective.world_size()) / self.n_all as f64;
        let fit =
            scores_nc.cross_entropy_loss::<Tensor>(&self.labels_n, None, Reduction::Sum, -100, 0.0) * scale;
        let loss = fit + weight_cf.square().sum(None) * self.l2;
        let gradient = Tensor::run_backward(&[&loss], &[&weights], false, false).remove(0);
        let both = Tensor::cat(&[loss.detach().view([1]), gradient.view([-1])], 0).to_kind(Kind::Double);
        self.session.collective.mean_(&[both.shallow_clone()])?;
        let mut both = Vec::<f64>::try_from(&both.to_device(Device::Cpu)).expect("a flat f64 tensor");
        let loss = both.remove(0);
        Ok((loss, both))
    }
}

/// What ended the solver: an error of [`Problem::evaluate`], or its own.
fn own_error(error: argmin::core::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|error| Error::Solver(error.to_string()))
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
    use super::*;
    use crate::collective::Collective;

    #[test]
    fn the_gradient_equals_finite_differences() {
        let options = (Kind::Double, Device::Cpu);
        let alone = Collective::single();
        let session = Session::alone(&alone);
        let problem = Problem {
            rows_nf: (Tensor::arange(90, options) * 12.9898).sin().view([30, 3]),
            labels_n: Tensor::arange(30, (Kind::Int64, Device::Cpu)).remainder(3),
            n_all: 30,
            n_classes: 3,
            l2: 1e-2,
            session: &session,
        };
        let weights: Vec<f64> = (0..12).map(|i| 0.1 * f64::from(i) - 0.5).collect();
        let (_, gradient) = problem.evaluate(&weights).unwrap();
        for (i, slope) in gradient.iter().enumerate() {
            let shifted = |by: f64| {
                let mut weights = weights.clone();
                weights[i] += by;
                problem.evaluate(&weights).unwrap().0
            };
            let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert!((slope - difference).abs() < 1e-8, "weight {i}: {slope} {difference}");
        }
    }
}
