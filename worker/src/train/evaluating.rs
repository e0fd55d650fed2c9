//! An evaluation job: read a finished encoder, meet the other ranks, measure.
//!
//! Nothing of it is checkpointed: measuring takes minutes, and a generation that lost a rank measures anew, with the
//! same figures.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kindred_data::{Dataset, Split};
use kindred_ipc::{FromRank, Start};
use kindred_proto::{
    ids::{NodeId, Step},
    job_spec::{Evaluate, EvaluationSpec},
    recipe::{BatchNorm, DataSource, Precision, Subset},
    v1::{JobResult, Progress},
};
use tch::{Device, Kind};

use super::{
    Error,
    agreement::check_data,
    job::{device, site},
    link::Link,
    meeting,
    report::{KNN, Voice},
    serve::Ending,
    stop::Watch,
};
use crate::{
    collective::Collective,
    eval::{self, Evaluator, Reader, Session},
    export::{Description, Exported, ReadError},
    nn::{self, Setup},
};

/// Progress is said at least this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Measures.
///
/// # Errors
/// When encoder or images cannot be read or do not fit one another, the ranks do not meet or lose one another.
pub fn run(link: &Link, start: &Start, spec: &EvaluationSpec) -> Result<Ending, Error> {
    let evaluate = &spec.evaluate;
    tch::set_num_threads(evaluate.threads_per_rank as i32);
    let device = device(spec.terms.device, start.device_index)?;
    let images = Images::open(evaluate, start)?;
    let own = Exported::find(&start.data_root.join(&evaluate.encoder))?;
    link.say(FromRank::Meeting);
    let collective = meeting::connect(start, spec.terms.device, link)?;
    images.check_alike(start, &collective)?;
    let encoder = Encoder::share(own, evaluate, start, device, &collective)?;
    images.check_fit(&encoder.description)?;
    tracing::info!(world_size = collective.world_size(), encoder = encoder.path, "ranks have met");
    link.say(FromRank::Training { generation: start.generation, began_at: Step(0) });
    let evaluator = images.evaluator(evaluate, &encoder.description, device)?;
    let meter = Meter::new(link, start, evaluator.units(collective.world_size()));
    match measure(&evaluator, &encoder, &meter, evaluate.seed, &collective) {
        Ok(metrics) => Ok(Ending::Finished(encoder.result(metrics, start))),
        Err(eval::Error::Stopped) => Ok(Ending::Stopped),
        Err(error) => Err(error.into()),
    }
}

fn measure(
    evaluator: &Evaluator,
    encoder: &Encoder,
    meter: &Meter,
    seed: u64,
    collective: &Collective,
) -> Result<BTreeMap<String, f64>, eval::Error> {
    let tick = |units| {
        meter.advance(units);
        Watch(meter.link).tick(collective)
    };
    let session = Session { collective, seed, tick: &tick };
    let features = evaluator.features(&encoder.network, None, &session)?;
    let mut metrics = BTreeMap::new();
    evaluator.all(&features, &session, |figures| {
        meter.found(figures);
        metrics.extend(figures.iter().cloned());
    })?;
    Ok(metrics)
}

/// The labelled images.
struct Images {
    bank: Dataset,
    queries: Dataset,
    /// Images of each class that the encoder learnt from, where those were unbalanced.
    trained_on: Option<Vec<u64>>,
}

impl Images {
    fn open(evaluate: &Evaluate, start: &Start) -> Result<Self, Error> {
        let open = |split| Dataset::open(&evaluate.data, site(start), split);
        let (mut bank, queries) = (open(Split::Train)?, open(Split::Test)?);
        if bank.as_ref().is_some_and(|bank| bank.labels().is_none()) {
            bank = open(Split::Bank)?;
        }
        let bank = bank.expect("the training images are always there");
        let queries = queries.expect("a checked spec has test images");
        for (which, dataset) in [("training", &bank), ("test", &queries)] {
            if dataset.labels().is_none() {
                let fix = "put those of each class into a folder of their own";
                return Err(unfit(format!("evaluate.data: the {which} images have no labels: {fix}")));
            }
        }
        let trained_on =
            evaluate.trained_on.as_ref().map(|subset| class_sizes(evaluate, subset, start)).transpose()?;
        Ok(Self { bank, queries, trained_on })
    }

    fn check_alike(&self, start: &Start, collective: &Collective) -> Result<(), Error> {
        let nodes = collective.gather_bytes(start.node_id.as_str().as_bytes())?;
        let nodes: Vec<NodeId> =
            nodes.iter().map(|node| NodeId::new(String::from_utf8_lossy(node))).collect();
        check_data(&self.bank, &nodes, collective)?;
        check_data(&self.queries, &nodes, collective)
    }

    fn check_fit(&self, description: &Description) -> Result<(), Error> {
        let (takes, have) = (description.n_channels, self.bank.channels());
        if takes == have {
            return Ok(());
        }
        let fix = "name others, or set `image_folder.channels`";
        Err(unfit(format!(
            "evaluate.data: the images have {have} channels, the encoder takes {takes}: {fix}"
        )))
    }

