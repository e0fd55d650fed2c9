//! An invertible map of each pixel: couplings that move some of its channels by what the others are.
//!
//! With a the first channel and b the others, or the other way round, in turn:
//! ```text
//! b ← b exp(s(a)) + t(a),   s the tanh of a net (0 where volume is preserved),   log|det| = Σ s
//! ```
//! The nets are two 1x1 convolutions with ReLU between them; their last layers begin at zero, so the map begins as the
//! identity.
//!
//! # Source
//! Dinh et al., NICE (ICLR 2015 workshop) and Real NVP (ICLR 2017), as which Tian et al., What Makes for Good Views
//! (NeurIPS 2020), generate views. Depth, widths and order are ours: their code was not released.
//!
//! Shape legend: B images, C channels, H and W sides.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::builder::{Builder, Entry, Setup};

/// How a flow is built, as `config.json` of an exported encoder says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowShape {
    /// Couplings add (NICE); else they scale and add (Real NVP).
    pub preserves_volume: bool,
    /// Couplings in turn.
    pub n_couplings: u32,
    /// Width of their nets' hidden layer.
    pub hidden_dim: u32,
}

/// Couplings in turn.
pub struct Flow {
    shape: FlowShape,
    couplings: Vec<Coupling>,
    entries: Vec<Entry>,
}

impl Flow {
    /// Builds the identity, for images of so many channels, two at least.
    pub fn new(shape: FlowShape, n_channels: u32, setup: &Setup) -> Self {
        let mut builder = Builder::new(setup, "flow");
        let coupling = |idx: u32| {
            let is_first_given = idx.is_multiple_of(2);
            let (given, moved) = if is_first_given { (1, n_channels - 1) } else { (n_channels - 1, 1) };
            let mut net = |part: &str| {
                let widths = (given.into(), shape.hidden_dim.into(), moved.into());
                PixelNet::new(&mut builder, &format!("coupling{idx}.{part}"), widths)
            };
            let shift = net("shift");
            let scale = (!shape.preserves_volume).then(|| net("scale"));
            Coupling { is_first_given, shift, scale }
        };
        let couplings = (0..shape.n_couplings).map(coupling).collect();
        Self { shape, couplings, entries: builder.finish() }
    }

    /// How it is built.
    pub fn shape(&self) -> FlowShape {
        self.shape
    }

    /// The image of images, and the logarithm of the volume's change by image, `[B]`.
    pub fn forward(&self, x_bchw: &Tensor) -> (Tensor, Tensor) {
        through(&self.couplings, x_bchw)
    }

    /// What [`Flow::forward`] came from.
    pub fn inverse(&self, y_bchw: &Tensor) -> Tensor {
        let start = y_bchw.shallow_clone();
        self.couplings.iter().rev().fold(start, |y_bchw, coupling| coupling.inverse(&y_bchw))
    }

    /// All tensors.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// [`Flow::forward`] for couplings that stand alone.
pub fn through(couplings: &[Coupling], x_bchw: &Tensor) -> (Tensor, Tensor) {
    let start = (x_bchw.shallow_clone(), Tensor::zeros([x_bchw.size()[0]], (x_bchw.kind(), x_bchw.device())));
    couplings.iter().fold(start, |(x_bchw, log_det_b), coupling| {
        let (y_bchw, own_b) = coupling.forward(&x_bchw);
        (y_bchw, log_det_b + own_b)
    })
}

/// The first channel, and the others.
fn first_and_others(x_bchw: &Tensor) -> (Tensor, Tensor) {
    (x_bchw.narrow(1, 0, 1), x_bchw.narrow(1, 1, x_bchw.size()[1] - 1))
}

/// Moves some channels by what the others are.
pub struct Coupling {
    /// Whether the first channel is given and the others move, or the others are given and the first moves.
    pub is_first_given: bool,
    /// t.
    pub shift: PixelNet,
    /// s before its tanh; none preserves volume.
    pub scale: Option<PixelNet>,
}

impl Coupling {
    fn forward(&self, x_bchw: &Tensor) -> (Tensor, Tensor) {
        let (given, moved) = self.parts(x_bchw);
        let log_scale = self.log_scale(&given, &moved);
        let log_det_b = log_scale.sum_dim_intlist([1_i64, 2, 3].as_slice(), false, None);
        let moved = moved * log_scale.exp() + self.shift.forward(&given);
        (self.join(given, moved), log_det_b)
    }

    fn inverse(&self, y_bchw: &Tensor) -> Tensor {
        let (given, moved) = self.parts(y_bchw);
        let log_scale = self.log_scale(&given, &moved);
        let moved = (moved - self.shift.forward(&given)) * (-log_scale).exp();
        self.join(given, moved)
    }

