//! PAUC-R (reconstruction): images are drawn to their prototypes, prototypes are spread and decorrelated.
//!
//! This project's reading of an abstract; *not* the formula of the paper, whose text was not to be had, and whose claims
//! do not hold for it. With a(i) the prototype of image i, c the prototypes' unit rows, and over the U prototypes of which
//! the global batch has images: u the unit mean of their queries, w of their keys,
//! ```text
//! align       = (1/B) Σ_i ‖q_i - c_a(i)‖²
//! uniformity  = log mean_{s<t} exp(-t ‖u_s - u_t‖²)                                        0 for U < 2
//! correlation = (1/D) ( Σ_a (1 - R_aa)² + η Σ_{a≠b} R_ab² ),  R = std(u)ᵀ std(w) / U       0 for U < 2
//! prototype   = -(1/B) Σ_i log softmax_c(q_i·c / φ_c)_a(i)
//! L           = InfoNCE(q, k, queue; τ) + mean over granularities of the weighted terms
//! ```
//! std: each dimension with mean 0 and variance 1 over the prototypes (biased, 1e-5 added). In the warm-up InfoNCE alone.
//!
//! # Source
//! (ours), after the abstract of Mo, Sun and Li, Rethinking Prototypical Contrastive Learning through Alignment,
//! Uniformity and Correlation (BMVC 2022, arXiv 2210.10194). Alignment and uniformity: Wang and Isola (ICML 2020), eq. 1
//! and 2. Correlation: Zbontar et al., Barlow Twins (ICML 2021), eq. 1 and 2, over D. The rest, order too, is
//! [`pcl`](super::pcl)'s.
//!
//! Shape legend: B local batch, N global batch, D embedding, U prototypes present.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::Tensor;

use super::{
    At, Embeddings, Gathered, Images,
    contrast::{cross_entropy, mean},
    prototypes::Level,
    prototypical::{self, Metrics, Prototypical},
};
use crate::nn::{Setup, normalize};

/// The method: MoCo v2, and the weighted terms.
pub type PaucR = Prototypical<WeightedTerms>;

impl PaucR {
    /// Builds MoCo v2, and room for the prototypes.
    pub fn new(recipe: &methods::PaucR, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let moco = methods::MocoV2 {
            temperature: recipe.temperature,
            queue_size: recipe.queue_size,
            momentum: recipe.momentum,
            projector: recipe.projector.clone(),
        };
        Self::with(WeightedTerms(recipe.clone()), &moco, &recipe.clustering, spec, (images, setup))
    }
}

/// The mean over granularities of [`weighted`] terms.
pub struct WeightedTerms(methods::PaucR);

/// `mean ‖x - y‖^α`, row by row.
pub fn align(x_bd: &Tensor, y_bd: &Tensor, alpha: f64) -> Tensor {
    let squared_b = (x_bd - y_bd).square().sum_dim_intlist([1_i64].as_slice(), false, None);
    squared_b.pow_tensor_scalar(alpha / 2.0).mean(None)
}

/// `log mean_{s<t} exp(-scale ‖u_s - u_t‖²)`; 0 for fewer than two rows.
pub fn uniformity(u_ud: &Tensor, scale: f64) -> Tensor {
    if u_ud.size()[0] < 2 {
        return zero(u_ud);
    }
    (u_ud.pdist(2.0).square() * -scale).exp().mean(None).log()
}

/// How far the correlations between the dimensions of `u` and `w` are from 1 in one dimension and from 0 between two;
/// 0 for fewer than two rows.
pub fn correlation(u_ud: &Tensor, w_ud: &Tensor, off_diagonal_weight: f64) -> Tensor {
    let (n_rows, dim) = (u_ud.size()[0], u_ud.size()[1]);
    if n_rows < 2 {
        return zero(u_ud);
    }
    let r_dd = standardize(u_ud).transpose(0, 1).matmul(&standardize(w_ud)) / n_rows as f64;
    let diagonal_d = r_dd.diagonal(0, 0, 1);
    let off_diagonal = r_dd.square().sum(None) - diagonal_d.square().sum(None);
    let diagonal = (&diagonal_d - 1.0).square().sum(None);
    (diagonal + off_diagonal * off_diagonal_weight) / dim as f64
}

