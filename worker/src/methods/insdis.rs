//! InsDis: an image finds its own row in a memory bank that holds one for each training image.
//!
//! With f the embedding of image i, M the bank, and columns k = own row, then K rows drawn with replacement from all n:
//! ```text
//! softmax:  L = -log( exp(f·M_i / τ) / Σ_k exp(f·M_k / τ) )
//! NCE:      P_k = exp(f·M_k / τ) / Z,   Z = n mean exp(f·M_k / τ) over all columns of the first batch, for ever
//!           L   = -log( P_i / (P_i + K/n + c) ) - Σ_k log( (K/n) / (P_k + K/n + c) ),   c = 1e-7
//! then      M_i ← unit(m M_i + (1 - m) f)
//! ```
//! Means over the batch.
//!
//! # Source
//! Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination (CVPR 2018), eq. 2 to 8; code
//! HobbitLong/PyContrast @ 84f94ea (softmax, bank), HobbitLong/CMC @ 7b227be (NCE). As there, a draw may be the own row.
//!
//! Shape legend: B local batch, N global batch, D embedding, n training images, C columns.

use kindred_proto::{
    job_spec::JobSpec,
    recipe::methods::{self, InsdisForm},
};
use tch::{Device, Kind, Tensor};

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{cross_entropy, positive_cosine},
    momentum_pair::{Heads, branch},
};
use crate::{
    collective::{Collective, Error, bank::Bank},
    nn::{Branch, Encoder, Entry, Pass, Role, Setup, Stream, unit_rows},
};

/// c: keeps logarithms finite.
const EPSILON: f64 = 1e-7;

/// The method with its network and its bank.
pub struct Insdis {
    recipe: methods::Insdis,
    online: Branch,
    bank: Bank,
    /// Z, `[1]`, f64, on the CPU so that looking at it waits for nothing; 0 before the first step.
    normalizer: Tensor,
    n_images: u64,
    seed: u64,
}

impl Insdis {
    /// Builds the branch and a bank of random rows.
    pub fn new(recipe: &methods::Insdis, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let heads = Heads { projector: &recipe.projector, predictor: None };
        let rows = unit_rows(setup, "bank", images.n_images as i64, recipe.projector.out_dim.into());
        Self {
            recipe: recipe.clone(),
            online: branch(&heads, spec, images.n_channels, setup),
            bank: Bank::new(rows, recipe.bank_momentum),
            normalizer: Tensor::zeros([1], (Kind::Double, Device::Cpu)),
            n_images: images.n_images,
            seed: setup.seed,
        }
    }

    /// Cosines of rows with their columns of the bank; the first row is number `first_row` of the step's batch.
    fn cosines(&self, rows_bd: &Tensor, samples_b: &Tensor, first_row: i64, at: &At) -> Tensor {
        let n_rows = samples_b.size()[0];
        let draw = |row: i64| {
            let mut stream = Stream::new(self.seed, &format!("negatives {} {row}", at.step));
            (0..self.recipe.n_negatives).map(move |_| stream.below(self.n_images))
        };
        let drawn: Vec<i64> = (first_row..first_row + n_rows).flat_map(draw).collect();
        let drawn_bk = Tensor::from_slice(&drawn).view([n_rows, -1]).to_device(samples_b.device());
        cosines(rows_bd, self.bank.rows(), &Tensor::cat(&[&samples_b.unsqueeze(1), &drawn_bk], 1))
    }

    /// Z; that of this batch, when it is the first.
    fn normalizer(&self, gathered: &Gathered, at: &At) -> f64 {
        let kept = self.normalizer.double_value(&[0]);
        if kept > 0.0 {
            return kept;
        }
        let cosines_nc = self.cosines(&gathered.keys[0], &gathered.samples_n, 0, at);
        normalizer(&cosines_nc, self.recipe.temperature, self.n_images)
    }
}

/// Cosines of rows with the rows of the bank that `columns_bc` names.
pub fn cosines(rows_bd: &Tensor, bank_nd: &Tensor, columns_bc: &Tensor) -> Tensor {
    rows_bd.matmul(&bank_nd.transpose(0, 1)).gather(1, columns_bc, false)
}

/// The softmax form; column 0 is the own row.
pub fn softmax_loss(cosines_bc: &Tensor, temperature: f64) -> Tensor {
    let labels_b = Tensor::zeros([cosines_bc.size()[0]], (Kind::Int64, cosines_bc.device()));
    cross_entropy(&(cosines_bc / temperature), &labels_b)
}

/// The NCE form, for a bank of `n_images` rows and with Z; column 0 is the own row.
pub fn nce_loss(cosines_bc: &Tensor, temperature: f64, n_images: u64, normalizer: f64) -> Tensor {
    let n_negatives = cosines_bc.size()[1] - 1;
    let noise = n_negatives as f64 / n_images as f64;
    let p_bc = (cosines_bc / temperature).exp() / normalizer;
    let (own_b1, drawn_bk) = (p_bc.narrow(1, 0, 1), p_bc.narrow(1, 1, n_negatives));
    let is_data_b1 = (&own_b1 / (&own_b1 + (noise + EPSILON))).log();
    let is_noise_bk = (noise / (drawn_bk + (noise + EPSILON))).log();
    -Tensor::cat(&[is_data_b1, is_noise_bk], 1).sum_dim_intlist([1_i64].as_slice(), false, None).mean(None)
}

/// Z, given all columns of the first batch.
pub fn normalizer(cosines_nc: &Tensor, temperature: f64, n_images: u64) -> f64 {
    (cosines_nc.detach() / temperature).exp().mean(None).double_value(&[]) * n_images as f64
}

impl Method for Insdis {
    fn entries(&self) -> Vec<Entry> {
        let memory = |name: &str, tensor: &Tensor| Entry {
            name: name.to_owned(),
            tensor: tensor.shallow_clone(),
            role: Role::Memory,
        };
        let memories = [memory("bank.rows", self.bank.rows()), memory("bank.normalizer", &self.normalizer)];
        self.online.named("online").chain(memories).collect()
    }

    fn embed(&mut self, input: &Input, _at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let query_bd = self.online.embed(&input.views[0], Pass::Train(ranks))?;
        let keys = vec![query_bd.detach()];
        Ok(Embeddings { queries: vec![query_bd], keys })
    }

    fn loss(&self, local: &Embeddings, gathered: &Gathered, at: &At) -> Loss {
        let rows_bd = &local.queries[0];
        let samples_b = gathered.samples_n.narrow(0, gathered.first_row, rows_bd.size()[0]);
        let cosines_bc = self.cosines(rows_bd, &samples_b, gathered.first_row, at);
        let temperature = self.recipe.temperature;
        let total = match self.recipe.form {
            InsdisForm::Softmax => softmax_loss(&cosines_bc, temperature),
            InsdisForm::Nce => {
                nce_loss(&cosines_bc, temperature, self.n_images, self.normalizer(gathered, at))
            }
        };
        Loss { total, metrics: vec![("positive_cosine", positive_cosine(&cosines_bc))] }
    }

    fn after_step(&mut self, gathered: &Gathered, at: &At) {
        if self.recipe.form == InsdisForm::Nce {
            let _ = self.normalizer.fill_(self.normalizer(gathered, at));
        }
        self.bank.update(&gathered.samples_n, &gathered.keys[0]);
    }

    fn encoder(&self) -> &Encoder {
        &self.online.encoder
    }
}
