//! Online branch, momentum branch and queue: what MoCo v2 and SCE share.

use kindred_proto::recipe::{
    self,
    methods::{Predictor, Projector},
};
use tch::{Tensor, no_grad};

use crate::{
    collective::queue::Queue,
    nn::{Branch, Entry, Head, Momentum, ResNet, Role, Setup, unit_rows},
};

/// Sizes of the networks and of the queue.
pub(super) struct Plan<'a> {
    pub encoder: &'a recipe::ResNet,
    pub n_channels: u32,
    pub projector: &'a Projector,
    pub predictor: Option<&'a Predictor>,
    pub queue_size: u32,
}

/// Two branches and the keys of past batches.
pub(super) struct MomentumPair {
    pub online: Branch,
    pub target: Branch,
    pub momentum: Momentum,
    pub queue: Queue,
}

impl MomentumPair {
    /// The momentum branch starts as a copy of the online one, the queue with random rows.
    pub fn new(plan: &Plan, setup: &Setup) -> Self {
        let online = branch(plan, plan.predictor, setup);
        let target = branch(plan, None, &Setup { has_gradient: false, ..*setup });
        let momentum = Momentum::new(&online, &target);
        let (n_rows, dim) = (i64::from(plan.queue_size), i64::from(plan.projector.out_dim));
        let queue = Queue::new(unit_rows(setup, "queue", n_rows, dim));
        Self { online, target, momentum, queue }
    }

    /// Embeddings of the momentum branch, without gradient.
    pub fn keys(&self, view_bchw: &Tensor) -> Tensor {
        no_grad(|| self.target.embed(view_bchw))
    }

    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let is_trained = |entry: &Entry| entry.role == Role::Parameter;
        named("online", &self.online, is_trained).collect()
    }

    pub fn buffers(&self) -> Vec<Tensor> {
        let is_buffer = |entry: &Entry| entry.role == Role::Buffer;
        let online = named("online", &self.online, is_buffer);
        online.chain(named("target", &self.target, is_buffer)).map(|(_, tensor)| tensor).collect()
    }

    pub fn state(&self) -> Vec<(String, Tensor)> {
        let branches = named("online", &self.online, |_| true).chain(named("target", &self.target, |_| true));
        let queue = self.queue.state().map(|(part, tensor)| (format!("queue.{part}"), tensor));
        branches.chain(queue).collect()
    }
}

fn branch(plan: &Plan, predictor: Option<&Predictor>, setup: &Setup) -> Branch {
    let encoder = ResNet::new(plan.encoder, plan.n_channels, setup);
    let projector = Head::projector(plan.projector, encoder.feature_dim(), setup);
    let dim = i64::from(plan.projector.out_dim);
    Branch { encoder, projector, predictor: predictor.map(|recipe| Head::predictor(recipe, dim, setup)) }
}

fn named(
    prefix: &str,
    branch: &Branch,
    keep: impl Fn(&Entry) -> bool,
) -> impl Iterator<Item = (String, Tensor)> {
    let kept = branch.named().filter(move |(_, entry)| keep(entry));
    kept.map(move |(name, entry)| (format!("{prefix}.{name}"), entry.tensor.shallow_clone()))
}
