//! Checkpoints that outlive the node that wrote them.

use std::{process::Command, time::Duration};

use anyhow::Result;
use kindred_tests::{
    cluster::Cluster,
    moves::{LOST_NODE, to_another_node},
    program,
};

use crate::recipes;

#[tokio::test]
async fn a_job_whose_node_is_gone_for_good_goes_on_elsewhere_from_the_store() -> Result<()> {
    let mut cluster = Cluster::start_with(0, Duration::from_secs(3)).await?;
    for agent in 0..2 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    let shared = cluster.folder().join("shared");
    std::fs::create_dir(&shared)?;
    let yaml = recipes::fashion_mnist("try", 1, "epochs: 500, max_steps: 120");
    let url = format!("file://{}", shared.display());
    let moved = to_another_node(&mut cluster, &yaml, &url).await?;

    let newest = moved.newest_checkpoint.expect("a job that ended has one");
    let table = Command::new(program("kindred"))
        .args(["--coordinator", cluster.address(), "checkpoints", &moved.id])
        .output()?;
    assert!(String::from_utf8_lossy(&table.stdout).contains(&newest.url), "{table:?}");
    let kept =
        std::fs::read_dir(shared.join(newest.url.trim_start_matches(&url).trim_matches('/')).join(".."))?;
    assert!(kept.count() <= 4, "what is let go of is removed: three stay, and what is not recorded yet");
    cluster.finish(&LOST_NODE)
}

#[test]
fn a_checkpoint_store_that_is_none_is_refused_at_the_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(program("kindred-worker"))
        .args(["--coordinator", "127.0.0.1:9", "--checkpoint-store", "ftp://host/folder", "--state"])
        .arg(folder.path())
        .output()?;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("--checkpoint-store") && text.contains("s3://BUCKET/PREFIX"), "{text}");
    Ok(())
}
