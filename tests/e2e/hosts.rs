//! What needs a host of its own: two network namespaces, a small disk. User namespaces give both without root.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result};
use kindred_tests::{logs, program};

use crate::recipes;

/// Runs one of the scripts beside this file as root of new namespaces, with the programs' folder and a work folder.
fn in_namespaces(script: &str, kinds: &str, folder: &Path) -> Result<Output> {
    let programs = program("kindred");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e").join(script);
    Command::new("unshare")
        .args([kinds, "--map-root-user", "bash"])
        .arg(script)
        .arg(programs.parent().expect("a program is in a folder"))
        .arg(folder)
        .output()
        .context("unshare comes with util-linux; user namespaces must be allowed")
}

fn assert_succeeded(output: &Output, folder: &Path) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}\n{}", output.status, logs::tails(folder));
}

#[test]
fn two_hosts_train_one_job() -> Result<()> {
    let folder = tempfile::tempdir()?;
    recipes::link_fashion_mnist(&folder.path().join("data"))?;
    let yaml = recipes::fashion_mnist("hosts", 2, "epochs: 1, max_steps: 30");
    std::fs::write(folder.path().join("job.yaml"), yaml)?;
    let output = in_namespaces("two_hosts.sh", "-Umn", folder.path())?;
    assert_succeeded(&output, folder.path());
    let out = String::from_utf8_lossy(&output.stdout);
    for expected in ["encoder=", "placed on 10.77.0.1", "placed on 10.77.0.2"] {
        assert!(out.contains(expected), "{expected:?} is missing:\n{out}\n{}", logs::tails(folder.path()));
    }
    assert_eq!(logs::unexpected(folder.path(), &[])?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_full_disk_is_named_and_the_checkpoints_before_it_stay() -> Result<()> {
    let folder = tempfile::tempdir()?;
    recipes::link_fashion_mnist(&folder.path().join("data"))?;
    let yaml = recipes::fashion_mnist("full", 1, "epochs: 500, max_steps: 200");
    std::fs::write(
        folder.path().join("job.yaml"),
        yaml.replace("every_steps: 20", "every_steps: 20, keep_last: 9"),
    )?;
    let output = in_namespaces("full_disk.sh", "-Um", folder.path())?;
    assert_succeeded(&output, folder.path());
    let out = String::from_utf8_lossy(&output.stdout);
    for expected in ["DISK_FULL", "small-disk", "step-000000000020-g1", "every manifest holds"] {
        assert!(out.contains(expected), "{expected:?} is missing:\n{out}\n{}", logs::tails(folder.path()));
    }
    Ok(())
}