    fn log_scale(&self, given: &Tensor, moved: &Tensor) -> Tensor {
        self.scale.as_ref().map_or_else(|| moved.zeros_like(), |scale| scale.forward(given).tanh())
    }

    /// What is given, and what moves.
    fn parts(&self, x_bchw: &Tensor) -> (Tensor, Tensor) {
        let (first, others) = first_and_others(x_bchw);
        if self.is_first_given { (first, others) } else { (others, first) }
    }

    fn join(&self, given: Tensor, moved: Tensor) -> Tensor {
        Tensor::cat(&if self.is_first_given { [given, moved] } else { [moved, given] }, 1)
    }
}

/// Two 1x1 convolutions with ReLU between them.
pub struct PixelNet {
    /// `[hidden, inputs]`.
    pub weight1: Tensor,
    /// `[hidden]`.
    pub bias1: Tensor,
    /// `[outputs, hidden]`.
    pub weight2: Tensor,
    /// `[outputs]`.
    pub bias2: Tensor,
}

impl PixelNet {
    fn new(builder: &mut Builder, name: &str, (inputs, hidden, outputs): (i64, i64, i64)) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        Self {
            weight1: builder.uniform(format!("{name}.weight1"), &[hidden, inputs], bound),
            bias1: builder.uniform(format!("{name}.bias1"), &[hidden], bound),
            weight2: builder.uniform(format!("{name}.weight2"), &[outputs, hidden], 0.0),
            bias2: builder.uniform(format!("{name}.bias2"), &[outputs], 0.0),
        }
    }

    fn forward(&self, x_bchw: &Tensor) -> Tensor {
        let conv = |x: &Tensor, weight: &Tensor, bias: &Tensor| {
            let kernel = weight.unsqueeze(-1).unsqueeze(-1);
            x.conv2d(&kernel, Some(bias), [1, 1], [0, 0], [1, 1], 1)
        };
        conv(&conv(x_bchw, &self.weight1, &self.bias1).relu(), &self.weight2, &self.bias2)
    }
}

#[cfg(test)]
mod tests {
    use kindred_proto::recipe::BatchNorm;
    use tch::{Device, Kind, no_grad};

    use super::*;
    use crate::nn::Stream;

    fn draws(name: &str, shape: &[i64]) -> Tensor {
        let mut stream = Stream::new(0, name);
        let values: Vec<f64> = (0..shape.iter().product::<i64>()).map(|_| stream.normal()).collect();
        Tensor::from_slice(&values).view(shape)
    }

    /// Four couplings that are no longer the identity.
    fn flow(preserves_volume: bool) -> Flow {
        let setup = Setup {
            seed: 1,
            device: Device::Cpu,
            kind: Kind::Double,
            channels_last: false,
            batch_norm: BatchNorm::Frozen,
            has_gradient: true,
        };
        let shape = FlowShape { preserves_volume, n_couplings: 4, hidden_dim: 8 };
        let flow = Flow::new(shape, 3, &setup);
        for entry in flow.entries() {
            no_grad(|| entry.tensor.shallow_clone().copy_(&draws(&entry.name, &entry.tensor.size())));
        }
        flow
    }

    #[test]
    fn the_inverse_gives_the_images_back() {
        for preserves_volume in [true, false] {
            let (flow, x) = (flow(preserves_volume), draws("images", &[5, 3, 4, 4]));
            let (y, _) = flow.forward(&x);
            assert!((&y - &x).abs().max().double_value(&[]) > 0.1, "the flow is the identity");
            assert!(
                (flow.inverse(&y) - &x).abs().max().double_value(&[]) < 1e-5,
                "volume preserved: {preserves_volume}"
            );
        }
    }

    #[test]
    fn the_change_of_volume_is_the_jacobians() {
        for preserves_volume in [true, false] {
            let (flow, x) = (flow(preserves_volume), draws("pixel", &[1, 3, 1, 1]).set_requires_grad(true));
            let (y, log_det) = flow.forward(&x);
            let row = |channel| {
                let output = y.select(1, channel).sum(None);
                Tensor::run_backward(&[output], &[&x], true, false).remove(0).view([3])
            };
            let jacobian = Tensor::stack(&(0..3).map(row).collect::<Vec<_>>(), 0);
            let want = jacobian.det().abs().log().double_value(&[]);
            assert!(
                (log_det.double_value(&[0]) - want).abs() < 1e-12,
                "volume preserved: {preserves_volume}"
            );
            assert_eq!(want.abs() < 1e-12, preserves_volume);
        }
    }

    #[test]
    fn volume_is_preserved_exactly() {
        let (_, log_det) = flow(true).forward(&draws("images", &[5, 3, 4, 4]));
        assert_eq!(Vec::<f64>::try_from(log_det).expect("one dimension"), [0.0; 5]);
    }
}