fn standardize(x_ud: &Tensor) -> Tensor {
    let centred_ud = x_ud - x_ud.mean_dim([0_i64].as_slice(), true, None);
    let variance_1d = centred_ud.square().mean_dim([0_i64].as_slice(), true, None);
    centred_ud / (variance_1d + 1e-5).sqrt()
}

fn zero(like: &Tensor) -> Tensor {
    Tensor::zeros([], (like.kind(), like.device()))
}

/// The rows of a step: this rank's queries, all queries with gradient, all keys; this rank's begin at `first_row`.
pub struct Rows<'a> {
    /// `[B, D]`.
    pub own_bd: &'a Tensor,
    /// `[N, D]`.
    pub queries_nd: &'a Tensor,
    /// `[N, D]`.
    pub keys_nd: &'a Tensor,
    /// Where `own_bd` stands in the gathered ones.
    pub first_row: i64,
}

/// The terms of one granularity, not weighted.
pub struct Terms {
    /// Of images with their prototypes.
    pub align: Tensor,
    /// Of prototypes.
    pub uniformity: Tensor,
    /// Of prototypes by queries and by keys.
    pub correlation: Tensor,
    /// ProtoNCE over all prototypes; 0 where it has no weight.
    pub prototype: Tensor,
}

/// The terms of one granularity, given the cluster of each row of the global batch.
pub fn terms(rows: &Rows, level: &Level, clusters_n: &[i64], recipe: &methods::PaucR) -> Terms {
    let q_bd = rows.own_bd;
    let own_clusters = &clusters_n[rows.first_row as usize..][..q_bd.size()[0] as usize];
    let membership_un = membership(clusters_n, rows.queries_nd);
    let pooled = |x_nd: &Tensor| normalize(&membership_un.matmul(x_nd));
    let (u_ud, w_ud) = (pooled(rows.queries_nd), pooled(rows.keys_nd));
    let labels_b = Tensor::from_slice(own_clusters).to_device(q_bd.device());
    Terms {
        align: align(q_bd, &level.select(own_clusters).centroids_kd, 2.0),
        uniformity: uniformity(&u_ud, recipe.uniformity_scale),
        correlation: correlation(&u_ud, &w_ud, recipe.off_diagonal_weight),
        prototype: match recipe.prototype_weight > 0.0 {
            true => cross_entropy(&level.logits(q_bd), &labels_b),
            false => zero(q_bd),
        },
    }
}

/// The weighted sum of the terms.
pub fn weighted(terms: &Terms, recipe: &methods::PaucR) -> Tensor {
    &terms.align * recipe.align_weight
        + &terms.uniformity * recipe.uniformity_weight
        + &terms.correlation * recipe.correlation_weight
        + &terms.prototype * recipe.prototype_weight
}

/// Which rows belong to each cluster that has some: `[U, N]`, in the order of the clusters' numbers.
fn membership(clusters_n: &[i64], like: &Tensor) -> Tensor {
    let mut present = clusters_n.to_vec();
    present.sort_unstable();
    present.dedup();
    let column = |values: &[i64]| Tensor::from_slice(values).to_device(like.device());
    column(&present).unsqueeze(1).eq_tensor(&column(clusters_n).unsqueeze(0)).to_kind(like.kind())
}

impl prototypical::Terms for WeightedTerms {
    const GATHERS_QUERIES: bool = true;

    fn of(&self, local: &Embeddings, gathered: &Gathered, _at: &At, levels: &[Level]) -> (Tensor, Metrics) {
        let rows = Rows {
            own_bd: &local.queries[0],
            queries_nd: &gathered.queries[0],
            keys_nd: &gathered.keys[0],
            first_row: gathered.first_row,
        };
        let of_level = |level: &Level| terms(&rows, level, &level.clusters(&gathered.samples_n), &self.0);
        let terms: Vec<Terms> = levels.iter().map(of_level).collect();
        let mean_of = |part: &dyn Fn(&Terms) -> Tensor| mean(&terms.iter().map(part).collect::<Vec<_>>());
        let metrics = vec![
            ("loss_align", mean_of(&|terms| terms.align.shallow_clone())),
            ("loss_uniformity", mean_of(&|terms| terms.uniformity.shallow_clone())),
            ("loss_correlation", mean_of(&|terms| terms.correlation.shallow_clone())),
        ];
        (mean_of(&|terms| weighted(terms, &self.0)), metrics)
    }
}
