//! Images that cannot be decoded: named, counted and replaced, up to the share that the recipe allows.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::queue::lock;
use crate::{Dataset, Error};

/// Those that this loader met.
#[derive(Debug, Default)]
pub(super) struct Damaged(Mutex<BTreeSet<u64>>);

impl Damaged {
    /// Notes that a sample is damaged; gives the one that takes its place, the same on all ranks.
    ///
    /// # Errors
    /// What is wrong with the sample, when there are more than allowed; any fault that is not the file's.
    pub(super) fn replace(&self, dataset: &Dataset, sample: u64, error: Error) -> Result<u64, Error> {
        let (Error::Invalid { path, message }, true) = (&error, dataset.max_damaged() > 0) else {
            return Err(error);
        };
        let mut met = lock(&self.0);
        let is_new = met.insert(sample);
        let (n_damaged, n_images) = (met.len() as u64, dataset.len());
        drop(met);
        if n_damaged > dataset.max_damaged() {
            let share = "more than `data.max_damaged` allows";
            let message = format!("{message} ({n_damaged} of {n_images} images are damaged, {share})");
            return Err(Error::invalid(path, message));
        }
        if is_new {
            tracing::warn!(image = dataset.name(sample), %error, n_damaged, "a damaged image is replaced");
        }
        Ok((sample + 1) % n_images)
    }
}
