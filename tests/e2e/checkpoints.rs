//! What users do with checkpoints: pin one, pause a job on one, start another job from one.

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Result, ensure};
use kindred_proto::v1::{self, JobState};
use kindred_tests::{cluster::Cluster, program};

use crate::recipes;

const LIMIT: Duration = Duration::from_secs(150);

async fn kindred(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program("kindred"));
    command.args(["--coordinator", cluster.address()]).args(arguments);
    let output: Output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

async fn checkpoints(cluster: &Cluster, job_id: &str) -> Result<Vec<v1::Checkpoint>> {
    let list = v1::ListCheckpointsRequest { job_id: job_id.into(), ..Default::default() };
    Ok(cluster.jobs().await?.list_checkpoints(list).await?.into_inner().checkpoints)
}

/// One device: the fork can only run while the first job is suspended.
#[tokio::test]
async fn a_job_is_suspended_forked_from_a_pinned_checkpoint_and_resumed() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    recipes::link_fashion_mnist(&cluster.data_root(0))?;
    let yaml = recipes::fashion_mnist("first", 1, "epochs: 500, max_steps: 200")
        .replace("every_steps: 20", "every_steps: 20, keep_last: 1");
    let first = cluster.submit(&yaml).await?;
    let job = cluster.wait_for(&first, LIMIT, |job| job.newest_checkpoint.is_some()).await?;
    let pinned = job.newest_checkpoint.expect("it was waited for");
    kindred(&cluster, &["checkpoints", "pin", &first, &pinned.id]).await?;
    kindred(&cluster, &["suspend", &first]).await?;
    let job = cluster.wait_for(&first, LIMIT, |job| job.state() == JobState::Suspended).await?;
    assert_eq!(cluster.rank_pids(0)?, [0; 0], "its device is free");
    let paused_at = job.newest_checkpoint.expect("it wrote one").step;
    assert!(paused_at > pinned.step, "{paused_at}");

    let n_steps = format!("recipe.training.max_steps={}", pinned.step + 5);
    let fork = kindred(&cluster, &["fork", &first, "--checkpoint", &pinned.id, "--set", &n_steps]).await?;
    cluster.wait_for(&fork, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    let (of_first, of_fork) = (cluster.points(&first, "loss").await?, cluster.points(&fork, "loss").await?);
    let next = |points: &[v1::MetricPoint]| -> Option<f64> {
        points.iter().find(|point| point.step == pinned.step + 1).map(|point| point.value)
    };
    assert_eq!(of_fork.iter().map(|point| point.step).min(), Some(pinned.step + 1));
    assert_eq!(next(&of_fork), next(&of_first), "from the same state");

    kindred(&cluster, &["resume", &first]).await?;
    let job = cluster.wait_for(&first, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    assert_eq!((job.generation, job.infrastructure_failures), (2, 0));
    let points = cluster.points(&first, "loss").await?;
    let taken: Vec<u64> = points.iter().map(|point| point.step).collect();
    assert_eq!(taken, (1..=200).collect::<Vec<u64>>(), "every step once");
    let resumed = points.iter().find(|point| point.generation == 2).map(|point| point.step);
    assert_eq!(resumed, Some(paused_at + 1), "no step is taken twice");
    let kept = checkpoints(&cluster, &first).await?;
    assert_eq!(
        kept.iter().map(|kept| (kept.step, kept.pinned)).collect::<Vec<_>>(),
        [(200, false), (pinned.step, true)]
    );
    for checkpoint in &kept {
        assert!(Path::new(&checkpoint.path).join("manifest.json").is_file(), "{}", checkpoint.path);
    }
    let folder = Path::new(&pinned.path).parent().expect("a checkpoint is in a folder");
    assert!(std::fs::read_dir(folder)?.count() <= 3, "what is let go of is removed");
    cluster.finish(&[])
}
