//! SANE: labels that keys refine, and images that are mixed with keys' images.
//!
//! With q the online embedding of the query, k the target's of the key, columns c = keys of the global batch, then queue,
//! `i` the row's own column and y the one-hot label of it:
//! ```text
//! L_c(x, y) = -(1/N) Σ_i Σ_c y_ic log softmax_c(x_i·key_c / τ)
//! p_ic = softmax_c(k_i·key_c / (τ τ'))     q_ic = the same without column i
//! z_i  = 1 + μ max_c p_ic + μ max_c q_ic   α_i = μ max_c p_ic / z_i   β_i = μ max_c q_ic / z_i
//! ȳ_i  = (1 - α_i - β_i) y_i + α_i p_i + β_i q_i                                        refined label
//! x'_i = θ x_i + (1-θ) x̃_π(i)             y'_i = θ ȳ_i + (1-θ) ȳ_π(i)                  momentum mixup
//! L    = (1-λ) L_c(q, y) + λ mean over pairs of views of L_c(f(x'), y')
//! ```
//! μ moves from one value to another by half a cosine; π is a permutation within groups of the global batch and θ is beta
//! distributed: both depend on seed, step, pair of views and group (or image) alone.
//!
//! # Source
//! Zhou et al., Self-labelling refinement (NeurIPS 2021), eq. 4, 5, 8, 9 and algorithm 1; no code was released. Momentum
//! update after the optimiser's step, then the queue write, as there. In the printed σ the exponent has a minus, which
//! would push positives apart: read as a misprint. Choices where the paper is silent: both sides of σ(x̃, ·) are the
//! target's, since algorithm 1 evaluates nothing else (`online_anchor` makes the first f(x̃), as σ's letters have it); a
//! query's crop is mixed with a key's crop of the same size.
//!
//! Shape legend: B local batch, N global batch, D embedding, K queue, C columns: N + K.

use kindred_proto::{
    job_spec::JobSpec,
    recipe::methods::{self, MixupScope},
};
use tch::{Tensor, no_grad};

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{mean, mean_cosine, own_mask, soft_cross_entropy},
    momentum::cosine_between,
    momentum_pair::{Heads, MomentumPair, queue, queue_entries},
};
use crate::{
    collective::{Collective, Error, first_row, queue::Queue},
    nn::{Encoder, Entry, Setup, Stream},
};

/// The method with its networks. View 0 is the query, view 1 the key; then come pairs of views that are mixed.
pub struct Sane {
    recipe: methods::Sane,
    pair: MomentumPair,
    queue: Queue,
    seed: u64,
}

impl Sane {
    /// Builds both branches and the queue.
    pub fn new(recipe: &methods::Sane, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: None };
        let pair = MomentumPair::new(&heads, spec, images.n_channels, setup);
        let queue = queue(recipe.queue_size, &recipe.projector, setup);
        Self { recipe: recipe.clone(), pair, queue, seed: setup.seed }
    }

    /// μ at a step: of p, and of q.
    fn label_weights(&self, at: &At) -> [f64; 2] {
        let (start, end) = (self.recipe.label_weight_start, self.recipe.label_weight_end);
        let weight = cosine_between(start, end, at.step as f64 / at.total_steps.max(1) as f64);
        [self.recipe.estimate, self.recipe.masked_estimate].map(|is_on| if is_on { weight } else { 0.0 })
    }

    /// How the rows of this rank are mixed in a pair of views.
    fn mixing(&self, pair: usize, rows: &Rows, at: &At) -> Mixing {
        let size = i64::from(self.recipe.mixup_group_size);
        let (mut partners, mut shares) = (Vec::new(), Vec::new());
        for group in rows.first / size..(rows.first + rows.n) / size {
            let name = format!("mixup {} {pair} {group}", at.step);
            let mut stream = Stream::new(self.seed, &name);
            let offset = group * size - rows.first;
            partners.extend(stream.permutation(size as usize).into_iter().map(|row| offset + row));
            let mut share = || match self.recipe.mixup {
                true => stream.beta(self.recipe.mixup_concentration),
                false => 1.0,
            };
            match self.recipe.mixup_scope {
                MixupScope::Group => shares.extend(vec![share(); size as usize]),
                MixupScope::Image => shares.extend((0..size).map(|_| share())),
            }
        }
        Mixing { partner_b: Tensor::from_slice(&partners), share_b: Tensor::from_slice(&shares) }
    }
}

/// Rows of the global batch that a rank has.
struct Rows {
    first: i64,
    n: i64,
}

/// What rows are mixed with.
pub struct Mixing {
    /// π, `[B]`, i64.
    pub partner_b: Tensor,
    /// θ, `[B]`, or `[1]` for all rows.
    pub share_b: Tensor,
}

impl Mixing {
    /// `θ x + (1-θ) y` with the partners' rows of y: of images as of labels.
    ///
    /// # Shapes
    /// Both `[B, ...]`.
    pub fn mix(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let mut per_row = vec![1; x.dim()];
        per_row[0] = -1;
        let share = self.share_b.to_device(x.device()).to_kind(x.kind()).view(&per_row[..]);
        let partners = y.index_select(0, &self.partner_b.to_device(x.device()));
        x * &share + partners * (1.0 - share)
    }
}

