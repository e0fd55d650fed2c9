//! Makes the named tensors of one network.

use kindred_proto::recipe;
use tch::{Device, Kind, Tensor};

use super::random::Stream;

/// What all layers of a network share.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Seed of the initial values.
    pub seed: u64,
    /// Where the tensors are.
    pub device: Device,
    /// Number format of parameters and buffers.
    pub kind: Kind,
    /// Whether convolutions keep their weights channels-last in memory.
    pub channels_last: bool,
    /// Which samples share batch statistics.
    pub batch_norm: recipe::BatchNorm,
    /// Whether parameters are trained by gradient; a momentum branch's are not.
    pub has_gradient: bool,
}

impl Setup {
    /// For two networks that are built alike: each begins with values of its own.
    pub fn for_halves(&self) -> [Self; 2] {
        [*self, Self { seed: self.seed.wrapping_add(1), ..*self }]
    }
}

/// What a named tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trained by gradient.
    Parameter,
    /// A parameter that stays as it is.
    Frozen,
    /// A running statistic.
    Buffer,
    /// What a method remembers of earlier steps: a queue, a bank, clusters.
    Memory,
}

/// A named tensor of a network.
#[derive(Debug)]
pub struct Entry {
    /// Name inside the network.
    pub name: String,
    /// Shallow handle.
    pub tensor: Tensor,
    /// What it is for.
    pub role: Role,
}

impl Entry {
    /// The same tensor under a longer name.
    pub fn prefixed(&self, prefix: &str) -> Self {
        Self { name: format!("{prefix}.{}", self.name), tensor: self.tensor.shallow_clone(), role: self.role }
    }
}

/// Makes tensors and remembers them in order.
pub struct Builder {
    setup: Setup,
    scope: &'static str,
    entries: Vec<Entry>,
}

impl Builder {
    /// Starts a network. Networks of the same scope and seed begin with the same values.
    pub fn new(setup: &Setup, scope: &'static str) -> Self {
        Self { setup: *setup, scope, entries: Vec::new() }
    }

    /// What all layers share.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// A weight with normal draws of this standard deviation.
    pub fn normal(&mut self, name: String, shape: &[i64], std: f64) -> Tensor {
        self.drawn((name, Role::Parameter), shape, |stream| std * stream.normal())
    }

    /// A weight with uniform draws in `[-bound, bound)`.
    pub fn uniform(&mut self, name: String, shape: &[i64], bound: f64) -> Tensor {
        self.uniform_as(name, shape, bound, Role::Parameter)
    }

    /// As [`Builder::uniform`], in another role.
    pub fn uniform_as(&mut self, name: String, shape: &[i64], bound: f64, role: Role) -> Tensor {
        self.drawn((name, role), shape, |stream| stream.uniform(bound))
    }

    /// A vector of one value.
    pub fn constant(&mut self, name: String, length: i64, value: f64, role: Role) -> Tensor {
        let tensor = Tensor::full([length], value, (self.setup.kind, self.setup.device));
        self.keep(name, tensor, role)
    }

    /// The tensors made, in order.
    pub fn finish(self) -> Vec<Entry> {
        self.entries
    }

    fn drawn(
        &mut self,
        (name, role): (String, Role),
        shape: &[i64],
        mut draw: impl FnMut(&mut Stream) -> f64,
    ) -> Tensor {
        let mut stream = Stream::new(self.setup.seed, &format!("{}.{name}", self.scope));
        let values: Vec<f64> = (0..shape.iter().product::<i64>()).map(|_| draw(&mut stream)).collect();
        let tensor =
            Tensor::from_slice(&values).view(shape).to_kind(self.setup.kind).to_device(self.setup.device);
        let is_conv = shape.len() == 4;
        let tensor = if is_conv && self.setup.channels_last { channels_last(&tensor) } else { tensor };
        self.keep(name, tensor, role)
    }

    fn keep(&mut self, name: String, tensor: Tensor, role: Role) -> Tensor {
        let tensor = tensor.set_requires_grad(self.setup.has_gradient && role == Role::Parameter);
        self.entries.push(Entry { name, tensor: tensor.shallow_clone(), role });
        tensor
    }
}

/// Channels-last in memory, with the strides that gradients of convolutions have even where a kernel is 1x1 and the
/// usual conversion would find nothing to do: Reducer lays its buckets out as the parameters are.
fn channels_last(weight: &Tensor) -> Tensor {
    let shape = weight.size();
    let [_, inputs, height, width] = shape[..] else { panic!("a convolution's weight has four dimensions") };
    let strides = [height * width * inputs, 1, width * inputs, inputs];
    let mut laid_out = Tensor::empty_strided(&shape, strides, (weight.kind(), weight.device()));
    laid_out.copy_(weight);
    laid_out
}
