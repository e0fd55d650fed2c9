//! Vision transformers without their classifier.
//!
//! The positions are fixed sines and cosines, a function of the grid of patches alone, so that one network takes views
//! of any size that its patches divide.
//!
//! # Source
//! Dosovitskiy et al., An Image is Worth 16x16 Words (ICLR 2021), in the form of Chen et al., An Empirical Study of
//! Training Self-Supervised Vision Transformers (ICCV 2021), code facebookresearch/moco-v3 @ c349e6e: fixed positions,
//! none for the class token, whose last state is the feature; initial values as there; the projection of patches may
//! stay as it began (§4.2). Names are timm's.
//!
//! Shape legend: B local batch, N tokens, D width, H heads.

use kindred_proto::recipe;
use tch::{Device, Kind, Tensor};

use super::{
    builder::{Builder, Entry, Role, Setup},
    layers::{LayerNorm, Linear},
};

/// Width of the hidden layer in a block, in widths of the network.
const MLP_RATIO: i64 = 4;

/// The longest wavelength of the positions is this times 2π patches.
const TEMPERATURE: f64 = 10_000.0;

/// A vision transformer of any width and depth.
pub struct Vit {
    projection: PatchProjection,
    class_token_11d: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    width: i64,
    entries: Vec<Entry>,
}

impl Vit {
    /// Builds the network for images of so many channels.
    pub fn new(recipe: &recipe::Vit, n_channels: u32, setup: &Setup) -> Self {
        let mut builder = Builder::new(setup, "encoder");
        let width = i64::from(recipe.width);
        let class_token_11d = builder.normal("cls_token".to_owned(), &[1, 1, width], 1e-6);
        let projection = PatchProjection::new(&mut builder, recipe, i64::from(n_channels));
        let blocks = (0..recipe.depth)
            .map(|block| Block::new(&mut builder, &format!("blocks.{block}"), width, i64::from(recipe.heads)))
            .collect();
        let norm = LayerNorm::new(&mut builder, "norm", width);
        Self { projection, class_token_11d, blocks, norm, width, entries: builder.finish() }
    }

    /// The class token's last state.
    ///
    /// # Shapes
    /// `[B, C, H, W]` to `[B, D]`; sides are multiples of the patch.
    pub fn features(&self, images_bchw: &Tensor) -> Tensor {
        let patches_bnd = self.projection.forward(images_bchw);
        let class_token_b1d = self.class_token_11d.expand([patches_bnd.size()[0], 1, self.width], true);
        let mut x_bnd = Tensor::cat(&[class_token_b1d, patches_bnd], 1);
        for block in &self.blocks {
            x_bnd = block.forward(&x_bnd);
        }
        self.norm.forward(&x_bnd.select(1, 0))
    }

    /// Width of the features.
    pub fn feature_dim(&self) -> i64 {
        self.width
    }

    /// All tensors, by timm's names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is added to the tokens of a square image, the class token's first: `[1, 1 + N, D]`.
    pub fn positions(&self, image_size: i64) -> Tensor {
        let side = image_size / self.projection.patch_size;
        let options = (self.class_token_11d.kind(), self.class_token_11d.device());
        let class_token_1d = Tensor::zeros([1, self.width], options);
        Tensor::cat(&[class_token_1d, positions(side, side, self.width, options)], 0).unsqueeze(0)
    }
}

/// Positions of a grid of patches, row by row: a quarter of the width each for sine and cosine of the row, then of the
/// column.
///
/// # Shapes
/// `[rows * columns, D]`.
fn positions(rows: i64, columns: i64, width: i64, options: (Kind, Device)) -> Tensor {
    let quarter = width / 4;
    let frequencies = (Tensor::arange(quarter, options) * (-TEMPERATURE.ln() / quarter as f64)).exp();
    let waves = |n: i64| {
        let angles = Tensor::arange(n, options).unsqueeze(1) * &frequencies;
        Tensor::cat(&[angles.sin(), angles.cos()], 1)
    };
    let by_row = waves(rows).unsqueeze(1).expand([rows, columns, 2 * quarter], false);
    let by_column = waves(columns).unsqueeze(0).expand([rows, columns, 2 * quarter], false);
    Tensor::cat(&[by_row, by_column], 2).view([rows * columns, width])
}

/// Cuts images into patches and maps each to a token.
struct PatchProjection {
    weight: Tensor,
    bias: Tensor,
    patch_size: i64,
}

