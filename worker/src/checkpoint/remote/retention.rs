//! Which objects stay.

use std::collections::BTreeSet;

use kindred_proto::ids::CheckpointId;

use super::Remote;
use crate::checkpoint::{Error, MANIFEST_FILE, retention::let_go};

impl Remote {
    /// Removes what is let go of, as [`crate::checkpoint::remove_all_but`] does on a disk, and with it states that never got a
    /// manifest; but nothing of those in `spared`, which are on their way.
    ///
    /// # Errors
    /// When the store is away or refuses.
    pub async fn remove_all_but(&self, kept: &[CheckpointId], spared: &[CheckpointId]) -> Result<(), Error> {
        let keys = self.checkpoints.list().await?;
        for key in in_order(&keys, kept, spared) {
            self.checkpoints.delete(key).await?;
        }
        Ok(())
    }
}

/// Those keys that go. Of each checkpoint the manifest is the first: whoever is cut off leaves a state without a manifest, never a
/// manifest without its state.
fn in_order<'k>(keys: &'k [String], kept: &[CheckpointId], spared: &[CheckpointId]) -> Vec<&'k String> {
    let folders: BTreeSet<&str> = keys.iter().filter_map(|key| Some(key.split_once('/')?.0)).collect();
    let mut gone = Vec::new();
    for name in let_go(folders.into_iter().map(str::to_owned).collect(), kept) {
        if spared.iter().any(|id| id.as_str() == name) {
            continue;
        }
        let is_in = |key: &&String| key.split_once('/').is_some_and(|(folder, _)| folder == name);
        let (manifest, others): (Vec<_>, Vec<_>) =
            keys.iter().filter(is_in).partition(|key| key.ends_with(MANIFEST_FILE));
        gone.extend(manifest.into_iter().chain(others));
    }
    gone
}

#[cfg(test)]
mod tests {
    use kindred_proto::ids::{Generation, Step};

    use super::*;

    #[test]
    fn a_manifest_goes_before_its_state() {
        let id = |step| CheckpointId::of(Step(step), Generation(1));
        let keys: Vec<String> = (1..=3)
            .flat_map(|step| ["a", MANIFEST_FILE, "z"].map(|name| format!("{}/{name}", id(step))))
            .collect();
        let expected = [MANIFEST_FILE, "a", "z"].map(|name| format!("{}/{name}", id(1)));
        assert_eq!(in_order(&keys, &[id(3)], &[id(2)]), expected.each_ref());
    }
}
