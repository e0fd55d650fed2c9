//! Prototypes: clusters of the features of all training images, found anew before each epoch.
//!
//! # Source
//! Li et al., Prototypical Contrastive Learning (ICLR 2021), algorithm 1 and eq. 12; code salesforce/PCL @ 964da1f. As
//! there, k-means is not spherical, concentrations are those around centroids that are not normalised, and centroids are
//! normalised after that. The code clusters on one rank; here all share the features.
//!
//! Shape legend: n training images, D embedding, K prototypes of one granularity.

use kindred_proto::recipe::methods::Clustering;
use tch::{Device, Kind, Tensor, no_grad};

use super::{At, Images};
use crate::{
    collective::{Collective, Error, Share, kmeans::KMeans},
    nn::{Entry, Role, Setup, normalize},
};

/// Added to the size of a cluster in its concentration: small clusters look wider.
const SMOOTHING: f64 = 10.0;

/// The prototypes of one granularity.
pub struct Level {
    /// Unit rows, `[K, D]`.
    pub centroids_kd: Tensor,
    /// φ: how wide each cluster is, `[K]`; the temperature of its column.
    pub density_k: Tensor,
    /// The cluster of each training image, `[n]`, i64, on the CPU.
    pub cluster_n: Tensor,
}

impl Level {
    /// The clusters of some images.
    pub fn clusters(&self, samples_b: &Tensor) -> Vec<i64> {
        let clusters_b = self.cluster_n.index_select(0, &samples_b.to_device(Device::Cpu));
        Vec::try_from(clusters_b).expect("a flat i64 tensor")
    }

    /// Cosines of rows with all prototypes, over their concentrations: `[B, D]` to `[B, K]`.
    pub fn logits(&self, q_bd: &Tensor) -> Tensor {
        q_bd.matmul(&self.centroids_kd.transpose(0, 1)) / &self.density_k
    }

    /// The prototypes of these numbers, with no image.
    pub fn select(&self, columns: &[i64]) -> Self {
        let columns_c = Tensor::from_slice(columns).to_device(self.centroids_kd.device());
        Self {
            centroids_kd: self.centroids_kd.index_select(0, &columns_c),
            density_k: self.density_k.index_select(0, &columns_c),
            cluster_n: Tensor::zeros([0], (Kind::Int64, Device::Cpu)),
        }
    }
}

/// The prototypes of all granularities.
pub struct Prototypes {
    recipe: Clustering,
    /// Mean of each granularity's concentrations.
    temperature: f64,
    seed: u64,
    levels: Vec<Level>,
}

impl Prototypes {
    /// Without a meaning until they are found.
    pub(super) fn new(
        recipe: &Clustering,
        (temperature, dim): (f64, u32),
        images: &Images,
        setup: &Setup,
    ) -> Self {
        let options = (setup.kind, setup.device);
        let level = |&n_prototypes: &u32| Level {
            centroids_kd: Tensor::zeros([n_prototypes.into(), dim.into()], options),
            density_k: Tensor::full([i64::from(n_prototypes)], temperature, options),
            cluster_n: Tensor::zeros([images.n_images as i64], (Kind::Int64, Device::Cpu)),
        };
        let levels = recipe.n_prototypes.iter().map(level).collect();
        Self { recipe: recipe.clone(), temperature, seed: setup.seed, levels }
    }

    /// Whether they are to be found anew before this step.
    pub fn is_due(&self, at: &At) -> bool {
        at.step.is_multiple_of(at.steps_per_epoch) && !self.in_use(at).is_empty()
    }

    /// The granularities that a step uses: none in the warm-up.
    pub(super) fn in_use(&self, at: &At) -> &[Level] {
        if at.step >= u64::from(self.recipe.warmup_epochs) * at.steps_per_epoch { &self.levels } else { &[] }
    }

    /// Clusters the features of all training images, `[n, D]`, the same on every rank.
    ///
    /// # Errors
    /// When a peer is lost.
    pub fn find(&mut self, features_nd: &Tensor, ranks: &Collective) -> Result<(), Error> {
        let share = Share::of(features_nd, ranks);
        let levels = self.levels.iter_mut().zip(&self.recipe.n_prototypes);
        for (seed, (level, &n_clusters)) in (self.seed..).zip(levels) {
            let Clustering { n_iterations, n_starts, .. } = self.recipe;
            let found = KMeans { n_clusters, n_iterations, n_starts, seed }.cluster(&share.rows_bd, ranks)?;
            let density_k = found.concentration(&share.rows_bd, SMOOTHING, self.temperature, ranks)?;
            let cluster_n = share.gather(&found.cluster_b, ranks)?;
            no_grad(|| {
                level.centroids_kd.copy_(&normalize(&found.centroids_cf));
                level.density_k.copy_(&density_k);
                level.cluster_n.copy_(&cluster_n);
            });
        }
        Ok(())
    }

    /// What a checkpoint carries.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.levels.iter().enumerate().flat_map(|(idx, level)| {
            let parts = [
                ("centroids", &level.centroids_kd),
                ("density", &level.density_k),
                ("cluster", &level.cluster_n),
            ];
            parts.map(|(part, tensor)| Entry {
                name: format!("prototypes.{idx}.{part}"),
                tensor: tensor.shallow_clone(),
                role: Role::Memory,
            })
        })
    }
}
