//! A job whose node goes for good, and that goes on elsewhere from what is in a checkpoint store.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kindred_proto::v1::{self, JobState};

use crate::cluster::Cluster;

/// How long each part of it may take.
const LIMIT: Duration = Duration::from_secs(240);

/// What a coordinator says of a node that goes.
pub const LOST_NODE: [&str; 4] =
    ["agent disconnected", "which sent no report for", "rank failed", "node lost"];

/// Runs a job on one node without a store, then the same on node 0 with one, which is killed once a checkpoint is recorded, and on
/// node 1, which shares nothing with it, to the end. Both must end with the same bits. Returns the second job as it ended.
///
/// # Errors
/// When the second is not the same as the first, or did not go on from the recorded checkpoint.
pub async fn to_another_node(cluster: &mut Cluster, yaml: &str, url: &str) -> Result<v1::Job> {
    cluster.start_agent(0, &[])?;
    cluster.wait_for_nodes(1).await?;
    let job_id = cluster.submit(yaml).await?;
    let straight = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    let expected = state(&straight)?;
    cluster.kill_agent(0)?;
    cluster.wait_for_no_node().await?;

    let store = ["--checkpoint-store", url, "--checkpoint-store-timeout", "20s"];
    cluster.start_agent(0, &store)?;
    cluster.wait_for_nodes(1).await?;
    let job_id = cluster.submit(&yaml.replace("name: ", "name: moved-")).await?;
    let job = cluster
        .wait_for(&job_id, LIMIT, |job| job.newest_checkpoint.as_ref().is_some_and(|it| !it.url.is_empty()))
        .await?;
    let first = job.newest_checkpoint.context("it was waited for")?;
    ensure!(first.url.starts_with(url), "{first:?}");
    cluster.kill_agent(0)?;
    fs::remove_dir_all(cluster.folder().join("jobs-0"))?;

    cluster.start_agent(1, &store)?;
    let moved = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    let last = moved.newest_checkpoint.clone().context("a job that ended has one")?;
    ensure!(last.node_id != first.node_id && !last.url.is_empty(), "{last:?}");
    let ledger = moved.ledger.clone().context("a job has one")?;
    let began_at = ledger.intervals.last().context("it ran")?.first_step;
    ensure!(moved.generation >= 2 && began_at > first.step, "began at step {began_at}");
    ensure!(state(&moved)? == expected, "the last checkpoints differ");
    let digest = |job: &v1::Job| job.result.as_ref().map(|result| result.encoder_digest.clone());
    ensure!(digest(&straight).is_some() && digest(&straight) == digest(&moved), "the encoders differ");
    Ok(moved)
}

/// The tensors of a job's last checkpoint, as bytes.
fn state(job: &v1::Job) -> Result<Vec<u8>> {
    let checkpoint = job.newest_checkpoint.as_ref().context("a job that ended has one")?;
    Ok(fs::read(Path::new(&checkpoint.path).join("state.safetensors"))?)
}
