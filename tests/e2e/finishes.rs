//! Jobs that nothing happens to.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Result;
use kindred_proto::v1::{self, JobState};
use kindred_tests::{cluster::Cluster, program};

use crate::recipes;

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn two_ranks_train_on_real_images_and_leave_an_encoder() -> Result<()> {
    let cluster = Cluster::start(2).await?;
    for agent in 0..2 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    let yaml = recipes::fashion_mnist("sce", 2, "epochs: 1").replace(
        "evaluation: {knn: {enabled: false}, linear: {enabled: false}}",
        "evaluation: {knn: {bank_limit: 2000}, linear: {max_iterations: 5}}",
    );
    let job_id = cluster.submit(&yaml).await?;
    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;

    let result = job.result.expect("a job that succeeded has a result");
    for name in [
        "knn_accuracy_percent",
        "knn_random_encoder_percent",
        "knn_raw_pixels_percent",
        "linear_accuracy_percent",
        "linear_random_encoder_percent",
    ] {
        let value = result.metrics.get(name).copied().unwrap_or_default();
        assert!(value > 20.0 && value <= 100.0, "{name} = {value}");
    }
    assert!(Path::new(&result.encoder_path).is_file(), "{}", result.encoder_path);
    let loss = cluster.points(&job_id, "loss").await?;
    let steps: Vec<u64> = loss.iter().map(|point| point.step).collect();
    assert_eq!(steps, (1..=64).collect::<Vec<u64>>(), "one loss a step");
    let list = v1::ListCheckpointsRequest { job_id: job_id.clone(), ..Default::default() };
    let checkpoints = cluster.jobs().await?.list_checkpoints(list).await?.into_inner().checkpoints;
    assert_eq!(checkpoints[0].step, 64, "the last step is a checkpoint");
    cluster.finish(&[])
}

#[tokio::test]
async fn a_job_that_waits_says_why_and_starts_when_a_node_joins() -> Result<()> {
    let mut cluster = Cluster::start(1).await?;
    let job_id = cluster.submit(&recipes::fashion_mnist("waits", 2, "epochs: 1, max_steps: 5")).await?;
    let job = cluster.wait_for(&job_id, LIMIT, |job| !job.reason.is_empty()).await?;
    assert_eq!(job.state(), JobState::Pending);
    assert!(job.reason.contains("needs 2 cpu devices"), "{}", job.reason);
    for agent in 0..2 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    cluster.start_agent(1, &[])?;
    cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    cluster.finish(&[])
}

#[tokio::test]
async fn a_running_job_is_cancelled_and_its_ranks_are_gone() -> Result<()> {
    let cluster = Cluster::start(2).await?;
    for agent in 0..2 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    let job_id = cluster.submit(&recipes::fashion_mnist("cancelled", 2, "epochs: 500")).await?;
    cluster.wait_for(&job_id, LIMIT, |job| job.progress.as_ref().is_some_and(|p| p.step > 3)).await?;
    let request =
        v1::CancelJobRequest { job_id: job_id.clone(), reason: "enough".into(), ..Default::default() };
    cluster.jobs().await?.cancel_job(request).await?;
    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Cancelled).await?;
    assert!(job.reason.contains("enough"), "{}", job.reason);
    assert_eq!(cluster.rank_pids(0)?.len() + cluster.rank_pids(1)?.len(), 0);
    cluster.finish(&[])
}

#[tokio::test]
async fn the_command_line_follows_a_job_to_its_end() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    recipes::link_fashion_mnist(&cluster.data_root(0))?;
    let file = cluster.folder().join("job.yaml");
    std::fs::write(&file, recipes::fashion_mnist("cli", 1, "epochs: 1"))?;
    let kindred = |arguments: &[&str]| {
        let mut command = Command::new(program("kindred"));
        command.args(["--coordinator", cluster.address()]).args(arguments);
        tokio::task::spawn_blocking(move || command.output())
    };
    let file = file.to_str().expect("a temporary path is UTF-8");
    let output = kindred(&["submit", file, "--watch", "--set", "recipe.training.max_steps=12"]).await??;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert!(out.lines().last().is_some_and(|line| line.starts_with("encoder=")), "{out}\n{err}");

    for (arguments, expected) in [
        (&["jobs"][..], "succeeded"),
        (&["get", "job-1", "-o", "json"], "\"max_steps\""),
        (&["get", "job-1", "-o", "yaml"], "max_steps: 12"),
        (&["metrics", "job-1", "--series", "loss"], "12"),
        (&["checkpoints", "job-1"], "step-000000000012-g1"),
        (&["nodes"], "node-0"),
        (&["logs", "job-1"], "rank"),
        (&["watch", "job-1"], "encoder="),
    ] {
        let output = kindred(arguments).await??;
        let out = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(output.status.success() && out.contains(expected), "{arguments:?}: {output:?}");
    }
    cluster.finish(&[])
}