impl PatchProjection {
    /// Uniform draws with the bound of a linear layer over a patch's values.
    fn new(builder: &mut Builder, recipe: &recipe::Vit, n_channels: i64) -> Self {
        let (width, patch_size) = (i64::from(recipe.width), i64::from(recipe.patch_size));
        let shape = [width, n_channels, patch_size, patch_size];
        let n_values = n_channels * patch_size * patch_size;
        let role = if recipe.frozen_patch_projection { Role::Frozen } else { Role::Parameter };
        let bound = (6.0 / (n_values + width) as f64).sqrt();
        let weight = builder.uniform_as("patch_embed.proj.weight".to_owned(), &shape, bound, role);
        let bias = builder.constant("patch_embed.proj.bias".to_owned(), width, 0.0, role);
        Self { weight, bias, patch_size }
    }

    /// Tokens with their positions, `[B, N, D]`, in the number format of the parameters.
    fn forward(&self, images_bchw: &Tensor) -> Tensor {
        let stride = [self.patch_size; 2];
        let grid_bdhw = images_bchw.conv2d(&self.weight, Some(&self.bias), stride, [0, 0], [1, 1], 1);
        let [_, width, rows, columns] = grid_bdhw.size()[..] else {
            unreachable!("an image has four dimensions")
        };
        let options = (self.bias.kind(), self.bias.device());
        grid_bdhw.flatten(2, 3).transpose(1, 2) + positions(rows, columns, width, options)
    }
}

/// Attention between tokens, then a small network on each; both beside a shortcut, behind a normalisation.
struct Block {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn new(builder: &mut Builder, name: &str, width: i64, n_heads: i64) -> Self {
        let hidden = MLP_RATIO * width;
        Self {
            norm1: LayerNorm::new(builder, &format!("{name}.norm1"), width),
            attention: Attention::new(builder, &format!("{name}.attn"), width, n_heads),
            norm2: LayerNorm::new(builder, &format!("{name}.norm2"), width),
            fc1: Linear::balanced(builder, &format!("{name}.mlp.fc1"), width, hidden),
            fc2: Linear::balanced(builder, &format!("{name}.mlp.fc2"), hidden, width),
        }
    }

    fn forward(&self, x_bnd: &Tensor) -> Tensor {
        let x_bnd = x_bnd + self.attention.forward(&self.norm1.forward(x_bnd));
        let hidden = self.fc1.forward(&self.norm2.forward(&x_bnd)).gelu("none");
        x_bnd + self.fc2.forward(&hidden)
    }
}

/// Softmax attention with several heads.
struct Attention {
    qkv: Linear,
    projection: Linear,
    n_heads: i64,
}

impl Attention {
    /// Query, key and value are drawn as the three layers that they are.
    fn new(builder: &mut Builder, name: &str, width: i64, n_heads: i64) -> Self {
        Self {
            qkv: Linear::stacked(builder, &format!("{name}.qkv"), width, 3),
            projection: Linear::balanced(builder, &format!("{name}.proj"), width, width),
            n_heads,
        }
    }

    fn forward(&self, x_bnd: &Tensor) -> Tensor {
        let [batch, n_tokens, width] = x_bnd.size()[..] else { unreachable!("tokens have three dimensions") };
        let by_head = [batch, n_tokens, 3, self.n_heads, width / self.n_heads];
        let qkv = self.qkv.forward(x_bnd).view(by_head).permute([2, 0, 3, 1, 4]);
        let (q, k, v) = (qkv.select(0, 0), qkv.select(0, 1), qkv.select(0, 2));
        let mixed =
            Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, false, None, false);
        self.projection.forward(&mixed.transpose(1, 2).reshape([batch, n_tokens, width]))
    }
}

#[cfg(test)]
mod tests {
    use kindred_proto::recipe::BatchNorm;

    use super::*;

    const TINY: recipe::Vit =
        recipe::Vit { width: 16, depth: 2, heads: 4, patch_size: 4, frozen_patch_projection: true };

    fn vit(recipe: &recipe::Vit, kind: Kind) -> Vit {
        let setup = Setup {
            seed: 1,
            device: Device::Cpu,
            kind,
            channels_last: true,
            batch_norm: BatchNorm::Frozen,
            has_gradient: true,
        };
        Vit::new(recipe, 3, &setup)
    }

    #[test]
    fn the_published_networks_have_their_parameter_counts() {
        // timm's vit_small_patch16_224 and vit_base_patch16_224 without classifier, less their 197 positions.
        for (width, n_parameters, n_frozen) in [(384, 21_590_016, 295_296), (768, 85_647_360, 590_592)] {
            let recipe =
                recipe::Vit { width, depth: 12, heads: 12, patch_size: 16, frozen_patch_projection: true };
            let net = vit(&recipe, Kind::Float);
            let count = |entries: &mut dyn Iterator<Item = &Entry>| -> usize {
                entries.map(|entry| entry.tensor.numel()).sum()
            };
            assert_eq!(count(&mut net.entries().iter()), n_parameters);
            assert_eq!(count(&mut net.entries().iter().filter(|entry| entry.role == Role::Frozen)), n_frozen);
            assert_eq!(net.positions(224).size(), [1, 197, i64::from(width)]);
        }
    }

