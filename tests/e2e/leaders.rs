//! Rank 0's node and the coordinator: neither is what a job depends on, nor both together.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kindred_proto::v1::{Job, JobState};
use kindred_tests::cluster::Cluster;
use tokio::time::sleep;

use crate::{
    lineage::{Sizes, assert_each_sample_once, consumed},
    recipes,
};

const LIMIT: Duration = Duration::from_secs(150);
const N_STEPS: u64 = 200;

/// The agent that runs rank 0.
fn first_node(job: &Job) -> Result<usize> {
    let first = job.placements.iter().find(|placement| placement.rank == 0).context("rank 0 is placed")?;
    Ok(first.node_name.trim_start_matches("node-").parse()?)
}

fn committed(job: &Job) -> u64 {
    job.newest_checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step)
}

/// Waits until a generation after `job`'s has committed something new.
async fn goes_on(cluster: &Cluster, job_id: &str, job: &Job) -> Result<Job> {
    let is_further = |now: &Job| now.generation > job.generation && committed(now) > committed(job);
    cluster.wait_for(job_id, LIMIT, is_further).await
}

/// Three nodes for two ranks. The node of rank 0 is killed; then that of the new rank 0 and the coordinator at once.
#[tokio::test]
async fn rank_0s_node_and_the_coordinator_are_killed_and_nothing_committed_is_lost() -> Result<()> {
    let mut cluster = Cluster::start_with(3, Duration::from_secs(3)).await?;
    for agent in 0..3 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    let training = format!("epochs: 500, max_steps: {N_STEPS}");
    let job_id = cluster.submit(&recipes::fashion_mnist("leaders", 2, &training)).await?;
    let job = cluster.wait_for(&job_id, LIMIT, |job| committed(job) > 0).await?;
    let lost = first_node(&job)?;
    cluster.kill_agent(lost)?;
    let second = goes_on(&cluster, &job_id, &job).await?;
    cluster.start_agent(lost, &[])?;
    cluster.wait_for_nodes(3).await?;

    let second = cluster.job(&job_id).await.unwrap_or(second);
    cluster.kill_coordinator()?;
    cluster.kill_agent(first_node(&second)?)?;
    sleep(Duration::from_secs(1)).await;
    cluster.start_coordinator().await?;
    goes_on(&cluster, &job_id, &second).await?;

    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    let ledger = job.ledger.context("it was placed")?;
    let begins: Vec<(u64, u64)> = ledger.intervals.iter().map(|it| (it.generation, it.first_step)).collect();
    let after = |generation: u64| begins.iter().filter(move |(owner, _)| *owner > generation);
    assert!(after(second.generation).all(|(_, first)| *first > committed(&second)), "{begins:?}");
    assert!(after(1).all(|(_, first)| *first > 20), "the first checkpoint is of step 20: {begins:?}");
    let sizes = Sizes { n_images: 4096, global_batch: 64, seed: 0 };
    assert_each_sample_once(&consumed(&ledger.intervals, sizes), N_STEPS / 64, sizes.n_images);
    cluster.finish(&[
        "agent disconnected",
        "rank failed job_id=job-1",
        "generation ends early",
        "no stream to the coordinator; trying again",
        "was lost with node-",
        "gloo/transport/tcp/pair.cc",
    ])
}
