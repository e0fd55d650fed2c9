//! Reading: the newest checkpoint that is what its manifest says.

use std::path::{Path, PathBuf};

use tch::Tensor;

use super::{
    Error, MANIFEST_FILE, Manifest, STATE_FILE,
    files::{digest_of_file, folders_in},
    retention::order_by_step,
    tensors::restore,
};

/// A checkpoint whose files were read and verified.
pub struct Opened {
    /// What it holds.
    pub manifest: Manifest,
    folder: PathBuf,
    state: Vec<u8>,
}

/// The most advanced checkpoint in a folder whose every digest holds. One that does not is named in the log and
/// passed over.
///
/// # Errors
/// When the folder cannot be listed.
pub fn newest_good(checkpoints: &Path) -> Result<Option<Opened>, Error> {
    for name in order_by_step(folders_in(checkpoints)?) {
        match Opened::read(checkpoints.join(name)) {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) => tracing::warn!(%error, "checkpoint unreadable, trying the one before"),
        }
    }
    Ok(None)
}

/// The checkpoint in a folder, if it is the one whose manifest has this digest; none when nothing is there.
///
/// # Errors
/// When it is another one, or not what its manifest says.
pub fn recorded(folder: &Path, manifest_digest: &str) -> Result<Option<Opened>, Error> {
    let manifest = folder.join(MANIFEST_FILE);
    if !manifest.exists() {
        return Ok(None);
    }
    if digest_of_file(&manifest)? != manifest_digest {
        return Err(Error::unreadable(&manifest, "digest differs from the one that was recorded"));
    }
    Opened::read(folder.to_path_buf()).map(Some)
}

impl Opened {
    pub(super) fn read(folder: PathBuf) -> Result<Self, Error> {
        let manifest = Manifest::read(&folder)?;
        let mut state = None;
        for file in &manifest.files {
            let bytes = file.read_verified(&folder)?;
            if file.name == STATE_FILE {
                state = Some(bytes);
            }
        }
        let missing = || Error::unreadable(&folder.join(STATE_FILE), "not in the manifest");
        Ok(Self { state: state.ok_or_else(missing)?, manifest, folder })
    }

    /// The checkpoint's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Refuses a checkpoint that was made from another recipe or other data.
    ///
    /// # Errors
    /// When a digest differs.
    pub fn check_origin(&self, recipe_digest: &str, dataset_digest: &str) -> Result<(), Error> {
        let manifest = &self.manifest;
        let pairs = [
            ("recipe", recipe_digest, &manifest.recipe_digest),
            ("data set", dataset_digest, &manifest.dataset_digest),
        ];
        for (what, expected, found) in pairs {
            if expected != found {
                let (path, expected, found) = (self.folder.clone(), expected.to_owned(), found.clone());
                return Err(Error::Foreign { path, what, expected, found });
            }
        }
        Ok(())
    }