    fn evaluator(
        self,
        evaluate: &Evaluate,
        description: &Description,
        device: Device,
    ) -> Result<Evaluator, Error> {
        let reader = Reader {
            size: description.size,
            color_space: description.color_space,
            mean: description.mean.clone(),
            std: description.std.clone(),
            n_threads: evaluate.threads_per_rank,
            precision: evaluate.precision,
            device,
        };
        let evaluator = Evaluator::new(self.bank, self.queries, evaluate.protocols.clone(), reader);
        match self.trained_on {
            Some(n_images) => Ok(evaluator.after_unbalanced(&n_images)?),
            None => Ok(evaluator),
        }
    }
}

/// How many images of each class are in a subset of the training images.
fn class_sizes(evaluate: &Evaluate, subset: &Subset, start: &Start) -> Result<Vec<u64>, Error> {
    let data = DataSource { subset: Some(subset.clone()), ..evaluate.data.clone() };
    let subset = Dataset::open(&data, site(start), Split::Train)?;
    Ok(subset.expect("the training images are always there").images_per_class())
}

fn unfit(why: String) -> Error {
    eval::Error::Unfit(why).into()
}

/// The encoder that is measured.
struct Encoder {
    description: Description,
    network: nn::Encoder,
    path: String,
    digest: String,
}

impl Encoder {
    /// Takes the first rank's that has it; the ranks that have it have the same.
    fn share(
        own: Option<Exported>,
        evaluate: &Evaluate,
        start: &Start,
        device: Device,
        collective: &Collective,
    ) -> Result<Self, Error> {
        let path = start.data_root.join(&evaluate.encoder);
        let gather = |bytes: Option<&[u8]>| collective.gather_bytes(bytes.unwrap_or_default());
        let digests = gather(own.as_ref().map(|own| own.digest.as_bytes()))?;
        let configs = gather(own.as_ref().map(|own| own.config.as_slice()))?;
        let Some(source) = digests.iter().position(|digest| !digest.is_empty()) else {
            return Err(ReadError::NotFound { path }.into());
        };
        if let Some(rank) = digests.iter().position(|other| !other.is_empty() && *other != digests[source]) {
            let why = format!("is another one on the node of rank {rank} than on that of rank {source}");
            return Err(ReadError::Invalid { path, why }.into());
        }
        let description = Description::parse(&configs[source], &path)?;
        let network = description.build(&setup(evaluate, device));
        if let Some(own) = &own {
            own.load_into(&network)?;
        }
        let tensors: Vec<_> = network.entries().iter().map(|entry| entry.tensor.shallow_clone()).collect();
        collective.broadcast_(&tensors, source as u32)?;
        let digest = String::from_utf8_lossy(&digests[source]).into_owned();
        Ok(Self { description, network, path: path.display().to_string(), digest })
    }

    /// The first rank's is the job's.
    fn result(self, metrics: BTreeMap<String, f64>, start: &Start) -> JobResult {
        if start.rank.0 != 0 {
            return JobResult::default();
        }
        let metrics = metrics.into_iter().collect();
        JobResult { metrics, encoder_path: self.path, encoder_digest: self.digest }
    }
}

fn setup(evaluate: &Evaluate, device: Device) -> Setup {
    Setup {
        seed: evaluate.seed,
        device,
        kind: if evaluate.precision == Precision::Fp64 { Kind::Double } else { Kind::Float },
        channels_last: true,
        batch_norm: BatchNorm::Frozen,
        has_gradient: false,
    }
}

/// Says how far the job is, in units of [`Evaluator::units`].
struct Meter<'a> {
    link: &'a Link,
    voice: Voice<'a>,
    state: RefCell<(Progress, Instant)>,
}

impl<'a> Meter<'a> {
    fn new(link: &'a Link, start: &'a Start, total_steps: u64) -> Self {
        let mut progress = Progress { total_steps, activity: "evaluating".into(), ..Progress::default() };
        let voice = Voice::new(link, start);
        voice.progress(&mut progress);
        Self { link, voice, state: RefCell::new((progress, Instant::now())) }
    }

    fn advance(&self, units: u64) {
        let (progress, said_at) = &mut *self.state.borrow_mut();
        progress.step += units;
        if said_at.elapsed() >= PROGRESS_INTERVAL || progress.step == progress.total_steps {
            self.voice.progress(progress);
            *said_at = Instant::now();
        }
    }

    fn found(&self, figures: &[(String, f64)]) {
        let (progress, _) = &mut *self.state.borrow_mut();
        for (series, value) in figures {
            if series == KNN {
                progress.knn_accuracy_percent = Some(*value);
            }
            tracing::info!(step = progress.step, series, value, "measured");
            self.voice.points(progress.step, &[(series, *value)]);
        }
    }
}
