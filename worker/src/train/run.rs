//! A training job, from its data to its encoder.

use std::time::Instant;

use kindred_data::{Batch, Loader, LoaderConfig};
use kindred_ipc::{FromRank, Start};
use kindred_proto::{ids::Step, job_spec::JobSpec, v1::JobResult};
use tch::Device;

use super::{
    Error,
    agreement::check_state,
    held::Held,
    job::Job,
    link::{Link, Stop},
    measuring::Measuring,
    meeting,
    report::Reporter,
    saving::{self, Permission, Saver, Writer},
    section::{self, Section},
    serve::Ending,
    step::{Outcome, Trainer, to_input},
    stop::{self, Watch, unless_stopped},
};
use crate::{
    collective::Collective,
    eval::{Reader, Session},
    export, methods,
    optim::{check_groups, learning_rate},
};

/// Why the loop over steps ended.
enum Trained {
    AllSteps,
    UntilStopped,
}

/// What a rank keeps from one generation to the next.
struct Lasting {
    trainer: Trainer,
    held: Held,
    writer: Writer,
}

/// Trains.
///
/// # Errors
/// When the data or the device cannot be used, the ranks do not meet or lose one another, or the training fails.
pub fn run(link: &Link, start: Start, spec: JobSpec) -> Result<Ending, Error> {
    let mut job = Job::open(start, spec)?;
    tch::set_num_threads(job.spec.recipe.training.threads_per_rank as i32);
    saving::begin_anew(&job)?;
    let method = methods::build(&job.spec, &job.images(), job.device)?;
    check_groups(&job.spec.recipe.optimizer, &method.parameters())?;
    let mut lasting = Lasting {
        trainer: Trainer::new(method, &job.spec, Collective::single()).map_err(Error::Meeting)?,
        held: Held::default(),
        writer: saving::start_writer(&job, link)?,
    };
    let _watch = section::Watch::start(lasting.trainer.sections(), link).map_err(Error::Thread)?;
    loop {
        match generation(&job, link, &mut lasting) {
            Err(error) if error.is_about_peers() && lasting.held.is_any() => {
                lasting.trainer.sections().leave();
                lasting.trainer.leave();
                job.start = lasting.held.wait(link, &job.start, error)?;
            }
            ended => return ended,
        }
    }
}

/// One generation, from its meeting until its end or that of the job.
fn generation(job: &Job, link: &Link, lasting: &mut Lasting) -> Result<Ending, Error> {
    let Lasting { trainer, held, writer } = lasting;
    link.say(FromRank::Meeting);
    let collective = meeting::connect(&job.start, job.spec.terms.device, link)?;
    trainer.rejoin(collective).map_err(Error::Meeting)?;
    let beginning = meeting::begin(job, trainer, held, link)?;
    *held = Held::at(beginning.taken, beginning.metrics.clone());
    let mut run = Run {
        job,
        link,
        reporter: Reporter::new(job, link, beginning.taken),
        saver: Saver::new(job, writer, beginning.is_writer, beginning.taken)?,
        measuring: Measuring::open(job, beginning.metrics)?,
        trainer,
        held,
    };
    link.say(FromRank::Training { generation: job.start.generation, began_at: beginning.taken });
    run.all(beginning.taken, beginning.owes).inspect_err(|error| run.saver.settle_after_fault(error))
}

/// A rank at work.
struct Run<'a> {
    job: &'a Job,
    link: &'a Link,
    reporter: Reporter<'a>,
    saver: Saver<'a>,
    measuring: Measuring,
    trainer: &'a mut Trainer,
    held: &'a mut Held,
}

