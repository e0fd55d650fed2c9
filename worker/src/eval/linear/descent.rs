//! Steps on small batches: SGD or Adam, as papers probe.
//!
//! Batches and the first weights (normal with deviation 0.01, biases 0, as MoCo's probe; Adam's sources say nothing) are
//! functions of the seed alone; the ranks share each batch evenly.
//!
//! Shape legend: b this rank's rows of a batch, n all rows, f features, c classes.

use std::f64::consts::PI;

use kindred_proto::recipe::evaluation::{Decay, Descent, Rule};
use tch::{Tensor, no_grad};

use super::{
    super::{Error, Session, features::Labelled},
    Classifier,
};
use crate::nn::Stream;

/// Fits a classifier to all rows.
pub(super) fn fit(
    train: &Labelled,
    n_classes: u32,
    settings: &Descent,
    session: &Session,
) -> Result<Classifier, Error> {
    let mut classifier = Classifier::first(train, n_classes, session.seed);
    let mut optimizer = Optimizer::new(settings, &classifier);
    let n_rows = train.labels_n.size()[0];
    for epoch in 0..settings.epochs {
        let order = Stream::new(session.seed, &format!("probe epoch {epoch}")).permutation(n_rows as usize);
        let order_n = Tensor::from_slice(&order).to_device(train.labels_n.device());
        let lr = learning_rate(settings, epoch);
        for batch in order_n.split(i64::from(settings.batch), 0) {
            let gradients = gradients(&classifier, train, &batch, session)?;
            optimizer.step(&mut classifier, &gradients, lr);
        }
        (session.tick)(1)?;
    }
    Ok(classifier)
}

/// The rate of an epoch.
fn learning_rate(settings: &Descent, epoch: u32) -> f64 {
    settings.lr
        * match &settings.decay {
            Decay::Constant => 1.0,
            Decay::Cosine => 0.5 * (1.0 + (PI * f64::from(epoch) / f64::from(settings.epochs)).cos()),
            Decay::Steps { milestones, factor } => {
                factor.powi(milestones.iter().filter(|&&milestone| milestone <= epoch).count() as i32)
            }
        }
}

impl Classifier {
    fn first(train: &Labelled, n_classes: u32, seed: u64) -> Self {
        let (n_classes, n_features) = (i64::from(n_classes), train.rows_nf.size()[1]);
        let mut stream = Stream::new(seed, "probe");
        let weights: Vec<f64> = (0..n_classes * n_features).map(|_| 0.01 * stream.normal()).collect();
        let like_rows = (train.rows_nf.kind(), train.rows_nf.device());
        let weight_cf = Tensor::from_slice(&weights).view([n_classes, n_features]);
        Self {
            weight_cf: weight_cf.to_kind(like_rows.0).to_device(like_rows.1),
            bias_c: Tensor::zeros([n_classes], like_rows),
        }
    }

    fn parameters(&self) -> [&Tensor; 2] {
        [&self.weight_cf, &self.bias_c]
    }
}

/// Of the batch's mean cross-entropy, over all ranks: of weights and biases.
fn gradients(
    classifier: &Classifier,
    train: &Labelled,
    batch: &Tensor,
    session: &Session,
) -> Result<[Tensor; 2], Error> {
    let (rank, world_size) = (session.collective.rank(), session.collective.world_size());
    let n_batch = batch.size()[0];
    let bound = |rank: u32| n_batch * i64::from(rank) / i64::from(world_size);
    let own_b = batch.narrow(0, bound(rank), bound(rank + 1) - bound(rank));
    let gradients = no_grad(|| {
        let rows_bf = train.rows_nf.index_select(0, &own_b);
        let labels_b1 = train.labels_n.index_select(0, &own_b).unsqueeze(1);
        let surplus_bc = classifier.scores(&rows_bf).softmax(1, None);
        let minus_b1 = -labels_b1.ones_like().to_kind(surplus_bc.kind());
        // The mean over ranks of (world size / n) × this rank's sum is the mean over the batch.
        let scale = f64::from(world_size) / n_batch as f64;
        let surplus_bc = surplus_bc.scatter_add(1, &labels_b1, &minus_b1) * scale;
        [
            surplus_bc.transpose(0, 1).matmul(&rows_bf),
            surplus_bc.sum_dim_intlist([0_i64].as_slice(), false, None),
        ]
    });
    session.collective.mean_(&gradients)?;
    Ok(gradients)
}

/// PyTorch's SGD or Adam, over weights and biases.
struct Optimizer<'a> {
    settings: &'a Descent,
    /// Of each parameter: momentum, or Adam's first moment.
    first: [Tensor; 2],
    /// Of each parameter: Adam's second moment.
    second: [Tensor; 2],
    n_steps: i32,
}

/// PyTorch's defaults.
const BETAS: [f64; 2] = [0.9, 0.999];
const ADAM_EPSILON: f64 = 1e-8;

impl<'a> Optimizer<'a> {
    fn new(settings: &'a Descent, classifier: &Classifier) -> Self {
        let zeros = || classifier.parameters().map(Tensor::zeros_like);
        Self { settings, first: zeros(), second: zeros(), n_steps: 0 }
    }

