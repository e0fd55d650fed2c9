//! The leader of two coordinators is killed again and again under load: no acknowledged job is lost or run twice, another one
//! takes over within seconds, and jobs that run do not stop.
//!
//! `KINDRED_FAILOVERS` kills (2): `make test-full` takes 5, `make bench-failover` 50. Needs PostgreSQL.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kindred_proto::v1::{self, JobState, job_service_client::JobServiceClient};
use kindred_tests::program;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use load::{Load, Submitter, spec};
use pair::{LIMIT, Pair};

mod load;
mod pair;

const N_CLIENTS: usize = 8;
const N_LONG_JOBS: usize = 4;
/// The longest that a take-over may take, from the kill to the first job that the new leader acknowledges.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(5);

fn n_kills() -> usize {
    std::env::var("KINDRED_FAILOVERS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

#[tokio::test]
async fn nothing_is_lost_or_run_twice_when_leaders_die() -> Result<()> {
    let Some(mut pair) = Pair::start(2, 8).await? else { return Ok(()) };
    let addresses = pair.addresses();
    let mut user = submitter(&addresses);
    let mut long_jobs = vec![];
    for number in 0..N_LONG_JOBS {
        long_jobs.push(user.submit(&spec(&format!("long-{number}"), "meet train steps:100")).await);
    }
    for job_id in &long_jobs {
        job_when(&pair, job_id, |job| job.state() == JobState::Running).await?;
    }

    let load = Load::start(N_CLIENTS, &addresses);
    let mut take_overs = vec![];
    for round in 0..n_kills() {
        sleep(Duration::from_millis(300 + fastrand::u64(0..1500))).await;
        let n_before = load.n_acknowledged();
        let leader = pair.leader().await?;
        let killed_at = Instant::now();
        pair.kill(leader)?;
        user.submit(&spec(&format!("probe-{round}"), "meet train progress:1 finish:/e")).await;
        take_overs.push(killed_at.elapsed());
        println!("take-over {round}: {:.2} s; {n_before} jobs before", take_overs[round].as_secs_f64());
        if round == 0 {
            the_command_line_follows(&pair, &addresses).await?;
        }
        pair.wait_for_agents().await?;
        pair.start_coordinator(leader).await?;
    }
    let acknowledged = load.stop().await;

    check_jobs(&pair, &acknowledged, &long_jobs).await?;
    let (figures, longest) = figures(&take_overs, acknowledged.len());
    println!("{figures}");
    pair.finish(&[
        "no stream to the coordinator; trying again",
        "agent disconnected",
        "the coordinator was held up; no lease ran meanwhile",
    ])?;
    ensure!(longest <= TAKE_OVER_LIMIT, "a take-over took {longest:?}");
    Ok(())
}

fn submitter(addresses: &str) -> Submitter {
    Submitter { addresses: addresses.split(',').map(str::to_owned).collect(), asked: 0, channel: None }
}

/// A job once it is as wanted.
async fn job_when(pair: &Pair, job_id: &str, is_wanted: impl Fn(&v1::Job) -> bool) -> Result<v1::Job> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let job = pair.job(job_id).await?;
        if is_wanted(&job) {
            return Ok(job);
        }
        ensure!(Instant::now() < deadline, "{job_id} does not get there: {job:#?}\n{}", pair.logs());
        sleep(Duration::from_millis(100)).await;
    }
}

/// The CLI asks whoever answers, and goes on at the leader.
async fn the_command_line_follows(pair: &Pair, addresses: &str) -> Result<()> {
    let file = pair.path("job.yaml");
    std::fs::write(&file, kindred_proto::job_spec::to_yaml(&spec("by-hand", "meet train finish:/e")))?;
    for list in [addresses.to_owned(), addresses.split(',').rev().collect::<Vec<_>>().join(",")] {
        let mut command = Command::new(program("kindred"));
        command.args(["--coordinator", &list, "submit", "--watch"]).arg(&file);
        let output = command.output().await?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kindred --coordinator {list}: {text}\n{}", pair.logs());
    }
    Ok(())
}

async fn check_jobs(
    pair: &Pair,
    acknowledged: &BTreeMap<String, String>,
    long_jobs: &[String],
) -> Result<()> {
    for job_id in acknowledged.values() {
        let job = job_when(pair, job_id, |job| job.state() == JobState::Succeeded).await?;
        ensure!(job.generation == 1, "{job_id} ran as generation {}: {job:#?}", job.generation);
    }
    let jobs = pair.jobs().await?;
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for job in jobs {
        ids.entry(job.spec.context("a spec")?.name).or_default().push(job.id);
    }
    for (name, job_id) in acknowledged {
        ensure!(
            ids.get(name) == Some(&vec![job_id.clone()]),
            "{name} was acknowledged as {job_id}: {:?}",
            ids.get(name)
        );
    }
    for job_id in long_jobs {
        let job = job_when(pair, job_id, |job| job.state() == JobState::Running).await?;
        ensure!(job.generation == 1, "{job_id} was started again: {job:#?}");
        check_steps(pair, job_id).await?;
    }
    let starts = pair.starts()?;
    let unique: BTreeSet<_> = starts.iter().collect();
    ensure!(unique.len() == starts.len(), "a rank was started twice");
    Ok(())
}

/// The job took every step, and each is known: metrics outlast their coordinator too.
async fn check_steps(pair: &Pair, job_id: &str) -> Result<()> {
    let mut client = JobServiceClient::new(pair.channel().await?);
    let request =
        v1::ListMetricsRequest { job_id: job_id.to_owned(), page_size: 10_000, ..Default::default() };
    let points = client.list_metrics(request).await?.into_inner().points;
    let steps: Vec<u64> = points.iter().map(|point| point.step).collect();
    let expected: Vec<u64> = (1..=steps.len() as u64).collect();
    ensure!(steps == expected && steps.len() > 10, "steps of {job_id}: {steps:?}");
    Ok(())
}

/// The figures in words, and the longest take-over.
fn figures(take_overs: &[Duration], n_jobs: usize) -> (String, Duration) {
    let mut sorted = take_overs.to_vec();
    sorted.sort();
    let (median, longest) = (sorted[sorted.len() / 2], sorted.last().copied().unwrap_or_default());
    let text = format!(
        "{} leaders killed under load: take-over {:.2} s (median), {:.2} s (most); {n_jobs} jobs acknowledged, none lost or run \
         twice; {N_LONG_JOBS} jobs ran on",
        take_overs.len(),
        median.as_secs_f64(),
        longest.as_secs_f64()
    );
    (text, longest)
}
