//! Learned views: a flow makes two views of an image that tell little of one another, then two encoders learn from them.
//!
//! With X̂ = g(X) the flow's image, v_1 its first channels and v_2 the others, z_i = f_i(v_i) of unit length, c_i linear
//! classifiers of f_i's features, and N the global batch:
//! ```text
//! L_NCE = ½ (1/B) Σ_i [ -log softmax_j(z_1,i·z_2,j / τ)_i - log softmax_j(z_2,i·z_1,j / τ)_i ]
//! I_NCE = log N - L_NCE
//! game:   f minimises L_NCE;  g and c minimise I_NCE + mean over labelled images of CE(c_1, y) + CE(c_2, y)
//! after:  f minimises L_NCE;  g stands still
//! ```
//! The two players have a scalar each, of two forward passes: in that of f the views are constants, in that of g and c
//! f's weights are. Each scalar so depends on its own player alone, and their sum is what is reduced; of the flow's I_NCE the
//! gradient alone is added, since its value would leave a constant.
//!
//! # Source
//! Tian et al., What Makes for Good Views for Contrastive Learning (NeurIPS 2020), eq. 4 (unsupervised) and 5
//! (semi-supervised). Their code was not released; networks, training, the classifiers' input, one step of both players
//! at a time, and that the encoders go on from the game, are ours.
//!
//! Shape legend: B local batch, N global batch, D embedding, F features, n training images, C classes.

use kindred_proto::{job_spec::JobSpec, recipe::methods};
use tch::{Device, Kind, Reduction, Tensor};

use super::{
    At, Embeddings, Gathered, Images, Input, Loss, Method,
    contrast::{cross_entropy, own_columns, row_cosines},
};
use crate::{
    collective::{Collective, Error},
    nn::{Encoder, Entry, Flow, FlowShape, Head, Pass, Role, Setup, Split, Stream, normalize},
};

/// The label of an image that the flow may not see the label of.
const UNLABELLED: i64 = -1;

/// The method with its networks.
pub struct LearnedViews {
    recipe: methods::LearnedViews,
    encoder: Encoder,
    projectors: [Head; 2],
    /// None in the unsupervised game.
    classifiers: Option<[Head; 2]>,
    /// `[n]`, i64, on the CPU; what the flow may not see is [`UNLABELLED`].
    labels_n: Tensor,
}

impl LearnedViews {
    /// Builds the flow, which begins as the identity, both encoders, their projectors and classifiers.
    pub fn new(recipe: &methods::LearnedViews, spec: &JobSpec, images: &Images, setup: &Setup) -> Self {
        let shape = FlowShape {
            preserves_volume: recipe.preserves_volume,
            n_couplings: recipe.n_couplings,
            hidden_dim: recipe.hidden_dim,
        };
        let flow = Flow::new(shape, images.n_channels, setup);
        let encoder = Encoder::new(&spec.recipe.encoder, images.n_channels, setup).behind(flow);
        let inputs = encoder.feature_dim() / 2;
        let heads = |name, recipe| setup.for_halves().map(|setup| Head::named(name, recipe, inputs, &setup));
        let classifier = methods::Projector {
            hidden_dims: Vec::new(),
            out_dim: images.n_classes,
            batch_norm: false,
            last_batch_norm: false,
            identity: false,
        };
        Self {
            projectors: heads("projector", &recipe.projector),
            classifiers: (recipe.labelled_share > 0.0).then(|| heads("classifier", &classifier)),
            encoder,
            labels_n: seen_labels(images, recipe.labelled_share, setup.seed),
            recipe: recipe.clone(),
        }
    }

    fn split(&self) -> &Split {
        self.encoder.split().expect("the recipe is checked: its encoder is split")
    }

    fn is_game(&self, at: &At) -> bool {
        at.step < u64::from(self.recipe.game_epochs) * at.steps_per_epoch
    }

    /// Unit embeddings of both views, and the features that they are made from.
    fn encode(&self, views: &[Tensor; 2], ranks: &Collective) -> Result<[Vec<Tensor>; 2], Error> {
        let (pass, mut rows, mut features) = (Pass::Train(ranks), Vec::new(), Vec::new());
        for ((half, projector), view_bchw) in self.split().halves().iter().zip(&self.projectors).zip(views) {
            let features_bf = half.features(view_bchw, pass)?;
            rows.push(normalize(&projector.forward(&features_bf, pass)?));
            features.push(features_bf);
        }
        Ok([rows, features])
    }

    /// What the flow plays with: the same forward pass in which the encoders' weights are constants. Both embeddings,
    /// then both classifiers' scores if there are labels.
    fn encode_for_flow(&self, views: &[Tensor; 2], ranks: &Collective) -> Result<Vec<Tensor>, Error> {
        let weights = self.encoder_weights();
        let set_trained = |is: bool| weights.iter().for_each(|weight| drop(weight.set_requires_grad(is)));
        set_trained(false);
        let encoded = self.encode(views, ranks);
        set_trained(true);
        let [mut found, features] = encoded?;
        for (classifier, features_bf) in self.classifiers.iter().flatten().zip(&features) {
            found.push(classifier.forward(features_bf, Pass::Train(ranks))?);
        }
        Ok(found)
    }

