//! Residual networks without their classifier.
//!
//! # Source
//! He et al., Deep Residual Learning (CVPR 2016), in torchvision's form: the stride of a bottleneck is in its 3x3
//! convolution, convolutions start with kaiming-normal (fan out) weights, BN with weight 1 and bias 0. The CIFAR stem
//! is that of the MoCo CIFAR-10 notebook (facebookresearch/moco @ f736491).

use kindred_proto::recipe::{self, Stem};
use tch::Tensor;

use super::{
    batch_norm::BatchNorm,
    builder::{Builder, Entry, Setup},
    layers::{Conv, ConvShape},
    pass::Pass,
};
use crate::collective::Error;

/// A ResNet-18, 34, 50, 101 or 152 of any width.
pub struct ResNet {
    stem: ConvNorm,
    has_pool: bool,
    blocks: Vec<Block>,
    feature_dim: i64,
    entries: Vec<Entry>,
}

impl ResNet {
    /// Builds the network for images of so many channels.
    pub fn new(recipe: &recipe::ResNet, n_channels: u32, setup: &Setup) -> Self {
        let mut builder = Builder::new(setup, "encoder");
        let width = i64::from(recipe.width);
        let (kernel, stride, has_pool) = match recipe.stem {
            Stem::Cifar => (3, 1, false),
            Stem::ImageNet => (7, 2, true),
        };
        let shape = ConvShape { inputs: i64::from(n_channels), outputs: width, kernel, stride };
        let stem = ConvNorm::new(&mut builder, "", 1, shape);
        let is_bottleneck = recipe.depth >= 50;
        let mut blocks = Vec::new();
        let mut inputs = width;
        for (stage, n_blocks) in blocks_per_stage(recipe.depth).into_iter().enumerate() {
            for block in 0..n_blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let plan = BlockPlan { inputs, width: width << stage, stride, is_bottleneck };
                blocks.push(Block::new(&mut builder, &format!("layer{}.{block}.", stage + 1), plan));
                inputs = plan.outputs();
            }
        }
        Self { stem, has_pool, blocks, feature_dim: inputs, entries: builder.finish() }
    }

    /// Features, averaged over positions.
    ///
    /// # Shapes
    /// `[B, C, H, W]` to `[B, F]`.
    ///
    /// # Errors
    /// When statistics are synchronised and a peer is lost.
    pub fn features(&self, images_bchw: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        let mut x = self.stem.forward(images_bchw, pass)?.relu_();
        if self.has_pool {
            x = x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        }
        for block in &self.blocks {
            x = block.forward(&x, pass)?;
        }
        Ok(x.mean_dim([2_i64, 3].as_slice(), false, None))
    }

    /// Width of the features.
    pub fn feature_dim(&self) -> i64 {
        self.feature_dim
    }

    /// All tensors, by torchvision's names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

fn blocks_per_stage(depth: u32) -> [usize; 4] {
    match depth {
        18 => [2, 2, 2, 2],
        34 | 50 => [3, 4, 6, 3],
        101 => [3, 4, 23, 3],
        152 => [3, 8, 36, 3],
        other => unreachable!("the recipe allows no ResNet-{other}"),
    }
}

#[derive(Clone, Copy)]
struct BlockPlan {
    inputs: i64,
    width: i64,
    stride: i64,
    is_bottleneck: bool,
}

impl BlockPlan {
    fn outputs(&self) -> i64 {
        if self.is_bottleneck { 4 * self.width } else { self.width }
    }

    /// The convolutions of the body, in order.
    fn body(&self) -> Vec<ConvShape> {
        let shape = |inputs, outputs, kernel, stride| ConvShape { inputs, outputs, kernel, stride };
        let Self { inputs, width, stride, is_bottleneck } = *self;
        if is_bottleneck {
            vec![
                shape(inputs, width, 1, 1),
                shape(width, width, 3, stride),
                shape(width, self.outputs(), 1, 1),
            ]
        } else {
            vec![shape(inputs, width, 3, stride), shape(width, width, 3, 1)]
        }
    }
}