    #[test]
    fn views_of_several_sizes_give_one_row_an_image() {
        let net = vit(&TINY, Kind::Float);
        for size in [8, 28, 32] {
            let images = Tensor::rand([2, 3, size, size], (Kind::Float, Device::Cpu));
            assert_eq!(net.features(&images).size(), [2, 16]);
        }
    }

    #[test]
    fn gradients_reach_everything_but_the_frozen_projection() {
        let net = vit(&TINY, Kind::Double);
        net.features(&Tensor::rand([2, 3, 8, 8], (Kind::Double, Device::Cpu)))
            .square()
            .sum(Kind::Double)
            .backward();
        for entry in net.entries() {
            let is_frozen = entry.name.starts_with("patch_embed.proj");
            assert_eq!(entry.tensor.grad().defined(), !is_frozen, "{}", entry.name);
            assert_eq!(entry.role == Role::Frozen, is_frozen, "{}", entry.name);
        }
    }

    #[test]
    fn positions_are_those_of_the_formula() {
        let grid = positions(2, 3, 8, (Kind::Double, Device::Cpu));
        for row in 0..2_u8 {
            for column in 0..3_u8 {
                let wave = |at: u8, i: i32| f64::from(at) / 10_000_f64.powf(f64::from(i) / 2.0);
                let want: [f64; 8] = [
                    wave(row, 0).sin(),
                    wave(row, 1).sin(),
                    wave(row, 0).cos(),
                    wave(row, 1).cos(),
                    wave(column, 0).sin(),
                    wave(column, 1).sin(),
                    wave(column, 0).cos(),
                    wave(column, 1).cos(),
                ];
                for (i, want) in want.into_iter().enumerate() {
                    let got = grid.double_value(&[i64::from(3 * row + column), i as i64]);
                    assert!(
                        (got - want).abs() < 1e-12,
                        "row {row}, column {column}, {i}: {got} is not {want}"
                    );
                }
            }
        }
    }

    type Rows = Vec<Vec<f64>>;

    fn rows(tensor: &Tensor) -> Rows {
        Vec::try_from(tensor.detach()).expect("two dimensions of doubles")
    }

    fn named(net: &Vit, name: &str) -> Tensor {
        let entry = net.entries().iter().find(|entry| entry.name == name);
        entry.unwrap_or_else(|| panic!("no {name}")).tensor.detach()
    }

    fn linear(net: &Vit, name: &str, x: &Rows) -> Rows {
        let weight = rows(&named(net, &format!("{name}.weight")));
        let bias = rows(&named(net, &format!("{name}.bias")).unsqueeze(0)).remove(0);
        let output = |x: &[f64], o: usize| bias[o] + weight[o].iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        x.iter().map(|x| (0..bias.len()).map(|o| output(x, o)).collect()).collect()
    }

    fn attention(net: &Vit, name: &str, x: &Rows, n_heads: usize) -> Rows {
        let (n, width) = (x.len(), x[0].len());
        let qkv = linear(net, &format!("{name}.qkv"), x);
        let dim = width / n_heads;
        let mut mixed = vec![vec![0.0; width]; n];
        for head in 0..n_heads {
            let part = |token: usize, which: usize, i: usize| qkv[token][which * width + head * dim + i];
            for (query, mixed) in mixed.iter_mut().enumerate() {
                let score = |key: usize| {
                    let dot: f64 = (0..dim).map(|i| part(query, 0, i) * part(key, 1, i)).sum();
                    (dot / (dim as f64).sqrt()).exp()
                };
                let total: f64 = (0..n).map(score).sum();
                for i in 0..dim {
                    mixed[head * dim + i] = (0..n).map(|key| score(key) / total * part(key, 2, i)).sum();
                }
            }
        }
        linear(net, &format!("{name}.proj"), &mixed)
    }

    #[test]
    fn attention_equals_its_loop() {
        let net = vit(&TINY, Kind::Double);
        let _ = named(&net, "blocks.1.attn.qkv.bias").uniform_(-1.0, 1.0);
        let x = Tensor::randn([1, 5, 16], (Kind::Double, Device::Cpu));
        let want = attention(&net, "blocks.1.attn", &rows(&x.select(0, 0)), 4);
        let got = rows(&net.blocks[1].attention.forward(&x).select(0, 0));
        for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
            assert!((got - want).abs() < 1e-12, "{got} is not {want}");
        }
    }
}
