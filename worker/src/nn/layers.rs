//! Convolution, linear layers and layer normalisation.

use tch::Tensor;

use super::builder::{Builder, Role};

/// A square convolution without bias.
pub(super) struct Conv {
    weight: Tensor,
    stride: i64,
    padding: i64,
}

/// Sizes of a convolution.
#[derive(Clone, Copy)]
pub(super) struct ConvShape {
    pub inputs: i64,
    pub outputs: i64,
    pub kernel: i64,
    pub stride: i64,
}

impl Conv {
    /// Normal draws with variance `2 / fan_out`, as torchvision's ResNet; padding keeps the size at stride 1.
    pub fn new(builder: &mut Builder, name: &str, shape: ConvShape) -> Self {
        let ConvShape { inputs, outputs, kernel, stride } = shape;
        let fan_out = (outputs * kernel * kernel) as f64;
        let weight = builder.normal(
            format!("{name}.weight"),
            &[outputs, inputs, kernel, kernel],
            (2.0 / fan_out).sqrt(),
        );
        Self { weight, stride, padding: kernel / 2 }
    }

    pub fn forward(&self, x_bchw: &Tensor) -> Tensor {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        x_bchw.conv2d(&self.weight, None::<&Tensor>, stride, padding, [1, 1], 1)
    }
}

/// A linear layer.
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Uniform draws in `±1 / sqrt(inputs)`, as PyTorch's.
    pub fn new(builder: &mut Builder, name: &str, inputs: i64, outputs: i64, has_bias: bool) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        let weight = builder.uniform(format!("{name}.weight"), &[outputs, inputs], bound);
        let bias = has_bias.then(|| builder.uniform(format!("{name}.bias"), &[outputs], bound));
        Self { weight, bias }
    }

    /// Uniform draws in `±sqrt(6 / (inputs + outputs))` (Glorot and Bengio), bias 0.
    pub fn balanced(builder: &mut Builder, name: &str, inputs: i64, outputs: i64) -> Self {
        Self::drawn_within(builder, name, [outputs, inputs], (6.0 / (inputs + outputs) as f64).sqrt())
    }

    /// So many square layers in one, each drawn as by [`Linear::balanced`].
    pub fn stacked(builder: &mut Builder, name: &str, width: i64, n_layers: i64) -> Self {
        Self::drawn_within(builder, name, [n_layers * width, width], (3.0 / width as f64).sqrt())
    }

    fn drawn_within(builder: &mut Builder, name: &str, shape: [i64; 2], bound: f64) -> Self {
        let weight = builder.uniform(format!("{name}.weight"), &shape, bound);
        let bias = builder.constant(format!("{name}.bias"), shape[0], 0.0, Role::Parameter);
        Self { weight, bias: Some(bias) }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// Normalises each row over its width.
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Added to the variance, as timm's and MoCo v3's transformers.
    const EPSILON: f64 = 1e-6;

    /// Starts with weight 1 and bias 0.
    pub fn new(builder: &mut Builder, name: &str, width: i64) -> Self {
        Self {
            weight: builder.constant(format!("{name}.weight"), width, 1.0, Role::Parameter),
            bias: builder.constant(format!("{name}.bias"), width, 0.0, Role::Parameter),
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), Self::EPSILON, true)
    }
}
