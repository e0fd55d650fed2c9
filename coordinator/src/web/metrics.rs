//! `GET /metrics`: what Prometheus scrapes, in the OpenMetrics format.
//!
//! Read at each scrape through the gate, with the token of whoever scrapes: it shows what that token may see. Labels are bounded:
//! there is a series per job that is not over ([`MOST_JOBS`] of them), queue, kind of device and state, and none per rank or node.

use std::{
    collections::BTreeMap,
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use kindred_proto::{
    job_spec::project_of,
    recipe::Method,
    v1::{self, JobState},
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tonic::Status;

use super::{App, api::Api, caller::Credentials, refusal::Refusal};

/// Jobs with series of their own; those beyond count in the sums only.
const MOST_JOBS: usize = 500;
const PAGE_SIZE: u32 = 1000;
/// How far back jobs that ended are counted.
const ENDED_WITHIN: Duration = Duration::from_secs(3600);

type Labels = Vec<(&'static str, String)>;
type Sums = BTreeMap<Labels, f64>;
/// Name, help, and how to read it of a job.
type Reading<T> = (&'static str, &'static str, fn(&v1::Job) -> T);

/// Reads the cluster and its jobs, and writes them down.
pub async fn metrics(State(app): State<App>, credentials: Credentials) -> Result<Response, Refusal> {
    let nodes = read_nodes(&app.api, &credentials).await?;
    let (over, live): (Vec<_>, Vec<_>) = JobState::ALL.into_iter().partition(|state| state.is_terminal());
    let live = read_jobs(&app.api, &credentials, &live, "").await?;
    let since = SystemTime::now().checked_sub(ENDED_WITHIN).map(prost_types::Timestamp::from);
    let recent = format!("end_time > {}", since.unwrap_or_default());
    let over = read_jobs(&app.api, &credentials, &over, &recent).await?;
    let mut sheet = Sheet::default();
    sheet.gauge("kindred_build", "The coordinator; always 1", [(version(), 1.0)]);
    sheet.cluster(&nodes);
    sheet.queue(&live);
    sheet.ended(&over);
    sheet.jobs(&live);
    let text = sheet.text().map_err(|error| Status::internal(error.to_string()))?;
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn read_nodes(api: &Api, credentials: &Credentials) -> Result<Vec<v1::Node>, Status> {
    let mut request = v1::ListNodesRequest { page_size: PAGE_SIZE, ..Default::default() };
    let mut nodes = vec![];
    loop {
        let page: v1::ListNodesResponse =
            api.read(credentials, "/kindred.v1.NodeService/ListNodes", &request).await?;
        nodes.extend(page.nodes);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(nodes);
        }
    }
}

async fn read_jobs(
    api: &Api,
    credentials: &Credentials,
    states: &[JobState],
    filter: &str,
) -> Result<Vec<v1::Job>, Status> {
    let states = states.iter().map(|state| (*state).into()).collect();
    let filter = filter.to_owned();
    let mut request = v1::ListJobsRequest { page_size: PAGE_SIZE, states, filter, ..Default::default() };
    let mut jobs = vec![];
    loop {
        let page: v1::ListJobsResponse =
            api.read(credentials, "/kindred.v1.JobService/ListJobs", &request).await?;
        jobs.extend(page.jobs);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(jobs);
        }
    }
}

fn version() -> Labels {
    vec![("version", env!("CARGO_PKG_VERSION").to_owned())]
}

/// What is written down.
#[derive(Default)]
struct Sheet {
    registry: Registry,
}

impl Sheet {
    fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in samples {
            family.get_or_create(&labels).set(value);
        }
        self.registry.register(name, help, family);
    }

    fn counter(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in samples {
            family.get_or_create(&labels).inc_by(value);
        }
        self.registry.register(name, help, family);
    }

    fn text(self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn cluster(&mut self, nodes: &[v1::Node]) {
        let (mut states, mut devices, mut used) = (Sums::new(), Sums::new(), Sums::new());
        for state in ["ready", "suspect", "lost", "leaving"] {
            states.insert(vec![("state", state.to_owned())], 0.0);
        }
        for kind in ["cpu", "cuda"] {
            devices.insert(vec![("kind", kind.to_owned())], 0.0);
            used.insert(vec![("kind", kind.to_owned())], 0.0);
        }
        let mut n_away = 0;
        for node in nodes {
            add(&mut states, vec![("state", node.state().label())], 1.0);
            n_away += u32::from(node.cordoned || node.quarantined_until.is_some());
            // What is lost is not there to be used.
            if node.state() == v1::NodeState::Lost {
                continue;
            }
            for device in &node.devices {
                let kind = vec![("kind", device.kind().label())];
                let is_used = if device.job_id.is_empty() { 0.0 } else { 1.0 };
                add(&mut used, kind.clone(), is_used);
                add(&mut devices, kind, 1.0);
            }
        }
        self.gauge("kindred_nodes", "Nodes by state", states);
        self.gauge(
            "kindred_nodes_out_of_service",
            "Nodes that are cordoned, draining or in quarantine",
            [(vec![], f64::from(n_away))],
        );
        self.gauge("kindred_devices", "Devices of nodes that are not lost", devices);
        self.gauge("kindred_devices_used", "Devices that a job holds", used);
    }

    fn queue(&mut self, live: &[v1::Job]) {
        let mut states = zeros(false);
        let mut pending = Sums::new();
        let mut oldest: f64 = 0.0;
        // Scalers need a zero, not nothing.
        for kind in ["cpu", "cuda"] {
            pending.insert(vec![("kind", kind.to_owned()), ("queue", "default".to_owned())], 0.0);
        }
        for job in live {
            add(&mut states, vec![("state", job.state().label())], 1.0);
            let (JobState::Pending, Some(spec)) = (job.state(), &job.spec) else { continue };
            let labels = vec![("kind", spec.device().label()), ("queue", spec.queue.clone())];
            add(&mut pending, labels, spec.min_ranks.or(spec.ranks).unwrap_or(1).into());
            oldest = oldest.max(age_s(job.create_time));
        }
        self.gauge("kindred_jobs", "Jobs that are not over, by state", states);
        self.gauge("kindred_pending_devices", "Devices that jobs wait for, at least", pending);
        self.gauge(
            "kindred_pending_oldest_seconds",
            "Since when the job that was submitted first of those that wait is there",
            [(vec![], oldest)],
        );
    }

    fn ended(&mut self, over: &[v1::Job]) {
        let mut states = zeros(true);
        for job in over {
            add(&mut states, vec![("state", job.state().label())], 1.0);
        }
        self.gauge("kindred_jobs_ended_last_hour", "Jobs that ended within an hour, by state", states);
    }

    fn jobs(&mut self, live: &[v1::Job]) {
        let shown: Vec<_> = live.iter().take(MOST_JOBS).map(|job| (labels(job), job)).collect();
        let gauges: [Reading<Option<f64>>; 11] = [
            ("kindred_job_running", "1 while all ranks train", |job| {
                Some(if job.state() == JobState::Running { 1.0 } else { 0.0 })
            }),
            ("kindred_job_ranks", "Ranks of the live generation", |job| Some(job.placements.len() as f64)),
            ("kindred_job_generation", "The newest generation", |job| Some(job.generation as f64)),
            ("kindred_job_step", "Steps that are taken", |job| told(job).map(|told| told.step as f64)),
            ("kindred_job_steps_planned", "Steps of the whole job", |job| {
                told(job).map(|told| told.total_steps as f64)
            }),
            ("kindred_job_loss", "The newest loss", |job| measured(job).map(|told| told.loss)),
            ("kindred_job_learning_rate", "The learning rate", |job| measured(job).map(|told| told.lr)),
            ("kindred_job_images_per_second", "Images of all ranks", |job| {
                measured(job).map(|told| told.images_per_s)
            }),
            ("kindred_job_data_wait_ratio", "Share of a step that waits for data", |job| {
                measured(job).map(|told| told.data_wait_share)
            }),
            ("kindred_job_knn_accuracy_ratio", "The newest kNN accuracy", |job| {
                told(job).and_then(|told| told.knn_accuracy_percent).map(|percent| percent / 100.0)
            }),
            ("kindred_job_goodput_ratio", "Time that counts over time that passed", |job| {
                job.ledger.as_ref().and_then(|ledger| ledger.goodput)
            }),
        ];
        for (name, help, read) in gauges {
            let samples = shown.iter().filter_map(|(labels, job)| Some((labels.clone(), read(job)?)));
            self.gauge(name, help, samples);
        }
        let counters: [Reading<u64>; 3] = [
            ("kindred_job_faults", "Ranks, nodes and links that were lost", |job| {
                job.infrastructure_failures.into()
            }),
            ("kindred_job_recomputed_steps", "Steps that were taken again", |job| {
                job.ledger.as_ref().map_or(0, |ledger| ledger.recomputed_steps)
            }),
            ("kindred_job_preemptions", "How often it gave way", |job| job.preemptions.into()),
        ];
        for (name, help, read) in counters {
            self.counter(name, help, shown.iter().map(|(labels, job)| (labels.clone(), read(job))));
        }
    }
}

/// Nothing, for each state of jobs that are over or are not.
fn zeros(is_over: bool) -> Sums {
    let states = JobState::ALL.into_iter().filter(|state| state.is_terminal() == is_over);
    states.map(|state| (vec![("state", state.label())], 0.0)).collect()
}

fn add(sums: &mut Sums, labels: Labels, value: f64) {
    *sums.entry(labels).or_default() += value;
}

fn labels(job: &v1::Job) -> Labels {
    let spec = job.spec.clone().unwrap_or_default();
    let project = project_of(&spec).to_owned();
    let method = spec.recipe.as_ref().and_then(|recipe| recipe.method.as_ref()).and_then(Method::name_of);
    vec![
        ("job", job.id.clone()),
        ("name", spec.name),
        ("project", project),
        ("method", method.unwrap_or("evaluation").to_owned()),
    ]
}

fn told(job: &v1::Job) -> Option<&v1::Progress> {
    job.progress.as_ref().filter(|told| told.total_steps > 0)
}

/// Before the first reading there is nothing to show.
fn measured(job: &v1::Job) -> Option<&v1::Progress> {
    told(job).filter(|told| told.images_per_s > 0.0)
}

fn age_s(time: Option<prost_types::Timestamp>) -> f64 {
    let time = time.and_then(|time| SystemTime::try_from(time).ok());
    time.and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: v1::NodeState, job_ids: &[&str]) -> v1::Node {
        let device = |job_id: &&str| v1::Device {
            kind: v1::DeviceKind::Cuda.into(),
            job_id: (*job_id).to_owned(),
            ..Default::default()
        };
        v1::Node { state: state.into(), devices: job_ids.iter().map(device).collect(), ..Default::default() }
    }

    fn job(id: usize, state: JobState) -> v1::Job {
        let spec = v1::JobSpec {
            name: format!("name \"{id}\""),
            ranks: Some(4),
            min_ranks: Some(2),
            device: v1::DeviceKind::Cuda.into(),
            queue: "research".to_owned(),
            ..Default::default()
        };
        v1::Job { id: format!("job-{id}"), spec: Some(spec), state: state.into(), ..Default::default() }
    }

    fn text(nodes: &[v1::Node], jobs: &[v1::Job]) -> String {
        let mut sheet = Sheet::default();
        sheet.cluster(nodes);
        sheet.queue(jobs);
        sheet.jobs(jobs);
        sheet.text().expect("text takes all")
    }

    #[test]
    fn devices_of_lost_nodes_are_not_there() {
        let nodes = [node(v1::NodeState::Ready, &["job-1", ""]), node(v1::NodeState::Lost, &["", ""])];
        let text = text(&nodes, &[]);
        for line in [
            "kindred_devices{kind=\"cuda\"} 2.0",
            "kindred_devices_used{kind=\"cuda\"} 1.0",
            "kindred_nodes{state=\"lost\"} 1.0",
            "kindred_nodes{state=\"suspect\"} 0.0",
            "kindred_pending_devices{kind=\"cuda\",queue=\"default\"} 0.0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn waiting_devices_are_those_that_let_jobs_start() {
        let jobs = [job(1, JobState::Pending), job(2, JobState::Pending), job(3, JobState::Running)];
        let text = text(&[], &jobs);
        assert!(text.contains("kindred_pending_devices{kind=\"cuda\",queue=\"research\"} 4.0"), "{text}");
        assert!(text.contains("name=\"name \\\"3\\\"\""), "names are quoted: {text}");
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let jobs: Vec<_> = (0..MOST_JOBS + 50).map(|id| job(id, JobState::Running)).collect();
        let text = text(&[], &jobs);
        let n_series = text.lines().filter(|line| line.starts_with("kindred_job_running{")).count();
        assert_eq!(n_series, MOST_JOBS);
        assert!(
            text.contains(&format!("kindred_jobs{{state=\"running\"}} {}.0", jobs.len())),
            "all are counted"
        );
    }
}
