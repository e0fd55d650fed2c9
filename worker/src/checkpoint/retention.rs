//! Which folders below `checkpoints/` are checkpoints, which of them stay, and what dead processes left.

use std::{
    cmp::Reverse,
    io,
    path::{Path, PathBuf},
};

use kindred_proto::ids::{CheckpointId, Generation, Step};
use rustix::process::{Pid, getpid, test_kill_process};

use super::{
    Error, Manifest,
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

/// What was found where a new job's checkpoints belong.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The newest checkpoint of the job itself.
    pub own: Option<CheckpointId>,
    /// Where those of others are now.
    pub aside: Option<PathBuf>,
}

/// Moves checkpoints aside that lie where a new job's belong: those of a job of the same name under a coordinator whose
/// journal is gone, which took it in at another time. Those that cannot be read are nobody's, and move too. One by one, so that what
/// the job itself commits meanwhile stays.
///
/// # Errors
/// When a folder cannot be listed or renamed.
pub fn set_aside_others(checkpoints: &Path, job_created_unix_ms: i64) -> Result<Earlier, Error> {
    let mut earlier = Earlier::default();
    for name in order_by_step(folders_in(checkpoints)?) {
        let folder = checkpoints.join(&name);
        if Manifest::read(&folder).is_ok_and(|manifest| manifest.job_created_unix_ms == job_created_unix_ms) {
            earlier.own.get_or_insert_with(|| CheckpointId::new(&name));
            continue;
        }
        let aside = match &earlier.aside {
            Some(aside) => aside,
            None => earlier.aside.insert(folder_beside(checkpoints)?),
        };
        match std::fs::rename(&folder, aside.join(&name)) {
            // A rank that shares this disk was first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(|error| Error::io(&folder, error))?,
        }
    }
    Ok(earlier)
}

/// A new folder beside the checkpoints.
fn folder_beside(checkpoints: &Path) -> Result<PathBuf, Error> {
    for n in 1.. {
        let path = checkpoints.with_file_name(format!("checkpoints-before-{n}"));
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path.clone()).map_err(|error| Error::io(&path, error)),
        }
    }
    unreachable!("numbers do not run out")
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
    use std::collections::BTreeMap;

    use kindred_proto::ids::{JobId, WorldSize};

    use super::*;
    use crate::checkpoint::MANIFEST_FILE;

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

    /// Puts the manifest of a job into a checkpoint's folder.
    fn put_manifest(folder: &Path, job_created_unix_ms: i64) {
        let manifest = Manifest {
            job_id: JobId::new("job-1"),
            job_created_unix_ms,
            generation: Generation(1),
            world_size: WorldSize(1),
            step: Step(20),
            epoch: 0.5,
            recipe_digest: "recipe".into(),
            dataset_digest: "images".into(),
            files: Vec::new(),
            metrics: BTreeMap::new(),
            time_unix_ms: 1,
        };
        std::fs::write(folder.join(MANIFEST_FILE), manifest.to_json()).expect("writes");
    }

    #[test]
    fn another_jobs_checkpoints_are_moved_aside_and_kept() {
        let [unread, foreign] = ["step-000000000010-g1", "step-000000000020-g1"];
        let job = folders(&["checkpoints-before-1/step-000000000040-g3"]);
        let checkpoints = job.path().join("checkpoints");
        for name in [unread, foreign] {
            std::fs::create_dir_all(checkpoints.join(name)).expect("a new folder");
        }
        put_manifest(&checkpoints.join(foreign), 16);
        let aside = job.path().join("checkpoints-before-2");
        let found = set_aside_others(&checkpoints, 17).expect("renames");
        assert_eq!(found, Earlier { own: None, aside: Some(aside.clone()) });
        assert!(aside.join(foreign).join(MANIFEST_FILE).is_file() && aside.join(unread).is_dir());
        assert_eq!(set_aside_others(&checkpoints, 17).expect("nothing to do"), Earlier::default());
    }

    #[test]
    fn a_jobs_own_checkpoints_stay_where_they_are() {
        let [older, own, foreign] = ["step-000000000010-g1", "step-000000000020-g2", "step-000000000030-g1"];
        let job = folders(&[]);
        let checkpoints = job.path().join("checkpoints");
        for (name, created) in [(older, 17), (own, 17), (foreign, 16)] {
            std::fs::create_dir_all(checkpoints.join(name)).expect("a new folder");
            put_manifest(&checkpoints.join(name), created);
        }
        let found = set_aside_others(&checkpoints, 17).expect("renames");
        assert_eq!(found.own, Some(CheckpointId::new(own)));
        assert!(checkpoints.join(older).is_dir() && checkpoints.join(own).is_dir());
        assert!(found.aside.expect("one moved").join(foreign).is_dir());
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
