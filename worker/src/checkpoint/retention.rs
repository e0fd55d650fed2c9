//! Which folders below `checkpoints/` are checkpoints, which of them stay, and what dead processes left.

use std::{
    cmp::Reverse,
    io,
    path::{Path, PathBuf},
};

use kindred_proto::ids::{CheckpointId, Generation, Step};
use rustix::process::{Pid, getpid, test_kill_process};

use super::{
    Error,
    files::{folders_in, remove_folder},
};

const STAGING_PREFIX: &str = ".partial-";

/// Removes the checkpoints that are let go of: those that are not among `kept`, and not newer than the newest of these. Newer
/// ones are not recorded yet. Newest is what the newest generation wrote last: after a checkpoint was passed over as unreadable,
/// one of a later generation may hold fewer steps.
///
/// # Errors
/// When a folder cannot be listed or removed.
pub fn remove_all_but(checkpoints: &Path, kept: &[CheckpointId]) -> Result<(), Error> {
    for name in let_go(folders_in(checkpoints)?, kept) {
        remove_folder(&checkpoints.join(name))?;
    }
    Ok(())
}

/// Those names of checkpoints that are let go of.
pub(super) fn let_go(names: Vec<String>, kept: &[CheckpointId]) -> Vec<String> {
    let newest =
        kept.iter().filter_map(|id| parse(id.as_str())).map(|(step, generation)| (generation, step)).max();
    let mut gone = Vec::new();
    for (step, generation, name) in parsed(names) {
        if Some((generation, step)) <= newest && kept.iter().all(|id| id.as_str() != name) {
            gone.push(name);
        }
    }
    gone
}

/// Removes what processes that are gone began to write.
///
/// # Errors
/// When a folder cannot be listed or removed.
pub fn remove_leftovers(checkpoints: &Path) -> Result<(), Error> {
    for name in folders_in(checkpoints)? {
        if let Some(pid) = staging_pid(&name)
            && (pid == getpid() || test_kill_process(pid).is_err())
        {
            remove_folder(&checkpoints.join(name))?;
        }
    }
    Ok(())
}

/// Moves checkpoints aside that lie where a new job's belong: those of a job of the same name under a coordinator whose
/// journal is gone. Returns where they are now.
///
/// # Errors
/// When a folder cannot be listed or renamed.
pub fn set_aside(checkpoints: &Path) -> Result<Option<PathBuf>, Error> {
    if order_by_step(folders_in(checkpoints)?).is_empty() {
        return Ok(None);
    }
    let beside = (1..).map(|n| checkpoints.with_file_name(format!("checkpoints-before-{n}")));
    let free = beside.into_iter().find(|path| !path.exists()).expect("numbers do not run out");
    match std::fs::rename(checkpoints, &free) {
        // A rank that shares this disk was first.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(&free, error)),
        Ok(()) => Ok(Some(free)),
    }
}

/// Names of checkpoints, the most advanced first; other names are left out.
pub(super) fn order_by_step(names: Vec<String>) -> Vec<String> {
    let mut names = parsed(names);
    names.sort_by_key(|(step, generation, _)| Reverse((*step, *generation)));
    names.into_iter().map(|(_, _, name)| name).collect()
}

/// The folder in which this process writes a checkpoint.
pub(super) fn staging_name(id: &CheckpointId) -> String {
    format!("{STAGING_PREFIX}{}-{id}", getpid().as_raw_nonzero())
}

fn staging_pid(name: &str) -> Option<Pid> {
    let (pid, _) = name.strip_prefix(STAGING_PREFIX)?.split_once('-')?;
    Pid::from_raw(pid.parse().ok()?)
}

fn parsed(names: Vec<String>) -> Vec<(Step, Generation, String)> {
    let mut parsed = Vec::new();
    for name in names {
        if let Some((step, generation)) = parse(&name) {
            parsed.push((step, generation, name));
        }
    }
    parsed
}

/// The step and the generation in a checkpoint's name.
pub(super) fn parse(name: &str) -> Option<(Step, Generation)> {
    let (step, generation) = name.strip_prefix("step-")?.split_once("-g")?;
    Some((Step(step.parse().ok()?), Generation(generation.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in names {
            std::fs::create_dir_all(folder.path().join(name)).expect("a new folder");
        }
        folder
    }

    fn left(folder: &tempfile::TempDir) -> Vec<String> {
        let mut names = folders_in(folder.path()).expect("a folder that exists");
        names.sort();
        names
    }

    #[test]
    fn another_jobs_checkpoints_are_moved_aside_and_kept() {
        let job = folders(&["checkpoints/step-000000000020-g1", "checkpoints-before-1/step-000000000040-g3"]);
        let checkpoints = job.path().join("checkpoints");
        let aside = set_aside(&checkpoints).expect("renames").expect("there is one");
        assert_eq!(aside, job.path().join("checkpoints-before-2"));
        assert!(aside.join("step-000000000020-g1").is_dir());
        assert_eq!(set_aside(&checkpoints).expect("nothing to do"), None);
    }

    #[test]
    fn what_is_kept_stays_and_so_does_what_is_not_recorded_yet() {
        let folder = folders(&[
            "step-000000000005-g1",
            "step-000000000010-g1",
            "step-000000000015-g2",
            "step-000000000020-g1",
            "step-000000000025-g2",
            "other",
        ]);
        remove_all_but(folder.path(), &[]).expect("removes");
        assert_eq!(left(&folder).len(), 6, "nothing is recorded yet");
        let kept = ["step-000000000005-g1", "step-000000000015-g2"].map(CheckpointId::new);
        remove_all_but(folder.path(), &kept).expect("removes");
        let expected = ["other", "step-000000000005-g1", "step-000000000015-g2", "step-000000000025-g2"];
        assert_eq!(left(&folder), expected);
    }

    #[test]
    fn the_most_advanced_checkpoint_is_tried_first() {
        let names = ["step-000000000015-g2", "step-000000000020-g1", ".partial-1-x", "step-000000000015-g3"];
        let ordered = order_by_step(names.map(String::from).to_vec());
        assert_eq!(ordered, ["step-000000000020-g1", "step-000000000015-g3", "step-000000000015-g2"]);
    }

    #[test]
    fn leftovers_of_dead_processes_are_removed_and_those_of_live_ones_stay() {
        let parent = rustix::process::getppid().expect("a test has a parent").as_raw_nonzero();
        let live = format!(".partial-{parent}-step-000000000001-g1");
        let folder = folders(&[".partial-2147483646-step-000000000001-g1", &live]);
        remove_leftovers(folder.path()).expect("removes");
        assert_eq!(left(&folder), [live]);
    }
}
