//! What a user can get wrong: each fault names the field or the file, and nothing is lost.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Result;
use kindred_proto::v1::{FailureKind, FailureReason, Job, JobState, LogLevel};
use kindred_tests::{cluster::Cluster, program};

use crate::recipes;

const LIMIT: Duration = Duration::from_secs(90);

/// Runs `kindred submit` on a job and returns exit code and error text.
fn submit_fails(cluster: &Cluster, yaml: &str) -> Result<(Option<i32>, String)> {
    let file = cluster.folder().join("bad.yaml");
    fs::write(&file, yaml)?;
    let output = Command::new(program("kindred"))
        .args(["--coordinator", cluster.address(), "submit"])
        .arg(&file)
        .output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

async fn fails(cluster: &Cluster, yaml: &str) -> Result<Job> {
    let job_id = cluster.submit(yaml).await?;
    cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Failed).await
}

fn assert_user_failure(job: &Job, reason: FailureReason, parts: &[&str]) {
    let failure = job.failure.as_ref().expect("a failed job says why");
    assert_eq!((failure.kind(), failure.reason()), (FailureKind::User, reason), "{}", failure.message);
    let text = format!("{} {}", failure.message, failure.subject);
    for part in parts {
        assert!(text.contains(part), "{text:?} does not name {part:?}");
    }
}

#[tokio::test]
async fn specs_that_cannot_run_are_refused_before_anything_starts() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let good = recipes::fashion_mnist("bad", 2, "epochs: 1");
    for (wrong, right, parts) in [
        ("global_batch: 64", "global_bach: 64", &["recipe.training", "global_bach", "global_batch"][..]),
        ("global_batch: 64", "global_batch: 63", &["recipe.training.global_batch", "63", "2"]),
        ("epochs: 1", "epochs: 0", &["recipe.training.epochs"]),
        ("depth: 18", "depth: 19", &["recipe.encoder.resnet.depth", "19"]),
        ("lr: 0.03", "lr: -1", &["recipe.optimizer.sgd.lr", "-1"]),
    ] {
        let (code, error) = submit_fails(&cluster, &good.replace(wrong, right))?;
        assert_eq!(code, Some(2), "{error}");
        for part in parts {
            assert!(error.contains(part), "{error:?} does not name {part:?}");
        }
    }
    let jobs = cluster.jobs().await?.list_jobs(kindred_proto::v1::ListJobsRequest::default()).await?;
    assert!(jobs.into_inner().jobs.is_empty(), "nothing was stored");
    cluster.finish(&[])
}

#[test]
fn a_wrong_port_is_named() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let output = Command::new(program("kindred")).args(["--coordinator", &free, "jobs"]).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains(&free), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_missing_folder_is_named() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let job = fails(&cluster, &recipes::image_folder("missing", "no-such-folder", "epochs: 1")).await?;
    assert_user_failure(&job, FailureReason::DataNotFound, &["no-such-folder"]);
    cluster.finish(&["no-such-folder"])
}

#[tokio::test]
async fn a_folder_outside_of_what_the_node_allows_is_not_read() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    for folder in ["/etc", "../../../../../etc"] {
        let job = fails(&cluster, &recipes::image_folder("outside", folder, "epochs: 1")).await?;
        assert_user_failure(&job, FailureReason::SpecInvalid, &["recipe.data", "/etc", "--allow-root"]);
    }
    cluster.finish(&["outside of the folders"])
}

#[tokio::test]
async fn a_truncated_jpeg_is_named_and_the_steps_before_it_stay() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let folder = cluster.data_root(0).join("photos");
    recipes::write_photographs(&folder, 80)?;
    let whole = fs::read(folder.join("photo-007.jpg"))?;
    fs::write(folder.join("photo-007.jpg"), &whole[..whole.len() / 2])?;
    let yaml = recipes::image_folder("truncated", "photos", "epochs: 1") + "  checkpoint: {every_steps: 1}\n";
    let job = fails(&cluster, &yaml).await?;
    assert_user_failure(&job, FailureReason::DataInvalid, &["photo-007.jpg"]);
    let newest = job.newest_checkpoint.expect("the steps before the file left a checkpoint");
    let taken = job.progress.expect("steps were taken").step;
    assert_eq!(newest.step, taken, "the newest one is of the last step");
    assert!(Path::new(&newest.path).join("manifest.json").exists(), "{}", newest.path);
    cluster.finish(&["photo-007.jpg"])
}

#[tokio::test]
async fn a_loss_that_is_not_finite_ends_the_job_with_its_step_and_section() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    recipes::write_photographs(&cluster.data_root(0).join("photos"), 24)?;
    let yaml = recipes::image_folder("diverges", "photos", "epochs: 200").replace("lr: 0.03", "lr: 10000");
    let job = fails(&cluster, &yaml).await?;
    assert_user_failure(&job, FailureReason::NotFinite, &["step", "recipe.optimizer"]);
    cluster.finish(&["finite"])
}

#[tokio::test]
async fn nodes_whose_data_differ_are_named_with_the_file() -> Result<()> {
    let cluster = Cluster::start(2).await?;
    for agent in 0..2 {
        recipes::write_photographs(&cluster.data_root(agent).join("photos"), 24)?;
    }
    let other = cluster.data_root(1).join("photos/photo-011.jpg");
    let mut bytes = fs::read(&other)?;
    bytes.extend_from_slice(b"another file");
    fs::write(&other, bytes)?;
    let yaml = recipes::image_folder("differ", "photos", "epochs: 1").replace("ranks: 1", "ranks: 2");
    let job = fails(&cluster, &yaml).await?;
    assert_user_failure(&job, FailureReason::DataDiffers, &["node-", "photo-011.jpg"]);
    cluster.finish(&["differ"])
}

#[tokio::test]
async fn an_unreadable_checkpoint_is_named_and_the_one_before_it_is_used() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    recipes::link_fashion_mnist(&cluster.data_root(0))?;
    let job_id = cluster.submit(&recipes::fashion_mnist("damaged", 1, "epochs: 500, max_steps: 200")).await?;
    let job = cluster
        .wait_for(&job_id, LIMIT, |job| job.newest_checkpoint.as_ref().is_some_and(|c| c.step >= 40))
        .await?;
    assert!(job.newest_checkpoint.is_some_and(|newest| newest.step >= 40));
    let checkpoints = cluster.folder().join("jobs-0").join(&job_id).join("checkpoints");
    for entry in fs::read_dir(&checkpoints)?.flatten() {
        let is_first = entry.file_name().to_string_lossy().starts_with("step-000000000020");
        if !is_first {
            fs::write(entry.path().join("state.safetensors"), b"not a checkpoint").ok();
        }
    }
    kindred_tests::processes::kill_pid(cluster.rank_pids(0)?[0])?;
    cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    let lines = cluster.job_log(&job_id).await?;
    let passed_over =
        lines.iter().find(|line| line.level() == LogLevel::Warn && line.message.contains("unreadable"));
    let fields = &passed_over.expect("the job's log says what was passed over").fields;
    assert!(fields["error"].contains("state.safetensors"), "{fields:?}");
    let points = cluster.points(&job_id, "loss").await?;
    assert_eq!(points.iter().find(|point| point.generation == 2).map(|point| point.step), Some(21));
    cluster.finish(&["signal 9", "rank"])
}
