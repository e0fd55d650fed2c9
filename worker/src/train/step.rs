//! One training step, over whatever method, on however many ranks.

use kindred_bridge::{Error, Reducer, backward, clear_grads, clip_gradients, with_autocast};
use kindred_data::{Batch, ViewBatch};
use kindred_proto::{
    job_spec::JobSpec,
    recipe::{Precision, Training},
};
use tch::{Device, Kind, TchError, Tensor, no_grad};

use super::{
    micro_batches::{Passed, join, split},
    section::{Section, Sections},
    undo::Undo,
};
use crate::{
    collective::{Collective, first_row},
    methods::{At, Embeddings, Gathered, Input, Method},
    optim::Optimizer,
};

/// Embeds a batch of images: `[B, C, H, W]` to `[B, D]`.
pub type Embed<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor, Error>;

/// All that a step changes.
///
/// After each step parameters, gradients, buffers and queue are equal on all ranks, to the bit.
pub struct Trainer {
    method: Box<dyn Method>,
    optimizer: Optimizer,
    parameters: Vec<Tensor>,
    /// None in a world of one.
    reducer: Option<Reducer>,
    collective: Collective,
    autocast: Option<Kind>,
    n_micro_batches: u32,
    clip_norm: Option<f64>,
    undo: Undo,
    sections: Sections,
}

/// What a step gives to whoever watches; nothing of it has been waited for.
pub struct Outcome {
    /// This rank's loss, a scalar without gradient.
    pub loss: Tensor,
    /// The method's own scalars, and the norm of the gradients where they are clipped.
    pub metrics: Vec<(&'static str, Tensor)>,
    /// This rank's embeddings, without gradient.
    pub local: Embeddings,
}

impl Trainer {
    /// Joins a method with its optimiser and with the other ranks.
    ///
    /// # Errors
    /// When the ranks' parameters differ in number or shape.
    pub fn new(method: Box<dyn Method>, spec: &JobSpec, collective: Collective) -> Result<Self, Error> {
        let named = method.parameters();
        let parameters: Vec<Tensor> = named.iter().map(|(_, parameter)| parameter.shallow_clone()).collect();
        let training = &spec.recipe.training;
        Ok(Self {
            reducer: collective.reducer(&parameters)?,
            optimizer: Optimizer::new(&spec.recipe.optimizer, named),
            parameters,
            collective,
            autocast: (training.precision == Precision::Bf16).then_some(Kind::BFloat16),
            n_micro_batches: training.accumulate_steps,
            clip_norm: training.clip_norm,
            undo: Undo::new(method.as_ref()),
            sections: Sections::default(),
            method,
        })
    }

    /// Leaves the other ranks, without waiting for any, since one of them is lost: they hear of it at once.
    pub fn leave(&mut self) {
        // Whatever it says, the group is of no more use; what is dropped below waits for its operations.
        if let Err(error) = self.collective.abort() {
            tracing::warn!(%error, "the old group was not aborted");
        }
        self.reducer = None;
        self.collective = Collective::single();
    }

    /// Goes on with other ranks, from the state that it has.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn rejoin(&mut self, collective: Collective) -> Result<(), Error> {
        self.leave();
        clear_grads(&self.parameters);
        self.reducer = collective.reducer(&self.parameters)?;
        self.sections.wait_in(collective.waiting());
        self.collective = collective;
        Ok(())
    }

    /// Takes one optimiser step. The gradients stay readable until the next one.
    ///
    /// # Errors
    /// When a peer is lost: the state is then that before the step, and goes on after [`Trainer::rejoin`]. When memory runs
    /// out, the state is of no more use.
    pub fn step(&mut self, input: &Input, at: &At, lr: f64) -> Result<Outcome, Error> {
        if self.collective.world_size() > 1 {
            self.undo.keep();
        }
        match self.pass_together(input, at) {
            Ok(passed) => self.finish(passed, at, lr),
            Err(error) => {
                self.undo.restore();
                Err(error)
            }
        }
    }

    /// All that the ranks do together.
    fn pass_together(&mut self, input: &Input, at: &At) -> Result<Passed, Error> {
        clear_grads(&self.parameters);
        self.method.before_forward(at);
        let passed = self.pass(input, at)?;
        self.collective.mean_(&self.method.buffers())?;
        Ok(passed)
    }

    /// What each rank then does on its own, alike.
    fn finish(&mut self, passed: Passed, at: &At, lr: f64) -> Result<Outcome, Error> {
        self.sections.enter(Section::Optimiser);
        let Passed { loss, mut metrics, local, gathered } = passed;
        if let Some(max_norm) = self.clip_norm {
            let gradients: Vec<Tensor> = self.parameters.iter().map(Tensor::grad).collect();
            metrics.push(("grad_norm", clip_gradients(&gradients, max_norm)?));
        }
        self.optimizer.step(lr)?;
        self.method.after_step(&gathered, at);
        Ok(Outcome { loss, metrics, local })
    }