/// Convolutions with a shortcut around them.
struct Block {
    body: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

impl Block {
    fn new(builder: &mut Builder, prefix: &str, plan: BlockPlan) -> Self {
        let body =
            (1..).zip(plan.body()).map(|(i, shape)| ConvNorm::new(builder, prefix, i, shape)).collect();
        let shape =
            ConvShape { inputs: plan.inputs, outputs: plan.outputs(), kernel: 1, stride: plan.stride };
        let shortcut = (plan.stride != 1 || plan.inputs != plan.outputs()).then(|| ConvNorm {
            conv: Conv::new(builder, &format!("{prefix}downsample.0"), shape),
            norm: BatchNorm::new(builder, &format!("{prefix}downsample.1"), shape.outputs, true),
        });
        Self { body, shortcut }
    }

    /// In-place operations touch outputs of batch normalisation only, whose gradient does not need them.
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        let mut y = self.body[0].forward(x, pass)?;
        for layer in &self.body[1..] {
            y = layer.forward(&y.relu_(), pass)?;
        }
        match &self.shortcut {
            Some(shortcut) => y += shortcut.forward(x, pass)?,
            None => y += x,
        }
        Ok(y.relu_())
    }
}

/// A convolution and the batch normalisation of its output.
struct ConvNorm {
    conv: Conv,
    norm: BatchNorm,
}

impl ConvNorm {
    fn new(builder: &mut Builder, prefix: &str, number: usize, shape: ConvShape) -> Self {
        Self {
            conv: Conv::new(builder, &format!("{prefix}conv{number}"), shape),
            norm: BatchNorm::new(builder, &format!("{prefix}bn{number}"), shape.outputs, true),
        }
    }

    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        self.norm.forward(&self.conv.forward(x), pass)
    }
}

#[cfg(test)]
mod tests {
    use kindred_proto::recipe::BatchNorm;
    use tch::{Device, Kind};

    use super::*;
    use crate::collective::Collective;

    fn setup(size: u32) -> Setup {
        let batch_norm = BatchNorm::Groups { size };
        let (device, kind) = (Device::Cpu, Kind::Float);
        Setup { seed: 1, device, kind, channels_last: true, batch_norm, has_gradient: true }
    }

    fn resnet(depth: u32, width: u32, stem: Stem) -> ResNet {
        let recipe = recipe::ResNet { depth, width, stem, split_channels: 0 };
        ResNet::new(&recipe, 3, &setup(2))
    }

    #[test]
    fn the_published_networks_have_their_parameter_counts() {
        // torchvision's without fc; narrower ones by the sum that gives torchvision's at width 64.
        for (depth, width, n_parameters, feature_dim) in [
            (18, 64, 11_176_512, 512),
            (34, 64, 21_284_672, 512),
            (50, 64, 23_508_032, 2048),
            (50, 32, 5_892_640, 1024),
            (101, 16, 2_677_776, 512),
            (152, 16, 3_664_144, 512),
        ] {
            let net = resnet(depth, width, Stem::ImageNet);
            let parameters = net.entries().iter().filter(|entry| entry.tensor.requires_grad());
            assert_eq!(parameters.map(|entry| entry.tensor.numel()).sum::<usize>(), n_parameters);
            assert_eq!(net.feature_dim(), feature_dim);
        }
    }

    #[test]
    fn every_stem_and_block_gives_one_row_per_image() {
        let images = Tensor::rand([2, 3, 32, 32], (Kind::Float, Device::Cpu));
        for (stem, depth) in [(Stem::Cifar, 18), (Stem::ImageNet, 50)] {
            let net = resnet(depth, 8, stem);
            let features = net.features(&images, Pass::Train(&Collective::single())).expect("one rank");
            assert_eq!(features.size(), [2, net.feature_dim()]);
        }
    }

    #[test]
    fn names_are_those_of_torchvision() {
        let net = resnet(18, 8, Stem::ImageNet);
        let names: Vec<&str> = net.entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names[..3], ["conv1.weight", "bn1.weight", "bn1.bias"]);
        for name in ["layer1.0.conv2.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.running_var"] {
            assert!(names.contains(&name), "{name}");
        }
        assert!(!names.iter().any(|name| name.contains("layer1.0.downsample")));
    }
}
