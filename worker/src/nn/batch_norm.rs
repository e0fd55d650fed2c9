//! Batch normalisation over fixed groups of samples.
//!
//! The groups are parts of the *global* batch, whatever the number of ranks: a rank holds whole groups. Running
//! statistics move by the mean over the groups, so their mean over ranks is what one rank with the whole batch gets.

use kindred_proto::recipe;
use tch::{Tensor, no_grad};

use super::builder::{Builder, Role};

/// Share of the new statistics in the running ones, as PyTorch's default.
const MOMENTUM: f64 = 0.1;
/// Added to the variance, as PyTorch's default.
const EPSILON: f64 = 1e-5;

/// Normalises each channel of `[B, C, H, W]` or `[B, C]`.
pub struct BatchNorm {
    weight: Option<Tensor>,
    bias: Option<Tensor>,
    running_mean: Tensor,
    running_var: Tensor,
    statistics: recipe::BatchNorm,
}

impl BatchNorm {
    /// Starts with running mean 0 and variance 1, and, if affine, weight 1 and bias 0.
    pub fn new(builder: &mut Builder, name: &str, n_channels: i64, is_affine: bool) -> Self {
        let statistics = builder.setup().batch_norm;
        let role = if statistics == recipe::BatchNorm::Frozen { Role::Frozen } else { Role::Parameter };
        let mut vector =
            |part: &str, value, role| builder.constant(format!("{name}.{part}"), n_channels, value, role);
        Self {
            weight: is_affine.then(|| vector("weight", 1.0, role)),
            bias: is_affine.then(|| vector("bias", 0.0, role)),
            running_mean: vector("running_mean", 0.0, Role::Buffer),
            running_var: vector("running_var", 1.0, Role::Buffer),
            statistics,
        }
    }

    /// Uses the statistics of each group when training, unless frozen; otherwise the running ones.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        match self.statistics {
            recipe::BatchNorm::Groups { size } if train => self.forward_groups(x, i64::from(size)),
            _ => self.normalize(x, &self.running_mean, &self.running_var, false),
        }
    }

    fn forward_groups(&self, x: &Tensor, size: i64) -> Tensor {
        let n_groups = x.size()[0] / size;
        if n_groups <= 1 {
            return self.normalize(x, &self.running_mean, &self.running_var, true);
        }
        let means_gc = self.running_mean.repeat([n_groups, 1]);
        let vars_gc = self.running_var.repeat([n_groups, 1]);
        let statistics = means_gc.unbind(0).into_iter().zip(vars_gc.unbind(0));
        let groups: Vec<Tensor> = x
            .split(size, 0)
            .iter()
            .zip(statistics)
            .map(|(group, (mean_c, var_c))| self.normalize(group, &mean_c, &var_c, true))
            .collect();
        no_grad(|| {
            self.running_mean.shallow_clone().copy_(&means_gc.mean_dim([0_i64].as_slice(), false, None));
            self.running_var.shallow_clone().copy_(&vars_gc.mean_dim([0_i64].as_slice(), false, None));
        });
        Tensor::cat(&groups, 0)
    }

    fn normalize(&self, x: &Tensor, mean_c: &Tensor, var_c: &Tensor, uses_batch: bool) -> Tensor {
        let (weight, bias) = (self.weight.as_ref(), self.bias.as_ref());
        x.batch_norm(weight, bias, Some(mean_c), Some(var_c), uses_batch, MOMENTUM, EPSILON, true)
    }
}