    fn step(&mut self, classifier: &mut Classifier, gradients: &[Tensor; 2], lr: f64) {
        self.n_steps += 1;
        no_grad(|| {
            for (which, parameter) in classifier.parameters().into_iter().enumerate() {
                let gradient = &gradients[which] + parameter * self.settings.weight_decay;
                let change = match self.settings.rule {
                    Rule::Sgd { momentum } => self.sgd(which, &gradient, momentum),
                    Rule::Adam => self.adam(which, &gradient),
                };
                let _ = parameter.shallow_clone().g_sub_(&(change * lr));
            }
        });
    }

    fn sgd(&mut self, which: usize, gradient: &Tensor, momentum: f64) -> Tensor {
        self.first[which] = &self.first[which] * momentum + gradient;
        self.first[which].shallow_clone()
    }

    fn adam(&mut self, which: usize, gradient: &Tensor) -> Tensor {
        let [beta1, beta2] = BETAS;
        self.first[which] = &self.first[which] * beta1 + gradient * (1.0 - beta1);
        self.second[which] = &self.second[which] * beta2 + gradient.square() * (1.0 - beta2);
        let [mean, square] = [(&self.first, beta1), (&self.second, beta2)]
            .map(|(moments, beta)| &moments[which] / (1.0 - beta.powi(self.n_steps)));
        mean / (square.sqrt() + ADAM_EPSILON)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::collective::{Collective, on_threads};

    const SETTINGS: Descent = Descent {
        rule: Rule::Sgd { momentum: 0.9 },
        epochs: 4,
        batch: 7,
        lr: 0.5,
        weight_decay: 0.01,
        decay: Decay::Cosine,
    };

    fn example() -> Labelled {
        Labelled {
            rows_nf: (Tensor::arange(60, (Kind::Double, Device::Cpu)) * 12.9898).sin().view([20, 3]),
            labels_n: Tensor::arange(20, (Kind::Int64, Device::Cpu)).remainder(3),
        }
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.reshape([-1])).unwrap()
    }

    fn fitted(settings: &Descent, collective: &Collective) -> Vec<f64> {
        let classifier = fit(&example(), 3, settings, &Session::alone(collective)).unwrap();
        [numbers(&classifier.weight_cf), numbers(&classifier.bias_c)].concat()
    }

    /// Autograd and the textbook's updates, one number at a time.
    fn slowly(settings: &Descent) -> Vec<f64> {
        let (train, seed) = (example(), 3);
        let first = Classifier::first(&train, 3, seed);
        let mut weights = [numbers(&first.weight_cf), numbers(&first.bias_c)].concat();
        let (mut first, mut second, mut n_steps) = (vec![0.0; 12], vec![0.0; 12], 0);
        for epoch in 0..settings.epochs {
            let order = Stream::new(seed, &format!("probe epoch {epoch}")).permutation(20);
            for batch in order.chunks(settings.batch as usize) {
                let parameters = Tensor::from_slice(&weights).set_requires_grad(true);
                let rows = Tensor::from_slice(batch);
                let scores = train
                    .rows_nf
                    .index_select(0, &rows)
                    .matmul(&parameters.narrow(0, 0, 9).view([3, 3]).tr())
                    + parameters.narrow(0, 9, 3);
                let loss = scores.log_softmax(1, None).nll_loss(&train.labels_n.index_select(0, &rows));
                loss.backward();
                n_steps += 1;
                for (at, slope) in numbers(&parameters.grad()).into_iter().enumerate() {
                    let slope = slope + settings.weight_decay * weights[at];
                    let lr = learning_rate(settings, epoch);
                    match settings.rule {
                        Rule::Sgd { momentum } => {
                            first[at] = momentum * first[at] + slope;
                            weights[at] -= lr * first[at];
                        }
                        Rule::Adam => {
                            first[at] = 0.9 * first[at] + 0.1 * slope;
                            second[at] = 0.999 * second[at] + 0.001 * slope * slope;
                            let mean: f64 = first[at] / (1.0 - 0.9_f64.powi(n_steps));
                            let square: f64 = second[at] / (1.0 - 0.999_f64.powi(n_steps));
                            weights[at] -= lr * mean / (square.sqrt() + 1e-8);
                        }
                    }
                }
            }
        }
        weights
    }

    #[test]
    fn a_fit_equals_the_textbook_loops() {
        for rule in [SETTINGS.rule, Rule::Adam] {
            let settings = Descent { rule, ..SETTINGS };
            for (got, want) in fitted(&settings, &Collective::single()).iter().zip(slowly(&settings)) {
                assert!((got - want).abs() < 1e-12, "{rule:?}: {got} {want}");
            }
        }
    }

    #[test]
    fn any_number_of_ranks_fits_the_same() {
        let alone = fitted(&SETTINGS, &Collective::single());
        for world_size in [2, 3] {
            for rank in on_threads(world_size, |collective| fitted(&SETTINGS, &collective)) {
                let off = rank.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(off < 1e-12, "{world_size} ranks: off by {off:e}");
            }
        }
    }

    #[test]
    fn rates_move_between_epochs() {
        let rates = |decay| {
            let settings = Descent { lr: 8.0, decay, ..SETTINGS };
            (0..4).map(|epoch| learning_rate(&settings, epoch)).collect::<Vec<_>>()
        };
        assert_eq!(rates(Decay::Constant), [8.0; 4]);
        assert_eq!(rates(Decay::Steps { milestones: vec![1, 3], factor: 0.5 }), [8.0, 4.0, 4.0, 2.0]);
        let cosine = rates(Decay::Cosine);
        assert!((cosine[0], (cosine[2] - 4.0).abs() < 1e-12) == (8.0, true), "{cosine:?}");
    }
}