    /// What L_NCE trains.
    fn encoder_weights(&self) -> Vec<Tensor> {
        let halves = self.split().halves().iter().flat_map(|half| half.entries());
        let entries = halves.chain(self.projectors.iter().flat_map(Head::entries));
        let is_trained = |entry: &&Entry| entry.role == Role::Parameter;
        entries.filter(is_trained).map(|entry| entry.tensor.shallow_clone()).collect()
    }

    /// The sum of both classifiers' cross-entropies, each the mean over the labelled images of all ranks; its own mean over ranks
    /// is that.
    fn classification(&self, scores_bc: &[Tensor], gathered: &Gathered) -> Tensor {
        let device = scores_bc[0].device();
        let labels_n = self.labels_n.index_select(0, &gathered.samples_n.to_device(Device::Cpu));
        let (n_own, n_all) = (scores_bc[0].size()[0], labels_n.size()[0]);
        let n_labelled = labels_n.ne(UNLABELLED).sum(Kind::Int64).int64_value(&[]).max(1);
        let labels_b = labels_n.narrow(0, gathered.first_row, n_own).to_device(device);
        let sum = |scores_bc: &Tensor| {
            let is_exact = scores_bc.kind() == Kind::Double;
            let scores_bc = scores_bc.to_kind(if is_exact { Kind::Double } else { Kind::Float });
            scores_bc.cross_entropy_loss(&labels_b, None::<&Tensor>, Reduction::Sum, UNLABELLED, 0.0)
        };
        let n_ranks = n_all as f64 / n_own as f64;
        (sum(&scores_bc[0]) + sum(&scores_bc[1])) * (n_ranks / n_labelled as f64)
    }
}

/// The labels that the flow may see: each image's with the given probability, a function of seed and image alone.
fn seen_labels(images: &Images, share: f64, seed: u64) -> Tensor {
    let label = |(image, &label): (usize, &u32)| {
        let is_seen = Stream::new(seed, &format!("label {image}")).unit() < share;
        if is_seen { i64::from(label) } else { UNLABELLED }
    };
    let mut labels: Vec<i64> = images.labels.unwrap_or_default().iter().enumerate().map(label).collect();
    labels.resize(images.n_images as usize, UNLABELLED);
    Tensor::from_slice(&labels)
}

/// L_NCE of both views' embeddings; the rows of this rank, `[B, D]`, begin at `first_row` of all, `[N, D]`.
pub fn nce(own: [&Tensor; 2], all: [&Tensor; 2], first_row: i64, temperature: f64) -> Tensor {
    let labels_b = own_columns(own[0], first_row);
    let direction = |own_bd: &Tensor, other_nd: &Tensor| {
        cross_entropy(&(own_bd.matmul(&other_nd.transpose(0, 1)) / temperature), &labels_b)
    };
    (direction(own[0], all[1]) + direction(own[1], all[0])) / 2.0
}

/// I_NCE, given L_NCE over so many candidates.
pub fn information(nce: &Tensor, n_candidates: i64) -> Tensor {
    (n_candidates as f64).ln() - nce
}

impl Method for LearnedViews {
    fn entries(&self) -> Vec<Entry> {
        let named = |name: String, entries: &[Entry]| -> Vec<Entry> {
            entries.iter().map(|entry| entry.prefixed(&name)).collect()
        };
        let mut entries = named("online.encoder".to_owned(), self.encoder.entries());
        for (head, halves) in
            [("projector", Some(&self.projectors)), ("classifier", self.classifiers.as_ref())]
        {
            for (half, head_of) in ["first", "second"].into_iter().zip(halves.into_iter().flatten()) {
                entries.extend(named(format!("online.{head}.{half}"), head_of.entries()));
            }
        }
        entries
    }

    /// The embeddings of the encoders' pass; while the game lasts, what the flow's pass gives as well.
    fn embed(&mut self, input: &Input, at: &At, ranks: &Collective) -> Result<Embeddings, Error> {
        let views = self.split().views(&input.views[0]);
        let constants = views.each_ref().map(Tensor::detach);
        let [mut queries, _] = self.encode(&constants, ranks)?;
        if self.is_game(at) {
            queries.extend(self.encode_for_flow(&views, ranks)?);
        }
        Ok(Embeddings { queries, keys: Vec::new() })
    }

    fn gathers_queries(&self) -> bool {
        true
    }

    fn loss(&self, local: &Embeddings, gathered: &Gathered, at: &At) -> Loss {
        let (own, all) = (&local.queries, &gathered.queries);
        let n_candidates = gathered.samples_n.size()[0];
        let nce = |first: usize| {
            let (own, all) = ([&own[first], &own[first + 1]], [&all[first], &all[first + 1]]);
            nce(own, all, gathered.first_row, self.recipe.temperature)
        };
        let encoders = nce(0);
        let mut metrics = vec![
            ("positive_cosine", row_cosines(&own[0], &own[1]).mean(None)),
            ("shared_information", information(&encoders, n_candidates)),
        ];
        if !self.is_game(at) {
            return Loss { total: encoders, metrics };
        }
        let flow = information(&nce(2), n_candidates);
        let players = encoders + (&flow - flow.detach());
        let total = match &own[4..] {
            scores @ [_, _] => {
                let classes = self.classification(scores, gathered);
                metrics.push(("loss_classes", classes.shallow_clone()));
                players + classes
            }
            _ => players,
        };
        Loss { total, metrics }
    }

    fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}
