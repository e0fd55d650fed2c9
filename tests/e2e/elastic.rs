//! Jobs whose number of ranks changes while they run.

use std::time::Duration;

use anyhow::Result;
use kindred_proto::v1::{CancelJobRequest, JobState};
use kindred_tests::cluster::{Cluster, kill_pid};

use crate::recipes;

const LIMIT: Duration = Duration::from_secs(150);

/// Two ranks, then three, then two again when one is killed, and three once its device has another.
#[tokio::test]
async fn a_job_grows_and_shrinks_without_a_restart() -> Result<()> {
    let mut cluster = Cluster::start_with(2, Duration::from_secs(5)).await?;
    for agent in 0..3 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    let spec =
        recipes::fashion_mnist("elastic", 2, "epochs: 500").replace("global_batch: 64", "global_batch: 48");
    let job_id = cluster.submit(&format!("{spec}\nmin_ranks: 1\nmax_ranks: 3\n")).await?;
    cluster.wait_for(&job_id, LIMIT, |job| job.progress.as_ref().is_some_and(|seen| seen.step > 10)).await?;
    let first = [cluster.rank_pids(0)?, cluster.rank_pids(1)?];

    cluster.start_agent(2, &[])?;
    let n_ranks = |n: usize| {
        move |job: &kindred_proto::v1::Job| job.state() == JobState::Running && job.placements.len() == n
    };
    let grown = cluster.wait_for(&job_id, LIMIT, n_ranks(3)).await?;
    assert_eq!((grown.generation, grown.infrastructure_failures), (2, 0), "{}", grown.reason);
    assert_eq!(
        [cluster.rank_pids(0)?, cluster.rank_pids(1)?],
        first,
        "those that were there keep their processes"
    );

    kill_pid(first[1][0])?;
    let shrunk = cluster.wait_for(&job_id, LIMIT, |job| job.generation == 3).await?;
    assert_eq!((shrunk.placements.len(), shrunk.infrastructure_failures), (2, 1), "it waits for nobody");
    let again = cluster.wait_for(&job_id, LIMIT, n_ranks(3)).await?;
    assert_eq!((again.generation, cluster.rank_pids(0)?), (4, first[0].clone()));
    let reached = again.progress.map_or(0, |seen| seen.step);
    cluster
        .wait_for(&job_id, LIMIT, |job| job.progress.as_ref().is_some_and(|seen| seen.step > reached + 10))
        .await?;

    let request = CancelJobRequest { job_id: job_id.clone(), ..Default::default() };
    cluster.jobs().await?.cancel_job(request).await?;
    cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Cancelled).await?;
    let points = cluster.points(&job_id, "loss").await?;
    let taken: Vec<u64> = points.iter().map(|point| point.step).collect();
    assert_eq!(taken, (1..=taken.len() as u64).collect::<Vec<u64>>(), "every step once");
    let of_generation = |generation| points.iter().any(|point| point.generation == generation);
    assert!((1..=4).all(of_generation), "steps of every generation");
    cluster.finish(&[
        "ended by signal 9",
        "rank failed job_id=job-1 generation=2",
        "gloo/transport/tcp/pair.cc",
        "a newer generation of the job meets",
    ])
}
