//! What each thread of a loader does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::damaged::Damaged;
use super::queue::{Chunk, Draft, Queue, lock};
use crate::dataset::Pixels;
use crate::view::Work;
use crate::{Dataset, Error, Pipeline, Plan, ViewBatch, ViewScratch};

/// All that a batch follows from, but its step.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) dataset: Dataset,
    pub(super) plan: Plan,
    pub(super) pipelines: Vec<Pipeline>,
    pub(super) damaged: Damaged,
}

/// Prepares images until the queue has no more.
pub(super) fn run(queue: &Queue, recipe: &Recipe) {
    let mut scratch = ViewScratch::default();
    while let Some(chunk) = queue.chunk(|step, spare| recipe.begin(step, spare)) {
        let filled = catch_unwind(AssertUnwindSafe(|| recipe.fill(&chunk, queue, &mut scratch)));
        let result = filled.unwrap_or_else(|panic| {
            scratch = ViewScratch::default();
            let (step, message) = (chunk.draft.step, message(panic));
            Err((chunk.range.start, Error::Panicked { step, message }))
        });
        queue.finish(chunk, result);
    }
}

impl Recipe {
    fn begin(&self, step: u64, spare: &mut Vec<ViewBatch>) -> Draft {
        let sample_ids = self.plan.sample_ids(step);
        self.dataset.will_need(&sample_ids);
        let view = |pipeline: &Pipeline| {
            let (size, patches, channels) = (pipeline.size(), pipeline.n_patches(), self.dataset.channels());
            let fits = |view: &ViewBatch| view.pixels.len() == sample_ids.len() * pipeline.n_values();
            let pixels = spare.iter().position(fits).map(|at| spare.swap_remove(at).pixels);
            // Empty buffers get their length when the first image is written, outside of the queue's lock.
            Mutex::new(ViewBatch { size, channels, patches, pixels: pixels.unwrap_or_default() })
        };
        let views = self.pipelines.iter().map(view).collect();
        Draft { step, epoch: self.plan.epoch(step), sample_ids, views }
    }

    /// Makes all views of the images of a chunk: each image is decoded once.
    fn fill(&self, chunk: &Chunk, queue: &Queue, scratch: &mut ViewScratch) -> Result<(), (usize, Error)> {
        let draft = &chunk.draft;
        for at in chunk.range.clone() {
            if queue.is_closed() {
                return Ok(());
            }
            self.make(draft, at, scratch).map_err(|error| (at, error))?;
        }
        Ok(())
    }

    /// Makes all views of one image, or of the one that stands in for it where its file is damaged.
    fn make(&self, draft: &Draft, at: usize, scratch: &mut ViewScratch) -> Result<(), Error> {
        let ViewScratch { decode, work } = scratch;
        let sample = draft.sample_ids[at];
        let mut source = sample;
        loop {
            match self.dataset.pixels(source, decode) {
                Ok(image) => {
                    self.write(image, sample, (draft, at), work);
                    return Ok(());
                }
                Err(error) => source = self.damaged.replace(&self.dataset, source, error)?,
            }
        }
    }

    fn write(&self, image: Pixels<'_>, sample: u64, (draft, at): (&Draft, usize), work: &mut Work) {
        for (pipeline, view) in self.pipelines.iter().zip(&draft.views) {
            pipeline.prepare(image, (draft.epoch, sample), work);
            let pixels = &mut lock(view).pixels;
            pixels.resize(draft.sample_ids.len() * pipeline.n_values(), 0.0);
            pipeline.write(work, &mut pixels[at * pipeline.n_values()..][..pipeline.n_values()]);
        }
    }
}

/// What a panic said.
fn message(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
