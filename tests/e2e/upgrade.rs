//! What an upgrade does to a job that runs: coordinator and workers are stopped and started again, one after the other.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kindred_proto::v1::{Job, JobState};
use kindred_tests::cluster::Cluster;

use crate::recipes;

const LIMIT: Duration = Duration::from_secs(120);
const N_STEPS: u64 = 150;

/// Waits until a job has taken some steps more in this generation.
async fn goes_on(cluster: &Cluster, job_id: &str, generation: u64) -> Result<Job> {
    let step = |job: &Job| job.progress.as_ref().map_or(0, |progress| progress.step);
    let before = step(&cluster.job(job_id).await?);
    let is_further = |job: &Job| {
        job.generation == generation && job.state() == JobState::Running && step(job) > before + 3
    };
    cluster.wait_for(job_id, LIMIT, is_further).await
}

#[tokio::test]
async fn a_rolling_restart_of_everything_loses_no_step() -> Result<()> {
    let mut cluster = Cluster::start(2).await?;
    for agent in 0..2 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    let yaml = recipes::fashion_mnist("upgraded", 2, &format!("epochs: 500, max_steps: {N_STEPS}"));
    let job_id = cluster.submit(&yaml).await?;
    goes_on(&cluster, &job_id, 1).await?;

    cluster.stop_coordinator().await?;
    cluster.start_coordinator().await?;
    goes_on(&cluster, &job_id, 1).await.context("the coordinator adopts the ranks that run")?;
    for agent in 0..2 {
        cluster.stop_agent(agent).await?;
        cluster.start_agent(agent, &[])?;
        goes_on(&cluster, &job_id, agent as u64 + 2).await.context("the job goes on with the new worker")?;
    }

    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    let ledger = job.ledger.context("a job has one")?;
    assert_eq!((job.generation, ledger.recomputed_steps), (3, 0));
    let points = cluster.points(&job_id, "loss").await?;
    let taken: Vec<u64> = points.iter().map(|point| point.step).collect();
    assert_eq!(taken, (1..=N_STEPS).collect::<Vec<u64>>(), "every step once");
    cluster.finish(&[
        "no stream to the coordinator; trying again",
        "agent disconnected",
        "whose agent leaves",
        // Where the new worker is there before the old one's leave was decided upon.
        "where it was stopped without an order",
    ])
}
