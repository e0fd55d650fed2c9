//! Jobs whose number of ranks changes while they run.

use std::time::Duration;

use anyhow::Result;
use kindred_proto::v1::{CancelJobRequest, Job, JobState};
use kindred_tests::{cluster::Cluster, processes::kill_pid};

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
    let n_ranks = |n: usize| move |job: &Job| job.state() == JobState::Running && job.placements.len() == n;
    let grown = cluster.wait_for(&job_id, LIMIT, n_ranks(3)).await?;
    assert_eq!((grown.generation, grown.infrastructure_failures), (2, 0), "{}", grown.reason);
    assert_eq!(
        [cluster.rank_pids(0)?, cluster.rank_pids(1)?],
        first,
        "those that were there keep their processes"
    );

    go_on(&cluster, &job_id, &grown).await?;

    kill_pid(first[1][0])?;
    let shrunk = cluster.wait_for(&job_id, LIMIT, |job| job.generation == 3).await?;
    assert_eq!((shrunk.placements.len(), shrunk.infrastructure_failures), (2, 1), "it waits for nobody");
    let again = cluster.wait_for(&job_id, LIMIT, n_ranks(3)).await?;
    assert_eq!((again.generation, cluster.rank_pids(0)?), (4, first[0].clone()));
    go_on(&cluster, &job_id, &again).await?;

    let request = CancelJobRequest { job_id: job_id.clone(), ..Default::default() };
    cluster.jobs().await?.cancel_job(request).await?;
    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Cancelled).await?;
    let intervals = job.ledger.map(|ledger| ledger.intervals).unwrap_or_default();
    let sizes: Vec<_> = intervals.iter().map(|it| (it.generation, it.world_size)).collect();
    assert_eq!(sizes, [(1, 2), (2, 3), (3, 2), (4, 3)]);
    assert_eq!(intervals[0].first_step, 1);
    assert!(intervals.windows(2).all(|pair| pair[1].first_step == pair[0].last_step + 1), "every step once");
    cluster.finish(&[
        "ended by signal 9",
        "rank failed job_id=job-1 generation=2",
        "gloo/transport/tcp/pair.cc",
        "a newer generation of the job meets",
    ])
}

/// Waits for some steps of a generation that is at work.
async fn go_on(cluster: &Cluster, job_id: &str, at_work: &Job) -> Result<()> {
    let reached = at_work.progress.as_ref().map_or(0, |seen| seen.step);
    let has_gone_on = |job: &Job| job.progress.as_ref().is_some_and(|seen| seen.step > reached + 10);
    cluster.wait_for(job_id, LIMIT, has_gone_on).await.map(drop)
}
