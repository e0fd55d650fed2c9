//! Batch normalisation over fixed groups of samples, or over all of them.
//!
//! The groups are parts of the *global* batch, whatever the number of ranks: a rank holds whole groups. Running
//! statistics move by the mean over the groups, so their mean over ranks is what one rank with the whole batch gets.
//! Synchronised, the global batch is one group: ranks exchange means and variances, with gradient.

use kindred_proto::recipe;
use tch::{Tensor, no_grad};

use super::{
    builder::{Builder, Role},
    pass::Pass,
};
use crate::collective::{Collective, Error};

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
    ///
    /// # Errors
    /// When statistics are synchronised and a peer is lost.
    pub fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        match (self.statistics, pass) {
            (recipe::BatchNorm::Groups { size }, Pass::Train(_)) => Ok(self.forward_groups(x, size.into())),
            (recipe::BatchNorm::Groups { size }, Pass::TrainPatches(_, n_patches)) => {
                Ok(self.forward_groups(x, n_patches * i64::from(size)))
            }
            (recipe::BatchNorm::Synchronized, Pass::Train(ranks) | Pass::TrainPatches(ranks, _)) => {
                self.forward_synchronized(x, ranks)
            }
            (recipe::BatchNorm::Frozen, _) | (_, Pass::Evaluate) => {
                Ok(self.normalize(x, &self.running_mean, &self.running_var, false))
            }
        }
    }

    /// One rank needs no exchange. Means of means are exact, since ranks hold equally many samples.
    fn forward_synchronized(&self, x: &Tensor, ranks: &Collective) -> Result<Tensor, Error> {
        if ranks.world_size() == 1 {
            return Ok(self.normalize(x, &self.running_mean, &self.running_var, true));
        }
        let over_ranks = |local_c: &Tensor| -> Result<Tensor, Error> {
            Ok(ranks.gather_with_grad(&local_c.unsqueeze(0))?.mean_dim([0_i64].as_slice(), false, None))
        };
        let positions: Vec<i64> = (0..x.dim() as i64).filter(|&dim| dim != 1).collect();
        let n_samples = ranks.world_size() as usize * x.numel() / x.size()[1] as usize;
        let mut per_channel = vec![1; x.dim()];
        per_channel[1] = -1;
        let exact = x.to_kind(self.running_mean.kind());
        let mean_c = over_ranks(&exact.mean_dim(positions.as_slice(), false, None))?;
        let centred = exact - mean_c.view(&per_channel[..]);
        let var_c = over_ranks(&centred.square().mean_dim(positions.as_slice(), false, None))?;
        self.move_running(&mean_c, &(&var_c * (n_samples as f64 / (n_samples as f64 - 1.0))));
        let mut y = centred * (var_c + EPSILON).rsqrt().view(&per_channel[..]);
        if let (Some(weight), Some(bias)) = (&self.weight, &self.bias) {
            y = y * weight.view(&per_channel[..]) + bias.view(&per_channel[..]);
        }
        Ok(y.to_kind(x.kind()))
    }

    fn move_running(&self, mean_c: &Tensor, var_c: &Tensor) {
        no_grad(|| {
            let _ = self.running_mean.shallow_clone().lerp_(&mean_c.detach(), MOMENTUM);
            let _ = self.running_var.shallow_clone().lerp_(&var_c.detach(), MOMENTUM);
        });
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
