//! Projectors and predictors.
//!
//! A linear layer that batch normalisation follows has no bias: the normalisation would remove it.

use kindred_proto::recipe::methods::{Predictor, Projector};
use tch::Tensor;

use super::{
    batch_norm::BatchNorm,
    builder::{Builder, Entry, Setup},
    layers::Linear,
    pass::Pass,
};
use crate::collective::Error;

/// Linear layers with ReLU between them; without a layer, what it is given.
pub struct Head {
    layers: Vec<Layer>,
    entries: Vec<Entry>,
}

impl Head {
    /// From features to embeddings, on both branches.
    pub fn projector(recipe: &Projector, inputs: i64, setup: &Setup) -> Self {
        Self::named("projector", recipe, inputs, setup)
    }

    /// Layers as a projector's; heads of different names begin with different values.
    pub fn named(scope: &'static str, recipe: &Projector, inputs: i64, setup: &Setup) -> Self {
        if recipe.identity {
            return Self { layers: Vec::new(), entries: Vec::new() };
        }
        let hidden = Style { has_norm: recipe.batch_norm, has_affine: true, has_bias: !recipe.batch_norm };
        let has_norm = recipe.last_batch_norm;
        let last = Style { has_norm, has_affine: false, has_bias: !has_norm };
        let widths = recipe.hidden_dims.iter().chain([&recipe.out_dim]).copied().map(i64::from).collect();
        Self::new(scope, Plan { inputs, widths, hidden, last }, setup)
    }

    /// From embeddings to embeddings, on the online branch. The hidden layer has no bias.
    pub fn predictor(recipe: &Predictor, embedding_dim: i64, setup: &Setup) -> Self {
        let hidden = Style { has_norm: true, has_affine: true, has_bias: false };
        let last = Style { has_norm: false, has_affine: false, has_bias: recipe.last_bias };
        let widths = vec![i64::from(recipe.hidden_dim), embedding_dim];
        Self::new("predictor", Plan { inputs: embedding_dim, widths, hidden, last }, setup)
    }

    /// Maps `[B, inputs]` to `[B, outputs]`.
    ///
    /// # Errors
    /// When statistics are synchronised and a peer is lost.
    pub fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        let Some((first, rest)) = self.layers.split_first() else { return Ok(x.shallow_clone()) };
        rest.iter().try_fold(first.forward(x, pass)?, |mut y, layer| layer.forward(&y.relu_(), pass))
    }

    /// All tensors.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn new(scope: &'static str, plan: Plan, setup: &Setup) -> Self {
        let mut builder = Builder::new(setup, scope);
        let mut inputs = plan.inputs;
        let mut layers = Vec::new();
        for (layer, &width) in plan.widths.iter().enumerate() {
            let is_last = layer + 1 == plan.widths.len();
            let style = if is_last { plan.last } else { plan.hidden };
            layers.push(Layer::new(&mut builder, layer + 1, inputs, width, style));
            inputs = width;
        }
        Self { layers, entries: builder.finish() }
    }
}

struct Plan {
    inputs: i64,
    widths: Vec<i64>,
    hidden: Style,
    last: Style,
}

#[derive(Clone, Copy)]
struct Style {
    has_norm: bool,
    has_affine: bool,
    has_bias: bool,
}

struct Layer {
    linear: Linear,
    norm: Option<BatchNorm>,
}

impl Layer {
    fn new(builder: &mut Builder, number: usize, inputs: i64, outputs: i64, style: Style) -> Self {
        let linear = Linear::new(builder, &format!("linear{number}"), inputs, outputs, style.has_bias);
        let norm = style
            .has_norm
            .then(|| BatchNorm::new(builder, &format!("bn{number}"), outputs, style.has_affine));
        Self { linear, norm }
    }

    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        let y = self.linear.forward(x);
        match &self.norm {
            Some(norm) => norm.forward(&y, pass),
            None => Ok(y),
        }
    }
}
