//! Two residual networks side by side, each for channels of its own, perhaps behind a flow that mixes the channels.
//!
//! # Source
//! Tian et al., Contrastive Multiview Coding (ECCV 2020): features are concatenated; halves of half the width.

use kindred_proto::recipe;
use tch::Tensor;

use super::{
    builder::{Entry, Setup},
    flow::Flow,
    pass::Pass,
    resnet::ResNet,
};
use crate::collective::Error;

/// A ResNet of half the width for the first channels, and one for the others.
pub struct Split {
    flow: Option<Flow>,
    halves: [ResNet; 2],
    n_first: i64,
    entries: Vec<Entry>,
}

impl Split {
    /// Builds both networks, alike but for their channels; they begin with values of their own.
    pub fn new(half: &recipe::ResNet, (n_first, n_second): (u32, u32), setup: &Setup) -> Self {
        let [setup1, setup2] = setup.for_halves();
        let (first, second) = (ResNet::new(half, n_first, &setup1), ResNet::new(half, n_second, &setup2));
        let mut entries = named("first", first.entries());
        entries.extend(named("second", second.entries()));
        Self { flow: None, halves: [first, second], n_first: n_first.into(), entries }
    }

    /// Shows the networks what the flow makes of images.
    pub fn behind(mut self, flow: Flow) -> Self {
        self.entries.extend(named("flow", flow.entries()));
        self.flow = Some(flow);
        self
    }

    /// What images go through first, if anything.
    pub fn flow(&self) -> Option<&Flow> {
        self.flow.as_ref()
    }

    /// What each network sees of images: `[B, C, H, W]` to two of fewer channels.
    pub fn views(&self, images_bchw: &Tensor) -> [Tensor; 2] {
        let images_bchw = match &self.flow {
            Some(flow) => flow.forward(images_bchw).0,
            None => images_bchw.shallow_clone(),
        };
        let n_others = images_bchw.size()[1] - self.n_first;
        [images_bchw.narrow(1, 0, self.n_first), images_bchw.narrow(1, self.n_first, n_others)]
    }

    /// The networks, in the order of [`Split::views`].
    pub fn halves(&self) -> &[ResNet; 2] {
        &self.halves
    }

    /// Features of the first channels, then those of the others.
    ///
    /// # Shapes
    /// `[B, C, H, W]` to `[B, F]`.
    ///
    /// # Errors
    /// When statistics are synchronised and a peer is lost.
    pub fn features(&self, images_bchw: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        let ([first, second], views_bchw) = (&self.halves, self.views(images_bchw));
        Ok(Tensor::cat(&[first.features(&views_bchw[0], pass)?, second.features(&views_bchw[1], pass)?], 1))
    }

    /// Width of the features.
    pub fn feature_dim(&self) -> i64 {
        self.halves.iter().map(ResNet::feature_dim).sum()
    }

    /// All tensors, by torchvision's names behind `first.` and `second.`; those of a flow behind `flow.`.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

fn named(part: &'static str, entries: &[Entry]) -> Vec<Entry> {
    entries.iter().map(|entry| entry.prefixed(part)).collect()
}

#[cfg(test)]
mod tests {
    use kindred_proto::recipe::{BatchNorm, Stem};
    use tch::{Device, Kind};

    use super::*;
    use crate::collective::Collective;

    #[test]
    fn each_half_sees_channels_of_its_own_and_begins_with_values_of_its_own() {
        let recipe = recipe::ResNet { depth: 18, width: 8, stem: Stem::Cifar, split_channels: 1 };
        let setup = Setup {
            seed: 1,
            device: Device::Cpu,
            kind: Kind::Float,
            channels_last: false,
            batch_norm: BatchNorm::Groups { size: 2 },
            has_gradient: false,
        };
        let half = recipe.half().expect("it is split");
        let split = Split::new(&half, (1, 2), &setup);
        assert_eq!(split.feature_dim(), i64::from(recipe.feature_dim()));
        let halves = |images: &Tensor| {
            let features = split.features(images, Pass::Train(&Collective::single())).expect("one rank");
            features.chunk(2, 1)
        };
        let images = Tensor::rand([2, 3, 16, 16], (Kind::Float, Device::Cpu));
        let brighter = images.copy();
        let _ = brighter.narrow(1, 0, 1).fill_(0.5);
        let (before, after) = (halves(&images), halves(&brighter));
        assert!(!before[0].equal(&after[0]));
        assert!(before[1].equal(&after[1]));
        let weight = |name: &str| split.entries().iter().find(|entry| entry.name == name).map(|x| &x.tensor);
        let [first, second] =
            ["first", "second"].map(|half| weight(&format!("{half}.layer1.0.conv1.weight")));
        assert!(!first.expect("it is named").equal(second.expect("it is named")));
    }
}
