//! Convolution and linear layers.

use tch::Tensor;

use super::builder::Builder;

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

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}
