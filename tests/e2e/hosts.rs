//! What needs hosts of its own: a network, a small disk. User namespaces give both without root.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result};
use kindred_proto::v1::Interval;
use kindred_tests::{logs, program};

use crate::{
    lineage::{Sizes, assert_each_sample_once, consumed},
    recipes,
};

/// Runs one of the scripts beside this file as root of new namespaces, with the programs' folder, a work folder and more.
fn in_namespaces(script: &str, kinds: &str, folder: &Path, further: &[&str]) -> Result<Output> {
    let programs = program("kindred");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e").join(script);
    Command::new("unshare")
        .args([kinds, "--map-root-user", "bash"])
        .arg(script)
        .arg(programs.parent().expect("a program is in a folder"))
        .arg(folder)
        .args(further)
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
    fs::write(folder.path().join("job.yaml"), yaml)?;
    let output = in_namespaces("two_hosts.sh", "-Umn", folder.path(), &[])?;
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
    fs::write(
        folder.path().join("job.yaml"),
        yaml.replace("every_steps: 20", "every_steps: 20, keep_last: 9"),
    )?;
    let output = in_namespaces("full_disk.sh", "-Um", folder.path(), &[])?;
    assert_succeeded(&output, folder.path());
    let out = String::from_utf8_lossy(&output.stdout);
    for expected in ["DISK_FULL", "small-disk", "step-000000000020-g1", "every manifest holds"] {
        assert!(out.contains(expected), "{expected:?} is missing:\n{out}\n{}", logs::tails(folder.path()));
    }
    Ok(())
}

const N_STEPS: u64 = 256;

/// What a job that was cut came to.
struct Ended {
    job: serde_json::Value,
    intervals: Vec<Interval>,
}

impl Ended {
    fn read(path: &Path) -> Result<Self> {
        let job: serde_json::Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        let intervals = job["ledger"]["intervals"].as_array().context("it was placed")?;
        let number = |it: &serde_json::Value, field: &str| it[field].as_u64().unwrap_or_default();
        let intervals = intervals.iter().map(|it| Interval {
            generation: number(it, "generation"),
            world_size: number(it, "world_size") as u32,
            first_step: number(it, "first_step"),
            last_step: number(it, "last_step"),
        });
        Ok(Self { intervals: intervals.collect(), job })
    }

    /// The generation that took a step, by the ledger.
    fn owner(&self, step: u64) -> Option<u64> {
        let owner = self.intervals.iter().find(|it| (it.first_step..=it.last_step).contains(&step));
        owner.map(|interval| interval.generation)
    }
}

/// Cuts the network of a job of two ranks for longer than its detection budget. The job succeeds; what lies on the workers' disks is
/// what the ledger says, and each sample was taken once.
fn train_through_a_cut(cut: &str) -> Result<Ended> {
    let folder = tempfile::tempdir()?;
    recipes::link_fashion_mnist(&folder.path().join("data"))?;
    let yaml = recipes::fashion_mnist("cut", 2, &format!("epochs: 500, max_steps: {N_STEPS}"));
    fs::write(folder.path().join("job.yaml"), format!("{yaml}\nmin_ranks: 1\nmax_ranks: 2\n"))?;
    let output = in_namespaces("partition.sh", "-Umn", folder.path(), &[cut])?;
    assert_succeeded(&output, folder.path());
    let ended = Ended::read(&folder.path().join("job.json"))?;
    for host in 2..=3 {
        for entry in fs::read_dir(folder.path().join(format!("jobs{host}/job-1/checkpoints")))? {
            let name = entry?.file_name().into_string().expect("names are plain");
            let (step, generation) =
                name.trim_start_matches("step-").split_once("-g").context("a checkpoint")?;
            assert_eq!(ended.owner(step.parse()?), Some(generation.parse()?), "{name} on host {host}");
        }
    }
    let sizes = Sizes { n_images: 4096, global_batch: 64, seed: 0 };
    assert_each_sample_once(&consumed(&ended.intervals, sizes), N_STEPS / 64, sizes.n_images);
    Ok(ended)
}

#[test]
fn a_worker_that_is_cut_off_leaves_nothing_behind_and_comes_back() -> Result<()> {
    let ended = train_through_a_cut("worker")?;
    let sizes: Vec<u32> = ended.intervals.iter().map(|it| it.world_size).collect();
    assert_eq!(sizes, [2, 1, 2], "{}", ended.job);
    Ok(())
}

/// It takes all nodes for lost, and so do they: they take no further step that counts, and go on with what they hold.
#[test]
fn a_coordinator_that_is_cut_off_finds_its_workers_where_they_were() -> Result<()> {
    let ended = train_through_a_cut("coordinator")?;
    let recomputed = ended.job["ledger"]["recomputed_steps"].as_u64();
    assert!(recomputed.is_some_and(|steps| steps < 20), "no checkpoint was gone back to: {}", ended.job);
    Ok(())
}

/// Nothing tells them that the others' words are lost: they wait, and go on where they were.
#[test]
fn workers_that_cannot_reach_one_another_for_a_while_wait() -> Result<()> {
    let ended = train_through_a_cut("ranks")?;
    assert_eq!(ended.job["ledger"]["recomputed_steps"], 0, "{}", ended.job);
    Ok(())
}
