//! The loader: threads that prepare batches ahead of the training loop.
//!
//! Batches come in step order and hold the same values whatever the number of threads. At most `prefetch_batches` are
//! made or kept at a time: a slow training loop stops the threads, which wait on a condition and never spin.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use kindred_proto::recipe::View;

use crate::{Batch, Dataset, Error, Pipeline, Plan};

mod damaged;
mod queue;
mod worker;

use damaged::Damaged;
use queue::Queue;
use worker::Recipe;

/// What a loader prepares, and with how many threads.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// The images.
    pub dataset: Dataset,
    /// One pipeline per view.
    pub views: Vec<View>,
    /// Mean of pixels in [0, 1]: one value, or one per channel.
    pub mean: Vec<f64>,
    /// Standard deviation of pixels in [0, 1]: one value, or one per channel.
    pub std: Vec<f64>,
    /// Seed of order and views.
    pub seed: u64,
    /// Images per step over all ranks.
    pub global_batch: u32,
    /// This rank.
    pub rank: u32,
    /// Number of ranks; divides the global batch.
    pub world_size: u32,
    /// The first step.
    pub start_step: u64,
    /// The step before which the loader ends.
    pub end_step: u64,
    /// Threads that prepare batches.
    pub n_threads: u32,
    /// Batches that are made or kept ahead of the training loop.
    pub prefetch_batches: u32,
}

/// Prepares batches on threads of its own; dropping it ends them.
#[derive(Debug)]
pub struct Loader {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Checks the sizes and starts the threads.
    ///
    /// # Errors
    /// [`Error::Config`] says what does not fit, or that a thread cannot be started.
    pub fn start(config: LoaderConfig) -> Result<Loader, Error> {
        let LoaderConfig { dataset, views, mean, std, seed, global_batch, rank, world_size, .. } = config;
        let plan = Plan::new(dataset.len(), global_batch, (rank, world_size), seed)?;
        let pipelines =
            (0..).zip(&views).map(|view| Pipeline::new(view, dataset.channels(), (&mean, &std), seed));
        let recipe = Arc::new(Recipe {
            pipelines: pipelines.collect::<Result<_, Error>>()?,
            dataset,
            plan,
            damaged: Damaged::default(),
        });
        let queue = Arc::new(Queue::new(config.start_step..config.end_step, config.prefetch_batches.max(1)));
        let mut loader = Loader { queue, threads: Vec::new() };
        for thread_idx in 0..config.n_threads.max(1) {
            let (queue, recipe) = (loader.queue.clone(), recipe.clone());
            let thread = thread::Builder::new().name(format!("loader-{thread_idx}"));
            let thread = thread.spawn(move || worker::run(&queue, &recipe));
            loader
                .threads
                .push(thread.map_err(|error| Error::Config(format!("cannot start a thread: {error}")))?);
        }
        Ok(loader)
    }

    /// Waits for the next batch, in step order; `None` after the last step.
    ///
    /// # Errors
    /// What went wrong with this step's batch; the loader is closed from then on.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot say that it failed and ended")]
    pub fn next(&mut self) -> Result<Option<Batch>, Error> {
        self.queue.take()
    }

    /// Gives the buffers of a batch back, so that later batches need not allocate theirs.
    pub fn recycle(&mut self, batch: Batch) {
        self.queue.recycle(batch);
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a loader thread ended with a panic");
            }
        }
    }
}

#[cfg(test)]
mod tests;