impl Run<'_> {
    fn all(&mut self, from: Step, owes: bool) -> Result<Ending, Error> {
        if from == Step(0) {
            let watch = Watch(self.link);
            let measured = self.measuring.before(self.job, self.trainer, &mut self.reporter, watch);
            if unless_stopped(measured)?.is_none() {
                return Ok(Ending::Stopped);
            }
        }
        if owes && self.settle_step(from)? {
            return Ok(Ending::Stopped);
        }
        match self.train(from)? {
            Trained::AllSteps => self.finish(),
            Trained::UntilStopped => Ok(Ending::Stopped),
        }
    }

    fn train(&mut self, from: Step) -> Result<Trained, Error> {
        self.reporter.activity("training");
        let mut loader = Loader::start(self.loader_config(from))?;
        while let Some(batch) = self.next_batch(&mut loader)? {
            let taken = Step(batch.step + 1);
            if unless_stopped(self.find_prototypes(batch.step))?.is_none() {
                self.stop(Step(batch.step), self.agreed_stop()?)?;
                return Ok(Trained::UntilStopped);
            }
            let outcome = self.step(&batch)?;
            loader.recycle(batch);
            if self.is_reading_due(taken) {
                self.reporter.read(self.trainer.collective(), &outcome.local)?;
            }
            if self.settle_step(taken)? {
                return Ok(Trained::UntilStopped);
            }
        }
        Ok(Trained::AllSteps)
    }

    /// What follows a step that was taken; whether the ranks stop after it.
    fn settle_step(&mut self, taken: Step) -> Result<bool, Error> {
        self.saver.compare(self.trainer)?;
        if self.is_comparison_due(taken) {
            check_state(&self.trainer.state(), taken, self.trainer.collective())?;
        }
        if self.measuring.is_due(self.job, taken) {
            let watch = Watch(self.link);
            let measured = self.measuring.during(taken, self.trainer, &mut self.reporter, watch);
            // Ranks that stop instead of measuring do so below, after the checkpoint that may be due.
            let _ = unless_stopped(measured)?;
            self.reporter.activity("training");
        }
        if self.saver.is_due(taken) {
            self.save(taken)?;
        }
        // The job ends with its last checkpoint: that one is owed until it is in place.
        if taken.0 < self.job.steps.total {
            self.held.settled(self.measuring.metrics());
        }
        self.saver.check()?;
        self.is_stopping(taken)
    }

    fn loader_config(&self, from: Step) -> LoaderConfig {
        let (recipe, start) = (&self.job.spec.recipe, &self.job.start);
        LoaderConfig {
            dataset: self.job.dataset.clone(),
            views: recipe.views.clone(),
            mean: recipe.data.mean.clone(),
            std: recipe.data.std.clone(),
            seed: recipe.training.seed,
            global_batch: recipe.training.global_batch,
            rank: start.rank.0,
            world_size: start.world_size.0,
            start_step: from.0,
            end_step: self.job.steps.total,
            n_threads: recipe.training.threads_per_rank,
            prefetch_batches: recipe.training.prefetch_batches,
        }
    }

    fn next_batch(&mut self, loader: &mut Loader) -> Result<Option<Batch>, Error> {
        let since = Instant::now();
        self.trainer.sections().enter(Section::Data);
        let batch = loader.next()?;
        self.reporter.waited_for_data(since.elapsed());
        Ok(batch)
    }

    fn find_prototypes(&mut self, step: u64) -> Result<(), Error> {
        let (job, reporter, watch) = (self.job, &mut self.reporter, Watch(self.link));
        let sections = self.trainer.sections().clone();
        self.trainer.find_prototypes(&job.at(step), |embed, collective| {
            reporter.activity("finding prototypes");
            sections.leave();
            let tick = |_| watch.tick(collective);
            let session = Session { collective, seed: job.spec.recipe.training.seed, tick: &tick };
            let features_nd = Reader::of(&job.spec, job.device).embeddings(&job.dataset, &session, embed)?;
            reporter.activity("training");
            Ok::<_, Error>(features_nd)
        })
    }

    fn step(&mut self, batch: &Batch) -> Result<Outcome, Error> {
        let (recipe, steps) = (&self.job.spec.recipe, &self.job.steps);
        let input = to_input(batch, &recipe.training, self.job.device)?;
        let (peak, span) = (recipe.optimizer.lr(), steps.schedule_span);
        let lr = learning_rate(&recipe.schedule, peak, batch.step, steps.per_epoch, span);
        let outcome = self.trainer.step(&input, &self.job.at(batch.step), lr)?;
        self.trainer.sections().stepped(Step(batch.step + 1));
        self.held.took(Step(batch.step + 1));
        self.reporter.stepped(Step(batch.step + 1), lr, &outcome);
        Ok(outcome)
    }

    /// Values are read every so many steps, since a reading waits for the device, and before they are written down.
    fn is_reading_due(&self, taken: Step) -> bool {
        let every = u64::from(self.job.spec.recipe.training.log_every_steps);
        taken.0.is_multiple_of(every) || self.saver.is_due(taken)
    }

    /// What is saved is compared anyway.
    fn is_comparison_due(&self, taken: Step) -> bool {
        let every = self.job.spec.recipe.checkpoint.compare_every_steps;
        every.is_some_and(|n_steps| taken.0.is_multiple_of(n_steps)) && !self.saver.is_due(taken)
    }

    fn save(&mut self, taken: Step) -> Result<(), Error> {
        self.reporter.activity("writing checkpoint");
        self.trainer.sections().enter(Section::Checkpoint);
        self.saver.save(taken, self.trainer, &self.measuring.metrics_at(taken))?;
        self.trainer.sections().leave();
        self.reporter.activity("training");
        Ok(())
    }

    /// Whether the ranks stop here. On CUDA they ask one another only where they read values anyway.
    fn is_stopping(&mut self, taken: Step) -> Result<bool, Error> {
        if self.job.device != Device::Cpu && !self.is_reading_due(taken) {
            return Ok(false);
        }
        let stop = self.agreed_stop()?;
        if stop.is_some() {
            self.stop(taken, stop)?;
        }
        Ok(stop.is_some())
    }

    fn agreed_stop(&self) -> Result<Option<Stop>, Error> {
        Ok(stop::agree(self.link, self.trainer.collective())?)
    }

    /// Leaves a checkpoint if one is wanted and none was written after this step.
    fn stop(&mut self, taken: Step, stop: Option<Stop>) -> Result<(), Error> {
        if stop.is_some_and(|stop| stop.checkpoint) && !self.saver.has_saved(taken) {
            self.save(taken)?;
        }
        self.saver.settle_and_stop(self.trainer)?;
        tracing::info!(step = taken.0, "stopped as asked");
        Ok(())
    }

    fn finish(&mut self) -> Result<Ending, Error> {
        let total = Step(self.job.steps.total);
        let measured = self.measuring.after(total, self.trainer, &mut self.reporter, Watch(self.link));
        if unless_stopped(measured)?.is_none() {
            self.stop(total, None)?;
            return Ok(Ending::Stopped);
        }
        self.reporter.activity("writing encoder");
        if self.saver.settle(self.trainer)? == Permission::Refused {
            return Ok(Ending::Stopped);
        }
        self.held.settled(self.measuring.metrics());
        if !self.job.is_first_rank() {
            return Ok(Ending::Finished(JobResult::default()));
        }
        // The last checkpoint's permission may be minutes old, and the generation superseded since.
        if !self.link.is_live(self.job.start.generation) {
            return Ok(Ending::Stopped);
        }
        let folder = self.job.start.job_dir.join("encoder");
        let encoder = self.trainer.method().encoder();
        let path = export::write_encoder(encoder, &self.job.spec, self.job.dataset.channels(), &folder)?;
        let digest = crate::checkpoint::digest_of_file(&path)?;
        Ok(Ending::Finished(JobResult {
            metrics: self.measuring.metrics_at(total).into_iter().collect(),
            encoder_path: path.display().to_string(),
            encoder_digest: digest,
        }))
    }
}
