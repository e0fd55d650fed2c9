//! Stochastic gradient descent with momentum.

use kindred_bridge::{Error, SgdStep, fused_sgd};
use kindred_proto::recipe::Sgd;
use tch::Tensor;

/// SGD as PyTorch's: decay is added to the gradient, momentum is not damped, all parameters are treated alike.
pub struct Optimizer {
    recipe: Sgd,
    parameters: Vec<(String, Tensor)>,
    momenta: Vec<Tensor>,
}

impl Optimizer {
    /// Starts with momenta of zero, which makes the first step PyTorch's first step.
    pub fn new(recipe: &Sgd, parameters: Vec<(String, Tensor)>) -> Self {
        let momenta = parameters.iter().map(|(_, parameter)| parameter.detach().zeros_like()).collect();
        Self { recipe: recipe.clone(), parameters, momenta }
    }

    /// Moves every parameter that has a gradient; the others, and their momenta, stay put.
    ///
    /// # Errors
    /// When the device is out of memory.
    pub fn step(&mut self, lr: f64) -> Result<(), Error> {
        let gradients: Vec<Tensor> = self.parameters.iter().map(|(_, parameter)| parameter.grad()).collect();
        let parameters: Vec<&Tensor> = self.parameters.iter().map(|(_, parameter)| parameter).collect();
        let Sgd { momentum, weight_decay, nesterov, .. } = self.recipe;
        fused_sgd(&parameters, &gradients, &self.momenta, SgdStep { lr, momentum, weight_decay, nesterov })
    }

    /// What a checkpoint carries, as shallow handles: the momentum of each parameter.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let names = self.parameters.iter().map(|(name, _)| format!("momentum.{name}"));
        names.zip(self.momenta.iter().map(Tensor::shallow_clone)).collect()
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const RECIPE: Sgd = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov: false };

    fn parameter(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).set_requires_grad(true)
    }

    /// The textbook loop.
    fn reference(recipe: &Sgd, mut w: f64, gradient: impl Fn(f64) -> f64, n_steps: usize) -> f64 {
        let mut velocity = 0.0;
        for _ in 0..n_steps {
            let g = gradient(w) + recipe.weight_decay * w;
            velocity = recipe.momentum * velocity + g;
            w -= recipe.lr * if recipe.nesterov { g + recipe.momentum * velocity } else { velocity };
        }
        w
    }

    #[test]
    fn steps_equal_the_textbook_loop() {
        for nesterov in [false, true] {
            let recipe = Sgd { nesterov, ..RECIPE };
            let w = parameter(&[1.0, -2.0]);
            let mut optimizer = Optimizer::new(&recipe, vec![("w".to_owned(), w.shallow_clone())]);
            for _ in 0..5 {
                w.shallow_clone().zero_grad();
                (&w * &w * 0.5).sum(Kind::Double).backward();
                optimizer.step(recipe.lr).expect("one gradient a parameter");
            }
            for (i, start) in [1.0, -2.0].into_iter().enumerate() {
                let want = reference(&recipe, start, |w| w, 5);
                assert!((w.double_value(&[i as i64]) - want).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_parameter_without_gradient_stays_put() {
        let used = parameter(&[1.0]);
        let unused = parameter(&[3.0]);
        let named =
            vec![("used".to_owned(), used.shallow_clone()), ("unused".to_owned(), unused.shallow_clone())];
        let mut optimizer = Optimizer::new(&RECIPE, named);
        used.square().sum(Kind::Double).backward();
        optimizer.step(RECIPE.lr).expect("one gradient a parameter");
        assert_eq!(unused.double_value(&[0]), 3.0);
        assert_ne!(used.double_value(&[0]), 1.0);
    }

    #[test]
    fn momenta_keep_the_layout_of_their_parameters() {
        let weight = Tensor::zeros([4, 3, 3, 3], (Kind::Float, Device::Cpu));
        let weight = weight.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let optimizer = Optimizer::new(&RECIPE, vec![("w".to_owned(), weight.shallow_clone())]);
        assert_eq!(optimizer.state()[0].1.stride(), weight.stride());
    }
}