/// How labels were refined.
pub struct Labels {
    /// p, `[B, C]`.
    pub estimate_bc: Tensor,
    /// q, `[B, C]`.
    pub masked_estimate_bc: Tensor,
    /// α, `[B, 1]`.
    pub estimate_share_b1: Tensor,
    /// β, `[B, 1]`.
    pub masked_share_b1: Tensor,
    /// ȳ, `[B, C]`.
    pub refined_bc: Tensor,
}

/// Refines the one-hot labels, given the anchors' cosines with the columns, the temperature `τ τ'`, and μ of p and of q. All
/// are constants.
pub fn refine(key_cosines_bc: &Tensor, is_own_bc: &Tensor, temperature: f64, weights: [f64; 2]) -> Labels {
    no_grad(|| {
        let logits_bc = key_cosines_bc / temperature;
        let estimate_bc = logits_bc.softmax(1, None);
        let masked_estimate_bc = logits_bc.masked_fill(is_own_bc, f64::NEG_INFINITY).softmax(1, None);
        let highest = |x_bc: &Tensor| x_bc.amax([1_i64].as_slice(), true);
        let (estimate, masked) =
            (highest(&estimate_bc) * weights[0], highest(&masked_estimate_bc) * weights[1]);
        let z_b1 = &estimate + &masked + 1.0;
        let (estimate_share_b1, masked_share_b1) = (estimate / &z_b1, masked / &z_b1);
        let refined_bc = is_own_bc.to_kind(logits_bc.kind()) / &z_b1
            + &estimate_bc * &estimate_share_b1
            + &masked_estimate_bc * &masked_share_b1;
        Labels { estimate_bc, masked_estimate_bc, estimate_share_b1, masked_share_b1, refined_bc }
    })
}

/// L_c, given embeddings of unit length and the columns.
pub fn contrast(x_bd: &Tensor, columns_cd: &Tensor, label_bc: &Tensor, temperature: f64) -> Tensor {
    soft_cross_entropy(label_bc, &(cosines(x_bd, columns_cd) / temperature))
}

/// Of rows with columns, `[B, C]`.
pub fn cosines(rows_bd: &Tensor, columns_cd: &Tensor) -> Tensor {
    rows_bd.matmul(&columns_cd.transpose(0, 1))
}

/// `(1-λ) contrast + λ mixup`.
pub fn total(contrast: &Tensor, mixup: &Tensor, mixup_share: f64) -> Tensor {
    contrast * (1.0 - mixup_share) + mixup * mixup_share
}

impl Method for Sane {
    fn entries(&self) -> Vec<Entry> {
        self.pair.entries().into_iter().chain(queue_entries(&self.queue)).collect()
    }

    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let n = input.views[0].size()[0];
        let rows = Rows { first: first_row(ranks, n), n };
        let mut queries = vec![self.pair.queries(&input.views[0], ranks)?];
        for (pair, views) in input.views[2..].chunks_exact(2).enumerate() {
            let mixed_bchw = self.mixing(pair, &rows, at).mix(&views[0], &views[1]);
            queries.push(self.pair.queries(&mixed_bchw, ranks)?);
        }
        let mut keys = vec![self.pair.shuffled_keys(&input.views[1], at, ranks)?];
        if self.recipe.online_anchor {
            keys.push(no_grad(|| self.pair.queries(&input.views[1], ranks))?);
        }
        Ok(Embeddings { queries, keys })
    }

    fn loss(&self, local: &Embeddings, gathered: &Gathered, at: &At) -> Loss {
        let (recipe, k_bd) = (&self.recipe, &local.keys[0]);
        let columns_cd = Tensor::cat(&[&gathered.keys[0], self.queue.keys()], 0);
        let anchor_bd = local.keys.get(1).unwrap_or(k_bd);
        let key_cosines_bc = cosines(anchor_bd, &columns_cd);
        let rows = Rows { first: gathered.first_row, n: k_bd.size()[0] };
        let is_own_bc = own_mask((rows.n, columns_cd.size()[0]), rows.first, k_bd.device());
        let label_temperature = recipe.temperature * recipe.label_temperature;
        let labels = refine(&key_cosines_bc, &is_own_bc, label_temperature, self.label_weights(at));
        let one_hot_bc = is_own_bc.to_kind(key_cosines_bc.kind());
        let (vanilla_bd, mixed) = local.queries.split_first().expect("embed gives the query first");
        let instance = contrast(vanilla_bd, &columns_cd, &one_hot_bc, recipe.temperature);
        let of_pair = |(pair, x_bd): (usize, &Tensor)| {
            let label_bc = self.mixing(pair, &rows, at).mix(&labels.refined_bc, &labels.refined_bc);
            contrast(x_bd, &columns_cd, &label_bc, recipe.temperature)
        };
        let mixup = mean(&mixed.iter().enumerate().map(of_pair).collect::<Vec<_>>());
        let metrics = vec![
            ("positive_cosine", mean_cosine(vanilla_bd, k_bd)),
            ("instance_loss", instance.shallow_clone()),
            ("mixup_loss", mixup.shallow_clone()),
        ];
        Loss { total: total(&instance, &mixup, recipe.mixup_share), metrics }
    }

    fn after_step(&mut self, gathered: &Gathered, _at: &At) {
        self.pair.momentum.update(self.recipe.momentum);
        self.queue.enqueue(&gathered.keys[0]);
    }

    fn encoder(&self) -> &Encoder {
        &self.pair.online.encoder
    }
}
