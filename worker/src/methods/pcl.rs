//! PCL: beside its key, a query finds the prototype of its image, at several granularities.
//!
//! With C the prototypes' unit rows, φ their concentrations, a(i) the prototype of image i, and M granularities:
//! ```text
//! ProtoNCE = -(1/B) Σ_i log( exp(q_i·C_a(i) / φ_a(i)) / Σ_c exp(q_i·C_c / φ_c) )
//! L        = InfoNCE(q, k, queue; τ) + (1/M) Σ_m ProtoNCE_m                      InfoNCE alone in the warm-up
//! ```
//! Columns c: the prototypes of all images of the step, one column an image, then negatives that none of them has; or
//! ([`PrototypeColumns::Image`]) the own prototype and others.
//!
//! # Source
//! Li et al., Prototypical Contrastive Learning (ICLR 2021), eq. 11; code salesforce/PCL @ 964da1f, where the columns are
//! those of one GPU's images rather than of the step's, and where a prototype that two images share is a negative of each
//! in the other's column. Order as in MoCo v2: momentum update, shuffled key forward, logits with the old queue, queue
//! write.
//!
//! Shape legend: B local batch, D embedding, K queue, C columns.

use kindred_proto::{
    job_spec::JobSpec,
    recipe::methods::{self, PrototypeColumns},
};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images,
    contrast::{cross_entropy, mean, own_columns},
    moco_v2,
    prototypes::Level,
    prototypical::{Metrics, Prototypical, Terms},
};
use crate::nn::{Setup, Stream};

/// The method: MoCo v2, and ProtoNCE.
pub type Pcl = Prototypical<ProtoNce>;

impl Pcl {
    /// Builds MoCo v2, and room for the prototypes.
    pub fn new(recipe: &methods::Pcl, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let terms = ProtoNce { recipe: recipe.clone(), seed: setup.seed };
        let moco = methods::MocoV2 {
            temperature: recipe.temperature,
            queue_size: recipe.queue_size,
            momentum: recipe.momentum,
            projector: recipe.projector.clone(),
        };
        Self::with(terms, &moco, &recipe.clustering, spec, (images, setup))
    }
}

/// The mean of ProtoNCE over granularities.
pub struct ProtoNce {
    recipe: methods::Pcl,
    seed: u64,
}

impl ProtoNce {
    fn of_level(&self, q_bd: &Tensor, level: &Level, gathered: &Gathered, draws: &str) -> Tensor {
        let clusters_n = level.clusters(&gathered.samples_n);
        let (first_row, n_rows) = (gathered.first_row, q_bd.size()[0]);
        let draw = |own: &[i64], name: &str| {
            let mut stream = Stream::new(self.seed, name);
            negatives(own, level.density_k.size()[0], self.recipe.n_negative_prototypes, &mut stream)
        };
        match self.recipe.prototype_columns {
            PrototypeColumns::Batch => {
                let columns = [&clusters_n[..], &draw(&clusters_n, draws)].concat();
                batch_loss(&batch_logits(q_bd, level, &columns), first_row)
            }
            PrototypeColumns::Image => {
                let rows = first_row..first_row + n_rows;
                let columns = rows.flat_map(|row| {
                    let own = &clusters_n[row as usize..][..1];
                    [own, &draw(own, &format!("{draws} {row}"))].concat()
                });
                let columns_bc = Tensor::from_slice(&columns.collect::<Vec<_>>()).view([n_rows, -1]);
                moco_v2::loss(&image_logits(q_bd, level, &columns_bc.to_device(q_bd.device())))
            }
        }
    }
}

/// Logits with the prototypes that `columns` names.
pub fn batch_logits(q_bd: &Tensor, level: &Level, columns: &[i64]) -> Tensor {
    level.select(columns).logits(q_bd)
}

/// ProtoNCE, given [`batch_logits`]: the column of the first row is `first_row`.
pub fn batch_loss(logits_bc: &Tensor, first_row: i64) -> Tensor {
    cross_entropy(logits_bc, &own_columns(logits_bc, first_row))
}

/// Logits of each row with the prototypes that its row of `columns_bc` names, the own one first.
pub fn image_logits(q_bd: &Tensor, level: &Level, columns_bc: &Tensor) -> Tensor {
    level.logits(q_bd).gather(1, columns_bc, false)
}

/// So many different prototypes that are not among `own`, or all of them if there are fewer.
fn negatives(own: &[i64], n_prototypes: i64, n_wanted: u32, stream: &mut Stream) -> Vec<i64> {
    let mut is_free = vec![true; n_prototypes as usize];
    own.iter().for_each(|&prototype| is_free[prototype as usize] = false);
    let mut free: Vec<i64> = (0..n_prototypes).filter(|&prototype| is_free[prototype as usize]).collect();
    let n_drawn = free.len().min(n_wanted as usize);
    for place in 0..n_drawn {
        let n_left = free.len() - place;
        free.swap(place, place + stream.below(n_left as u64) as usize);
    }
    free.truncate(n_drawn);
    free
}

impl Terms for ProtoNce {
    const GATHERS_QUERIES: bool = false;

    fn of(&self, local: &Embeddings, gathered: &Gathered, at: &At, levels: &[Level]) -> (Tensor, Metrics) {
        let of_level = |(idx, level): (usize, &Level)| {
            self.of_level(&local.queries[0], level, gathered, &format!("prototypes {} {idx}", at.step))
        };
        let mean = mean(&levels.iter().enumerate().map(of_level).collect::<Vec<_>>());
        (mean.shallow_clone(), vec![("loss_prototypes", mean)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_are_different_free_and_as_many_as_there_are() {
        let mut stream = Stream::new(1, "test");
        let mut drawn = negatives(&[3, 5, 3], 10, 4, &mut stream);
        assert_eq!(drawn.len(), 4);
        drawn.sort_unstable();
        drawn.dedup();
        assert!(drawn.len() == 4 && !drawn.contains(&3) && !drawn.contains(&5), "{drawn:?}");
        let mut all = negatives(&[3, 5, 3], 10, 40, &mut stream);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 4, 6, 7, 8, 9]);
    }
}
