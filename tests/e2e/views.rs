//! `kindred views`: the picture of what a network sees.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::Result;
use kindred_proto::v1::JobState;
use kindred_tests::{cluster::Cluster, program};
use tempfile::TempDir;

use crate::recipes;

/// Runs `kindred views` on a job below `folder`, which is the data root too.
fn views(folder: &Path, yaml: &str, args: &[&str]) -> Result<Output> {
    let job = folder.join("job.yaml");
    fs::write(&job, yaml)?;
    let mut command = Command::new(program("kindred"));
    command.arg("views").arg(job).args(args).arg("--data-root").arg(folder);
    Ok(command.arg("--png").arg(folder.join("sheet.png")).output()?)
}

/// Width and height in the header of a PNG file.
fn size_of(file: &[u8]) -> (u32, u32) {
    assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"), "a PNG file");
    let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

#[test]
fn a_sheet_of_images_and_their_views_is_drawn() -> Result<()> {
    let folder = TempDir::new()?;
    recipes::write_photographs(&folder.path().join("photos"), 24)?;
    let job = recipes::image_folder("views", "photos", "epochs: 1");
    let output = views(folder.path(), &job, &["-n", "4"])?;
    let path = folder.path().join("sheet.png");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout)?.trim(), path.display().to_string());
    let first = fs::read(&path)?;
    // Four rows of an image and two views of 32 pixels, three times as large, two pixels apart.
    assert_eq!(size_of(&first), (2 + 3 * 98, 2 + 4 * 98));
    assert!(views(folder.path(), &job, &["-n", "4", "--set", "recipe.training.seed=9"])?.status.success());
    assert_ne!(first, fs::read(&path)?, "another seed, another picture");
    Ok(())
}

#[test]
fn what_is_wrong_is_named() -> Result<()> {
    let folder = TempDir::new()?;
    let job = recipes::image_folder("views", "no-such-folder", "epochs: 1");
    for (overrides, code, part) in [
        ("recipe.views=[{}]", 2, "recipe.views: must be the method's 2"),
        ("recipe.training.seed=1", 1, "no-such-folder: not found"),
    ] {
        let output = views(folder.path(), &job, &["--set", overrides])?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(part), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_job_trains_on_views_of_different_sizes() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    recipes::write_photographs(&cluster.data_root(0).join("photos"), 24)?;
    let views = "views: [{crop: {size: 32}, rand_augment: {}}, {crop: {size: 24}, color_space: ydbdr}]";
    let job = recipes::image_folder("sizes", "photos", "epochs: 1");
    let job_id = cluster.submit(&job.replace("  method:", &format!("  {views}\n  method:"))).await?;
    cluster.wait_for(&job_id, Duration::from_secs(90), |job| job.state() == JobState::Succeeded).await?;
    cluster.finish(&[])
}
