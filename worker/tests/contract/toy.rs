//! Small jobs, toy images, and runs of a few steps on any number of ranks.

use kindred_proto::{
    job_spec::{self, JobSpec},
    recipe::{AdamW, Network, Recipe, Rule, View, Vit},
};
use kindred_worker::{
    collective::{Collective, Error, on_threads},
    methods::{self, At, Images, Input},
    nn::Stream,
    train::Trainer,
};
use tch::{Device, Kind, Tensor, no_grad};

/// Images per step over all ranks.
const GLOBAL_BATCH: i64 = 16;

/// Every method, and every form of it that takes another path: a name and its part of the recipe.
pub const METHODS: &[(&str, &str)] = &[
    ("moco_v2", "{queue_size: 40, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8}}"),
    ("sce", "{queue_size: 40, projector: {hidden_dims: [16], out_dim: 8}}"),
    (
        "sce",
        "{queue_size: 40, symmetric: true, self_mode: zero_logit, momentum_schedule: cosine_to_one, \
         projector: {hidden_dims: [16], out_dim: 8, last_batch_norm: true}, predictor: {hidden_dim: 16}}",
    ),
    ("sce", "{queue_size: 40, lambda: 1.0, projector: {hidden_dims: [], out_dim: 8}}"),
    ("sce", "{queue_size: 40, local_views: 1, projector: {hidden_dims: [16], out_dim: 8}}"),
    ("moco_v1", "{temperature: 0.2, queue_size: 40, momentum: 0.9, projector: {out_dim: 8}}"),
    ("ressl", "{queue_size: 40, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8}}"),
    (
        "ressl",
        "{queue_size: 40, momentum: 0.9, student_views: 2, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    ("co2", "{queue_size: 40, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8}}"),
    (
        "co2",
        "{queue_size: 40, momentum: 0.9, includes_positive: true, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    (
        "clsa",
        "{queue_size: 40, momentum: 0.9, strong_weight: 0.1, weak_views: 2, strong_views: 2, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    // The gradient of a bias ahead of normalisation is zero but for rounding: the projector ends without one.
    (
        "isd",
        "{queue_size: 40, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8, last_batch_norm: true}}",
    ),
    ("isd", "{form: plain, queue_size: 40, momentum: 0.9}"),
    (
        "sane",
        "{queue_size: 40, momentum: 0.9, mixup_share: 0.25, mixup_group_size: 4, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    (
        "sane",
        "{queue_size: 40, momentum: 0.9, mixup_share: 0.25, mixup_group_size: 4, mixup_views: 2, strong: true, mixup_scope: image, \
         mixup_concentration: 0.1, label_weight_end: 10.0, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    (
        "sane",
        "{queue_size: 40, momentum: 0.9, estimate: false, mixup: false, online_anchor: true, mixup_group_size: 4, \
         label_weight_start: 1.0, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    (
        "infomin",
        "{temperature: 0.1, beta: 0.1, queue_size: 40, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    (
        "infomin",
        "{temperature: 0.1, beta: 0.0, queue_size: 40, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    ("cmc", "{temperature: 0.1, queue_size: 40, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8}}"),
    (
        "learned_views",
        "{temperature: 0.2, game_epochs: 1, hidden_dim: 8, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    (
        "learned_views",
        "{temperature: 0.5, game_epochs: 1, hidden_dim: 8, labelled_share: 0.5, projector: {hidden_dims: [16], \
         out_dim: 8}}",
    ),
    ("moco_v3", "{projector: {hidden_dims: [16], out_dim: 8}, predictor: {hidden_dim: 16}}"),
    ("simclr", "{projector: {hidden_dims: [16], out_dim: 8}}"),
    // The gradient of a bias ahead of normalisation is zero but for rounding: the projector ends without one.
    (
        "byol",
        "{projector: {hidden_dims: [16], out_dim: 8, last_batch_norm: true}, predictor: {hidden_dim: 16}}",
    ),
    (
        "byol",
        "{symmetric: false, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8, last_batch_norm: true}, \
         predictor: {hidden_dim: 16}}",
    ),
    ("simsiam", "{projector: {hidden_dims: [16], out_dim: 8}, predictor: {hidden_dim: 16}}"),
    (
        "swav",
        "{n_prototypes: 6, freeze_prototypes_steps: 0, queue_size: 20, queue_start_epoch: 0, \
         projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    ("swav", "{n_prototypes: 6, freeze_prototypes_steps: 2, projector: {hidden_dims: [16], out_dim: 8}}"),
    ("insdis", "{n_negatives: 20, projector: {out_dim: 8}}"),
    ("insdis", "{temperature: 0.5, n_negatives: 20, form: nce, projector: {out_dim: 8}}"),
    (
        "pcl",
        "{queue_size: 40, momentum: 0.9, n_negative_prototypes: 3, clustering: {n_prototypes: [9, 20], \
         warmup_epochs: 0}, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    (
        "pcl",
        "{queue_size: 40, momentum: 0.9, n_negative_prototypes: 5, prototype_columns: image, clustering: \
         {n_prototypes: [9], warmup_epochs: 0}, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
    (
        "pauc_r",
        "{queue_size: 40, momentum: 0.9, prototype_weight: 0.5, clustering: {n_prototypes: [9, 20], \
         warmup_epochs: 0}, projector: {hidden_dims: [16], out_dim: 8}}",
    ),
];

/// Grey images have no colours to split off; halves are as wide as other methods' networks.
const COLOUR_ONLY: &[&str] = &["cmc", "learned_views"];

/// A job of one method.
pub fn spec(method: (&str, &str), precision: &str, batch_norm: &str) -> JobSpec {
    let (name, parameters) = method;
    let is_split = COLOUR_ONLY.contains(&name);
    let (data, width) =
        if is_split { ("{image_folder: {train: images}}", 8) } else { ("{fashion_mnist: {}}", 4) };
    let text = format!(
        "name: contract\nranks: 1\ndevice: cpu\nrecipe:\n  data: {data}\n  encoder: {{resnet: \
         {{width: {width}, stem: cifar, batch_norm: {batch_norm}}}}}\n  method: {{{name}: {parameters}}}\n  optimizer: \
         {{sgd: {{lr: 0.05, momentum: 0.9, weight_decay: 1.0e-4}}}}\n  training: {{global_batch: {GLOBAL_BATCH}, \
         seed: 7, precision: {precision}}}\n"
    );
    let wire = job_spec::from_yaml(&text, &[]).expect("the text is a job");
    JobSpec::check(&wire).expect("the job is sound")
}

/// The same job on a transformer that is trained by AdamW.
pub fn transformer(spec: &JobSpec) -> JobSpec {
    let mut spec = spec.clone();
    let vit = Vit { width: 16, depth: 2, heads: 4, patch_size: 4, frozen_patch_projection: true };
    spec.recipe.encoder.network = Network::Vit(vit);
    spec.recipe.optimizer.rule =
        Rule::AdamW(AdamW { lr: 0.005, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 });
    spec
}

/// Steps of an epoch; the training set has as many times the images of a step.
const STEPS_PER_EPOCH: u64 = 10;

/// Classes of their labels.
const N_CLASSES: u32 = 4;

/// Side of the patterns.
const SIZE: i64 = 16;

/// Images of a step, N.
fn n_images(recipe: &Recipe) -> i64 {
    recipe.training.global_batch.into()
}

/// The images of a step of an epoch as they are: one smooth pattern each, in all channels. `[N, C, 16, 16]`.
fn patterns(recipe: &Recipe, step_of_epoch: u64) -> Tensor {
    let coarse = noise(step_of_epoch, "pattern", &[n_images(recipe), 1, 4, 4]);
    let n_channels = recipe.data.channels().into();
    coarse.upsample_bilinear2d([SIZE, SIZE], false, None, None).repeat([1, n_channels, 1, 1])
}

/// The views of the images of a step: the images, scaled, with noise of its own a view and patch. `[N P, C, S, S]` each; the
/// first is of 16 pixels, the others are in proportion.
pub fn images(recipe: &Recipe, step: u64, kind: Kind) -> Vec<Tensor> {
    let whole = i64::from(recipe.views[0].crop.size);
    let patterns = patterns(recipe, step % STEPS_PER_EPOCH);
    let view = |(idx, view): (usize, &View)| {
        let (size, n_patches) = (i64::from(view.output_size()) * SIZE / whole, i64::from(view.n_patches()));
        let patterns = patterns.upsample_bilinear2d([size, size], false, None, None);
        let patterns = patterns.repeat_interleave_self_int(n_patches, 0, None);
        let noise = noise(step, &format!("view {idx}"), &patterns.size());
        (patterns + noise * 0.1).to_kind(kind)
    };
    recipe.views.iter().enumerate().map(view).collect()
}

fn noise(seed: u64, name: &str, shape: &[i64]) -> Tensor {
    let mut stream = Stream::new(seed, name);
    let values: Vec<f64> = (0..shape.iter().product::<i64>()).map(|_| stream.normal()).collect();
    Tensor::from_slice(&values).view(shape)
}

/// Tensors by name.
pub type Named = Vec<(String, Tensor)>;

/// What one rank saw.
#[derive(Default)]
pub struct Trace {
    /// Its loss at each step.
    pub losses: Vec<f64>,
    /// Its gradients after each step.
    pub gradients: Vec<Named>,
    /// Its state after each step.
    pub states: Vec<Named>,
}

/// One rank of a job over the toy images.
pub struct Rank {
    trainer: Trainer,
    trace: Trace,
    recipe: Recipe,
    kind: Kind,
    lr: f64,
}

impl Rank {
    /// Builds the method and joins the others.
    pub fn new(spec: &JobSpec, collective: Collective) -> Self {
        // Ranks of one process would wait for one another's threads.
        tch::set_num_threads(1);
        let n_images = STEPS_PER_EPOCH * u64::from(spec.recipe.training.global_batch);
        let labels: Vec<u32> = (0..n_images as u32).map(|image| image % N_CLASSES).collect();
        let n_channels = spec.recipe.data.channels();
        let images = Images { n_channels, n_images, labels: Some(&labels), n_classes: N_CLASSES };
        let method = methods::build(spec, &images, Device::Cpu).expect("the processor is there");
        let kind = method.parameters()[0].1.kind();
        let trainer = Trainer::new(method, spec, collective).expect("all ranks are alike");
        let trace = Trace::default();
        let (recipe, lr) = (spec.recipe.clone(), spec.recipe.optimizer.lr());
        Self { trainer, trace, recipe, kind, lr }
    }

    /// Sets the learning rate.
    pub fn with_lr(&mut self, lr: f64) -> &mut Self {
        self.lr = lr;
        self
    }

    /// Takes the steps from `start` to before `end` of a run of 100, on this rank's share of the images.
    pub fn steps(&mut self, start: u64, end: u64) -> &mut Self {
        self.try_steps(start, end).expect("no peer is lost");
        self
    }

    /// As [`Rank::steps`], with peers that may be lost.
    pub fn try_steps(&mut self, start: u64, end: u64) -> Result<(), Error> {
        let collective = self.trainer.collective().clone();
        let n_images = n_images(&self.recipe);
        let share = n_images / i64::from(collective.world_size());
        let first = share * i64::from(collective.rank());
        for step in start..end {
            let images = images(&self.recipe, step, self.kind);
            let of_this_rank = |view: &Tensor| {
                let n_patches = view.size()[0] / n_images;
                view.narrow(0, n_patches * first, n_patches * share)
            };
            let views = images.iter().map(of_this_rank).collect();
            let first_sample = (step % STEPS_PER_EPOCH) as i64 * n_images + first;
            let samples_b = Tensor::arange(share, (Kind::Int64, Device::Cpu)) + first_sample;
            let at = At { step, total_steps: 100, steps_per_epoch: STEPS_PER_EPOCH };
            self.find_prototypes(&at);
            let input = Input { views, samples_b };
            let outcome = self.trainer.step(&input, &at, self.lr)?;
            self.trace.losses.push(outcome.loss.double_value(&[]));
            self.trace.gradients.push(self.gradients());
            self.trace
                .states
                .push(self.trainer.state().into_iter().map(|(name, x)| (name, x.copy())).collect());
        }
        Ok(())
    }

    /// Goes on with other ranks; all take over the state of `source`.
    pub fn rejoin(&mut self, collective: Collective, source: u32) {
        self.trainer.rejoin(collective).expect("all ranks are alike");
        let state: Vec<Tensor> = self.trainer.state().into_iter().map(|(_, tensor)| tensor).collect();
        self.trainer.collective().broadcast_(&state, source).expect("no peer is lost");
    }

    /// Leaves the others.
    pub fn leave(&mut self) {
        self.trainer.leave();
    }

    /// As a rank does before a step; here each embeds all images.
    fn find_prototypes(&mut self, at: &At) {
        let (kind, recipe) = (self.kind, &self.recipe);
        let found = self.trainer.find_prototypes(at, |embed, _| {
            let rows = (0..STEPS_PER_EPOCH).map(|step| embed(&patterns(recipe, step).to_kind(kind)));
            Ok::<_, Error>(Tensor::cat(&rows.collect::<Result<Vec<_>, _>>()?, 0))
        });
        found.expect("no peer is lost");
    }

    /// A copy of the state.
    pub fn state(&self) -> Named {
        copied(self.trainer.state())
    }

    /// Overwrites the state.
    pub fn load(&mut self, saved: &Named) -> &mut Self {
        for ((name, target), (saved_name, value)) in self.trainer.state().into_iter().zip(saved) {
            assert_eq!(&name, saved_name);
            no_grad(|| target.shallow_clone().copy_(value));
        }
        self
    }

    /// Names of what gradients train.
    pub fn trained(&self) -> Vec<String> {
        self.trainer.method().parameters().into_iter().map(|(name, _)| name).collect()
    }

    /// What it saw since this was last asked.
    pub fn take_trace(&mut self) -> Trace {
        std::mem::take(&mut self.trace)
    }

    /// What it saw so far.
    pub fn trace(self) -> Trace {
        self.trace
    }

    fn gradients(&self) -> Named {
        let parameters = self.trainer.method().parameters().into_iter();
        let gradients = parameters.map(|(name, parameter)| (name, parameter.grad()));
        // What took no part in the step has none.
        copied(gradients.filter(|(_, gradient)| gradient.defined()).collect())
    }
}

fn copied(named: Named) -> Named {
    named.into_iter().map(|(name, tensor)| (name, tensor.detach().copy())).collect()
}

/// Runs a few steps on so many ranks; what each saw, in rank order.
pub fn run(spec: &JobSpec, world_size: u32, n_steps: u64) -> Vec<Trace> {
    let run = |collective| {
        let mut rank = Rank::new(spec, collective);
        rank.steps(0, n_steps);
        rank.trace()
    };
    if world_size == 1 { vec![run(Collective::single())] } else { on_threads(world_size, run) }
}