    /// Finds the method's prototypes anew, if that is due before this step. `features` embeds all training images, in
    /// the order of their numbers, and gathers the rows; precision is that of the parameters.
    ///
    /// # Errors
    /// When `features` fails or a peer is lost.
    pub fn find_prototypes<E: From<Error>>(
        &mut self,
        at: &At,
        features: impl FnOnce(Embed<'_>, &Collective) -> Result<Tensor, E>,
    ) -> Result<(), E> {
        if !self.method.prototypes().is_some_and(|prototypes| prototypes.is_due(at)) {
            return Ok(());
        }
        let method = &self.method;
        let embed = |images_bchw: &Tensor| no_grad(|| method.embed_plain(images_bchw));
        let features_nd = features(&embed, &self.collective)?;
        match self.method.prototypes() {
            Some(prototypes) => Ok(prototypes.find(&features_nd, &self.collective)?),
            None => Ok(()),
        }
    }

    /// Forward and backward, micro-batch by micro-batch: gradients add up on this rank, and the last pass shares their sum.
    fn pass(&mut self, input: &Input, at: &At) -> Result<Passed, Error> {
        let inputs = split(input, self.n_micro_batches);
        let mut parts = Vec::with_capacity(inputs.len());
        for (idx, input) in inputs.iter().enumerate() {
            parts.push(self.pass_part(input, at, idx + 1 == inputs.len())?);
        }
        Ok(join(&parts, self.collective.world_size()))
    }

    fn pass_part(&mut self, input: &Input, at: &At, is_last: bool) -> Result<Passed, Error> {
        self.sections.enter(Section::Forward);
        let local = self.forward(input, at, is_last)?;
        let gathered = self.gather(input, &local)?;
        let loss = self.method.loss(&local, &gathered, at);
        self.sections.enter(Section::Backward);
        self.backward(&(&loss.total / f64::from(self.n_micro_batches)), is_last)?;
        Ok(Passed::new(loss, &local, &gathered))
    }

    fn forward(&mut self, input: &Input, at: &At, is_last: bool) -> Result<Embeddings, Error> {
        if let Some(reducer) = self.reducer.as_mut().filter(|_| is_last) {
            reducer.prepare_forward()?;
        }
        let device = input.views[0].device();
        with_autocast(device, self.autocast, || self.method.embed(input, at, &self.collective))
    }

    fn gather(&self, input: &Input, local: &Embeddings) -> Result<Gathered, Error> {
        let ranks = &self.collective;
        let shared = if self.method.gathers_queries() { &local.queries[..] } else { &[] };
        Ok(Gathered {
            queries: shared.iter().map(|q_bd| ranks.gather_with_grad(q_bd)).collect::<Result<_, _>>()?,
            keys: local.keys.iter().map(|k_bd| ranks.gather(k_bd)).collect::<Result<_, _>>()?,
            samples_n: ranks.gather(&input.samples_b)?,
            first_row: first_row(ranks, input.samples_b.size()[0]),
        })
    }

    fn backward(&mut self, loss: &Tensor, is_last: bool) -> Result<(), Error> {
        if let Some(reducer) = self.reducer.as_mut().filter(|_| is_last) {
            reducer.prepare_backward(&[loss])?;
        }
        backward(loss)
    }

    /// What a checkpoint carries and all ranks agree on. Copying into these handles loads it.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = self.method.state();
        state.extend(self.optimizer.state());
        state
    }

    /// What is trained.
    pub fn method(&self) -> &dyn Method {
        self.method.as_ref()
    }

    /// Where in a step this rank is.
    pub fn sections(&self) -> &Sections {
        &self.sections
    }

    /// The other ranks.
    pub fn collective(&self) -> &Collective {
        &self.collective
    }
}

/// Puts a batch onto the device in the recipe's number format and layout.
///
/// # Shapes
/// A view is `[b, c, h, w]` of its own size; a jigsaw of p patches `[b p, c, h, w]`, an image's patches one after another.
///
/// # Errors
/// When the device has no room for it.
pub fn to_input(batch: &Batch, training: &Training, device: Device) -> Result<Input, TchError> {
    let views: Result<_, TchError> = batch.views.iter().map(|view| to_nchw(view, training, device)).collect();
    let samples: Vec<i64> = batch.sample_ids.iter().map(|&id| id as i64).collect();
    Ok(Input { views: views?, samples_b: Tensor::f_from_slice(&samples)?.f_to_device(device)? })
}

fn to_nchw(view: &ViewBatch, training: &Training, device: Device) -> Result<Tensor, TchError> {
    let (size, n_channels) = (i64::from(view.size), i64::from(view.channels));
    let nhwc = Tensor::f_from_slice(&view.pixels)?.f_view([-1, size, size, n_channels])?;
    let nchw = nhwc.f_to_device(device)?.f_permute([0, 3, 1, 2])?;
    let nchw = if training.channels_last { nchw } else { nchw.f_contiguous()? };
    nchw.f_to_kind(if training.precision == Precision::Fp64 { Kind::Double } else { Kind::Float })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_an_image_stay_together() {
        let text = "{name: patches, recipe: {data: {fashion_mnist: {}}, method: {moco_v2: {}}}}";
        let wire = kindred_proto::job_spec::from_yaml(text, &[]).expect("is YAML");
        let training = JobSpec::check(&wire).expect("within bounds").recipe.training;
        let pixels: Vec<f32> = (0..2 * 4 * 2 * 2 * 3).map(|at| at as f32).collect();
        let view = ViewBatch { size: 2, channels: 3, patches: 4, pixels: pixels.clone() };
        let patches = to_nchw(&view, &training, Device::Cpu).expect("fits into memory");
        assert_eq!(patches.size(), [2 * 4, 3, 2, 2]);
        // Pixel (1, 0) of the second image's second patch, green.
        assert_eq!(patches.double_value(&[5, 1, 1, 0]), f64::from(pixels[((5 * 2 + 1) * 2) * 3 + 1]));
    }
}
