//! Jobs that measure the encoder of another.

use std::{collections::HashMap, process::Output, time::Duration};

use anyhow::Result;
use kindred_proto::v1::{self, JobState};
use kindred_tests::{cluster::Cluster, processes::kill_pid, program};

use crate::recipes;

const LIMIT: Duration = Duration::from_secs(120);

/// The command line, as a user of this cluster runs it.
async fn kindred(cluster: &Cluster, arguments: &[&str]) -> Result<Output> {
    let mut command = std::process::Command::new(program("kindred"));
    command.args(["--coordinator", cluster.address()]).args(arguments);
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

async fn figures(cluster: &Cluster, ranks: u32) -> Result<HashMap<String, f64>> {
    let ranks = format!("ranks={ranks}");
    let settings = [
        "evaluate.precision=fp64",
        "evaluate.protocols.linear.max_iterations=5",
        "evaluate.protocols.further=[{purity: {}}, {linear: {preset: isd, epochs: 1, labelled_share: 0.1}}]",
        &ranks,
    ];
    let settings: Vec<&str> = settings.into_iter().flat_map(|setting| ["--set", setting]).collect();
    let arguments = [&["eval", "job-1", "--watch", "-o", "json"][..], &settings].concat();
    let output = kindred(cluster, &arguments).await?;
    assert!(output.status.success(), "{output:?}\n{}", cluster.logs());
    let job: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(job["spec"]["name"], "eval-encoder");
    Ok(serde_json::from_value(job["result"]["metrics"].clone())?)
}

/// Two nodes, and an encoder that job-1 left.
async fn with_encoder() -> Result<Cluster> {
    let cluster = Cluster::start_with(2, Duration::from_secs(5)).await?;
    for agent in 0..2 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    let job_id = cluster.submit(&recipes::fashion_mnist("encoder", 1, "epochs: 1, max_steps: 5")).await?;
    cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    Ok(cluster)
}

#[tokio::test]
async fn two_ranks_give_the_figures_of_one_and_jobs_can_be_compared() -> Result<()> {
    let cluster = with_encoder().await?;
    let (one, two) = (figures(&cluster, 1).await?, figures(&cluster, 2).await?);
    assert_eq!((one.len(), two.len()), (6, 6), "{one:?}");
    for (name, value) in &one {
        assert!(*value > 10.0 && (two[name] - value).abs() < 1e-9, "{name}: {value} and {}", two[name]);
    }

    for file in ["curves.svg", "curves.png"] {
        let path = cluster.folder().join(file);
        let path = path.to_str().expect("a temporary path is UTF-8");
        let output = kindred(&cluster, &["compare", "job-1", "job-2", "job-3", "--plot", path]).await?;
        let table = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && table.contains("purity_5_percent"), "{output:?}");
        assert!(table.lines().any(|line| line.split_whitespace().eq(["ranks", "1", "1", "2"])), "{table}");
        assert!(std::fs::metadata(path)?.len() > 1000, "{path}");
    }
    cluster.finish(&[])
}

#[tokio::test]
async fn an_evaluation_outlives_a_lost_rank_and_ends_when_cancelled() -> Result<()> {
    let cluster = with_encoder().await?;
    let endless = "evaluate.protocols={knn: {enabled: false}, linear: {preset: isd, epochs: 100000}}";
    let arguments = ["eval", "job-1", "--set", "ranks=2", "--set", endless];
    let output = kindred(&cluster, &arguments).await?;
    assert!(output.status.success(), "{output:?}");
    let is_probing = |job: &v1::Job| job.progress.as_ref().is_some_and(|progress| progress.step > 60);
    cluster.wait_for("job-2", LIMIT, is_probing).await?;
    kill_pid(cluster.rank_pids(1)?[0])?;
    cluster.wait_for("job-2", LIMIT, |job| job.generation == 2 && is_probing(job)).await?;

    let output = kindred(&cluster, &["cancel", "job-2"]).await?;
    assert!(output.status.success(), "{output:?}");
    cluster.wait_for("job-2", LIMIT, |job| job.state() == JobState::Cancelled).await?;
    cluster.finish(&[
        "ended by signal 9",
        "rank failed job_id=job-2 generation=1",
        "gloo/transport/tcp/pair.cc",
    ])
}