    /// Copies the stored tensors into those of the same name.
    ///
    /// # Errors
    /// When names or shapes differ.
    pub fn restore(&self, into: &[(String, Tensor)]) -> Result<(), Error> {
        restore(&self.state, &self.folder.join(STATE_FILE), into)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use kindred_proto::ids::{Generation, JobId, Step, WorldSize};
    use tch::{Device, Kind};

    use super::*;
    use crate::checkpoint::{MANIFEST_FILE, stage};

    fn manifest(step: u64) -> Manifest {
        Manifest {
            job_id: JobId::new("job-1"),
            job_created_unix_ms: 17,
            generation: Generation(1),
            world_size: WorldSize(2),
            step: Step(step),
            epoch: 0.5,
            recipe_digest: "recipe".into(),
            dataset_digest: "images".into(),
            files: Vec::new(),
            metrics: BTreeMap::from([("knn_random_encoder_percent".into(), 76.25)]),
            time_unix_ms: 1,
        }
    }

    fn state(value: f64) -> Vec<(String, Tensor)> {
        let conv = Tensor::full([2, 3, 2, 2], value, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let count = Tensor::full([], value as i64, (Kind::Int64, Device::Cpu));
        vec![("conv.weight".into(), conv), ("pointer".into(), count)]
    }

    fn write(folder: &Path, step: u64) -> PathBuf {
        let staged = stage(folder, manifest(step), &state(step as f64)).expect("stages");
        let target = staged.target().to_path_buf();
        staged.commit().expect("commits");
        target
    }

    fn opened_step(folder: &Path) -> Option<u64> {
        newest_good(folder).expect("a folder that can be listed").map(|opened| opened.manifest.step.0)
    }

    #[test]
    fn what_is_written_is_read_back_into_any_layout() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), 7);
        let opened = newest_good(folder.path()).expect("lists").expect("one is there");
        let target = state(0.0);
        opened.restore(&target).expect("restores");
        assert_eq!(target[0].1.sum(Kind::Double).double_value(&[]), 7.0 * 24.0);
        assert!(target[0].1.requires_grad());
        assert_eq!(target[1].1.int64_value(&[]), 7);
        assert_eq!(opened.manifest.metrics, manifest(7).metrics);
    }

    #[test]
    fn c1_a_checkpoint_without_a_manifest_does_not_exist() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        drop(stage(folder.path(), manifest(3), &state(3.0)).expect("stages"));
        assert_eq!(opened_step(folder.path()), None);
        assert_eq!(
            fs::read_dir(folder.path()).expect("lists").count(),
            0,
            "a refused checkpoint leaves nothing"
        );
        let target = write(folder.path(), 4);
        fs::remove_file(target.join(MANIFEST_FILE)).expect("removes");
        assert_eq!(opened_step(folder.path()), None);
    }

    #[test]
    fn c1_an_unreadable_checkpoint_is_passed_over_for_the_one_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), 10);
        let newest = write(folder.path(), 20).join(STATE_FILE);
        let mut bytes = fs::read(&newest).expect("reads");
        *bytes.last_mut().expect("a file with bytes") ^= 1;
        fs::write(&newest, &bytes).expect("writes");
        assert_eq!(opened_step(folder.path()), Some(10));
        let error = Opened::read(newest.parent().expect("a folder").into()).err().expect("it is refused");
        assert_eq!(error.path(), Some(newest.as_path()));
        bytes.pop();
        fs::write(&newest, &bytes).expect("writes");
        assert_eq!(opened_step(folder.path()), Some(10));
    }

    #[test]
    fn a_checkpoint_of_another_recipe_or_of_other_data_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), 5);
        let opened = newest_good(folder.path()).expect("lists").expect("one is there");
        opened.check_origin("recipe", "images").expect("its own");
        let error = opened.check_origin("recipe", "more images").expect_err("other data");
        assert!(error.to_string().contains("belongs to another data set"), "{error}");
        opened.check_origin("other", "images").expect_err("another recipe");
    }

    #[test]
    fn a_recorded_checkpoint_is_told_from_another_in_its_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let staged = stage(folder.path(), manifest(5), &state(5.0)).expect("stages");
        let (target, digest) = (staged.target().to_path_buf(), staged.manifest_digest().to_owned());
        assert!(recorded(&target, &digest).expect("nothing is there").is_none());
        staged.commit().expect("commits");
        let opened = recorded(&target, &digest).expect("it is sound").expect("it is there");
        assert_eq!(opened.manifest.step, Step(5));
        let error = recorded(&target, "another").err().expect("it is refused");
        assert!(error.to_string().contains("the one that was recorded"), "{error}");
    }

    #[test]
    fn a_state_of_another_shape_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), 5);
        let opened = newest_good(folder.path()).expect("lists").expect("one is there");
        let mut target = state(0.0);
        target[0].1 = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let error = opened.restore(&target).expect_err("another shape");
        assert!(error.to_string().contains("tensor conv.weight has shape [2, 3, 2, 2]"), "{error}");
    }
}
