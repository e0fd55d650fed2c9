//! `CreateJob` on SQLite with 64 clients, beside one sync per job on the same disk, in turns.
//!
//!     bench_create FOLDER [ROUNDS] [SECONDS]
//!
//! Both sides are whole coordinators over gRPC with as many clients; one of them commits each job by itself. Beside them, in a row
//! apart: how many jobs one caller stores one by one without any RPC or decision, which is what the disk allows. Ends with a
//! table; the exit code is 0 whatever was measured.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use kindred_coordinator::{
    config::Config,
    journal::{Events, Journal, Sqlite},
    model::{Change, JobChange, Submission, Timestamp},
    server,
};
use kindred_proto::{
    ids::JobId,
    job_spec::{self, AnySpec},
    v1::{self, job_service_client::JobServiceClient},
};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

const N_CLIENTS: usize = 64;
const GOAL: f64 = 5.0;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().context("bench_create FOLDER [ROUNDS] [SECONDS]")?);
    let n_rounds = args.next().map_or(Ok(5), |text| text.parse())?;
    let span = Duration::from_secs(args.next().map_or(Ok(5), |text| text.parse())?);
    let (mut bare, mut single, mut many, mut latencies) = (vec![], vec![], vec![], vec![]);
    for round in 0..n_rounds {
        let folder = folder.join(round.to_string());
        bare.push(one_by_one(&folder.join("bare"), span).await?);
        single.push(with_clients(&folder.join("single"), 1, span).await?.0);
        let (rate, waits) = with_clients(&folder.join("many"), Config::new(&folder).turn_len, span).await?;
        many.push(rate);
        latencies.extend(waits);
        say(&format!("round {round}: {:.0} and {:.0} jobs/s", single[round], many[round]));
    }
    let mut ratios: Vec<f64> = many.iter().zip(&single).map(|(many, single)| many / single).collect();
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    say(&format!("stored one by one without RPC: {} jobs/s", spread(&mut bare)));
    say(&format!("{N_CLIENTS} clients, one sync per job: {} jobs/s", spread(&mut single)));
    say(&format!(
        "{N_CLIENTS} clients: {} jobs/s; CreateJob takes {:.1} ms (p50), {:.1} ms (p99), {:.1} ms (most)",
        spread(&mut many),
        at(0.5),
        at(0.99),
        at(1.0)
    ));
    let text = spread(&mut ratios);
    let met = if ratios[ratios.len() / 2] >= GOAL { "yes" } else { "no" };
    say("\nfigure | measured | goal | met");
    say(&format!(
        "2 CreateJob with {N_CLIENTS} clients, against one sync per job | {text} | at least {GOAL}x | {met}"
    ));
    Ok(())
}

/// Jobs a second, each stored and synced before the next.
async fn one_by_one(folder: &Path, span: Duration) -> Result<f64> {
    std::fs::create_dir_all(folder)?;
    let mut journal = Sqlite::open(folder.join("journal.sqlite")).await?;
    let submission = Box::new(Submission::new(&AnySpec::check(&spec()?)?));
    let (started, mut n_jobs) = (Instant::now(), 0_u64);
    while started.elapsed() < span {
        n_jobs += 1;
        let (job_id, at) = (JobId::new(format!("job-{n_jobs}")), Timestamp(0));
        let request_id = Uuid::new_v4().to_string();
        let accepted = JobChange::Accepted { request_id, submission: submission.clone() };
        let waits = JobChange::Waits { reason: "waits for devices".to_owned() };
        let changes = [Change::job(&job_id, at, accepted), Change::job(&job_id, at, waits)];
        journal.append(&changes, &Events::default()).await?;
    }
    Ok(n_jobs as f64 / started.elapsed().as_secs_f64())
}

/// Jobs a second over gRPC, and how long each call took.
async fn with_clients(folder: &Path, turn_len: usize, span: Duration) -> Result<(f64, Vec<Duration>)> {
    std::fs::create_dir_all(folder)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr()?))?;
    let (config, shutdown) = (Config { turn_len, ..Config::new(folder) }, CancellationToken::new());
    let clients = async {
        let outcome = all_clients(&endpoint, span).await;
        shutdown.cancel();
        outcome
    };
    let (served, outcome) = tokio::join!(server::run(&config, listener, shutdown.clone()), clients);
    served?;
    outcome
}

async fn all_clients(endpoint: &Endpoint, span: Duration) -> Result<(f64, Vec<Duration>)> {
    let spec = spec()?;
    let mut clients = JoinSet::new();
    let started = Instant::now();
    for _ in 0..N_CLIENTS {
        clients.spawn(submit_until(endpoint.connect().await?, spec.clone(), started + span));
    }
    let mut waits = vec![];
    while let Some(ended) = clients.join_next().await {
        waits.extend(ended??);
    }
    Ok((waits.len() as f64 / started.elapsed().as_secs_f64(), waits))
}

async fn submit_until(channel: Channel, spec: v1::JobSpec, end: Instant) -> Result<Vec<Duration>> {
    let mut client = JobServiceClient::new(channel);
    let mut waits = vec![];
    while Instant::now() < end {
        let (spec, request_id) = (Some(spec.clone()), Uuid::new_v4().to_string());
        let asked = Instant::now();
        client.create_job(v1::CreateJobRequest { spec, request_id, ..Default::default() }).await?;
        waits.push(asked.elapsed());
    }
    Ok(waits)
}

fn spec() -> Result<v1::JobSpec> {
    Ok(job_spec::from_yaml(include_str!("../../deploy/jobs/sce-fashion-mnist.yaml"), &[])?)
}

/// `median [min..max] n`; sorts the values.
fn spread(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let (least, most) = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0));
    format!(
        "{:.2} [{least:.2}..{most:.2}] n={}",
        values.get(values.len() / 2).copied().unwrap_or(0.0),
        values.len()
    )
}

fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}
