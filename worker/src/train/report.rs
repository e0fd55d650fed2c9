//! What the rank says about its work: progress, points of series, lines of log.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kindred_ipc::{FromRank, Start, Wire};
use kindred_proto::{
    ids::Step,
    v1::{MetricPoint, Progress},
};

use super::{
    Error,
    job::Job,
    link::Link,
    readings::{Reading, Readings},
    step::Outcome,
};
use crate::{collective::Collective, methods::Embeddings, nn::statistics};

/// Progress is said at least this often while steps are taken.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Steps between two looks at the embeddings.
const STATISTICS_EVERY: u64 = 50;

/// Name of the series, and of the result, of weighted kNN.
pub const KNN: &str = "knn_accuracy_percent";

/// Milliseconds since the Unix epoch.
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What a rank says while it works, in the agent's messages.
pub struct Voice<'a> {
    link: &'a Link,
    start: &'a Start,
}

impl<'a> Voice<'a> {
    /// That of the rank with this order.
    pub fn new(link: &'a Link, start: &'a Start) -> Self {
        Self { link, start }
    }

    /// Says how far the work is.
    pub fn progress(&self, progress: &mut Progress) {
        progress.time_unix_ms = unix_ms();
        self.link.say(FromRank::Progress(Wire(progress.clone())));
    }

    /// Says points of series at a step, if this is the rank that speaks for all.
    pub fn points(&self, step: u64, points: &[(&str, f64)]) {
        if self.start.rank.0 != 0 {
            return;
        }
        let (generation, time_unix_ms) = (self.start.generation.0, unix_ms());
        let to_wire = |(series, value): &(&str, f64)| {
            Wire(MetricPoint { series: (*series).into(), step, generation, value: *value, time_unix_ms })
        };
        self.link.say(FromRank::Points(points.iter().map(to_wire).collect()));
    }
}

/// Tells the agent how the training goes.
pub struct Reporter<'a> {
    job: &'a Job,
    voice: Voice<'a>,
    progress: Progress,
    readings: Readings,
    window: Window,
    said_at: Instant,
    described_at: Option<u64>,
}

/// The steps since the last reading.
struct Window {
    since: Instant,
    data_wait: Duration,
    n_steps: u64,
}

impl Window {
    fn open() -> Self {
        Self { since: Instant::now(), data_wait: Duration::ZERO, n_steps: 0 }
    }
}

impl<'a> Reporter<'a> {
    /// Starts with so many steps taken.
    pub fn new(job: &'a Job, link: &'a Link, taken: Step) -> Self {
        let progress = Progress {
            step: taken.0,
            total_steps: job.steps.total,
            epoch: job.epoch(taken),
            total_epochs: job.spec.recipe.training.epochs,
            ..Progress::default()
        };
        let (window, said_at) = (Window::open(), Instant::now());
        let voice = Voice::new(link, &job.start);
        Self { job, voice, progress, readings: Readings::default(), window, said_at, described_at: None }
    }

    /// Says what the job does now. The time until the next call counts as no step's.
    pub fn activity(&mut self, activity: &str) {
        self.progress.activity = activity.into();
        self.say_progress();
        self.window = Window::open();
    }

    /// Counts time in which no batch was there.
    pub fn waited_for_data(&mut self, wait: Duration) {
        self.window.data_wait += wait;
    }

    /// Takes in a step without waiting for its values.
    pub fn stepped(&mut self, taken: Step, lr: f64, outcome: &Outcome) {
        self.readings.push(taken, lr, outcome);
        self.window.n_steps += 1;
        self.progress.step = taken.0;
        self.progress.epoch = self.job.epoch(taken);
        self.progress.lr = lr;
        if self.said_at.elapsed() >= PROGRESS_INTERVAL {
            self.say_progress();
        }
    }

    /// Reads the losses since the last reading and says them, with the rates. All ranks call this after the same
    /// step.
    ///
    /// # Errors
    /// When a loss is not finite, or a peer is lost.
    pub fn read(&mut self, collective: &Collective, local: &Embeddings) -> Result<(), Error> {
        let Some(reading) = self.readings.read(collective)? else { return Ok(()) };
        self.take_rates();
        self.progress.loss = reading.loss;
        self.say_progress();
        if self.job.is_first_rank() {
            self.say_points(&self.points(&reading));
            self.describe(local);
        }
        Ok(())
    }

    /// Says a measurement.
    pub fn measured(&mut self, series: &str, value: f64) {
        if series == KNN {
            self.progress.knn_accuracy_percent = Some(value);
        }
        let step = self.progress.step;
        tracing::info!(step, series, value, "measured");
        self.say_points(&[(series, value)]);
    }

    fn take_rates(&mut self) {
        let window = std::mem::replace(&mut self.window, Window::open());
        let elapsed_s = window.since.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        let global_batch = f64::from(self.job.spec.recipe.training.global_batch);
        let steps_per_s = window.n_steps as f64 / elapsed_s;
        self.progress.images_per_s = steps_per_s * global_batch;
        self.progress.data_wait_share = window.data_wait.as_secs_f64() / elapsed_s;
        let n_left = self.progress.total_steps.saturating_sub(self.progress.step);
        self.progress.eta_s = (steps_per_s > 0.0).then(|| n_left as f64 / steps_per_s);
    }

    fn points<'r>(&self, reading: &'r Reading) -> Vec<(&'r str, f64)> {
        let progress = &self.progress;
        let mut points = vec![
            ("loss", reading.loss),
            ("lr", progress.lr),
            ("images_per_s", progress.images_per_s),
            ("data_wait_share", progress.data_wait_share),
        ];
        points.extend(reading.metrics.iter().copied());
        points
    }

    /// Looks at the embeddings now and then: a collapse shows here first.
    fn describe(&mut self, local: &Embeddings) {
        let step = self.progress.step;
        if self.described_at.is_some_and(|last| step < last + STATISTICS_EVERY) {
            return;
        }
        let partner = local.keys.first().or(local.queries.get(1));
        if let (Some(queries_bd), Some(keys_bd)) = (local.queries.first(), partner) {
            self.say_points(&statistics::describe(queries_bd, keys_bd));
            self.described_at = Some(step);
        }
    }

    fn say_progress(&mut self) {
        self.said_at = Instant::now();
        self.voice.progress(&mut self.progress);
    }

    fn say_points(&self, points: &[(&str, f64)]) {
        self.voice.points(self.progress.step, points);
    }
}
