//! The disks of the nodes: checkpoints whose manifest is in place, and nothing else.

use std::{cmp::Reverse, collections::BTreeMap};

use kindred_proto::ids::{CheckpointId, Generation, JobId, Step};

use crate::rank::lineage::Lineage;

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub job_id: JobId,
    pub generation: Generation,
    pub lineage: Lineage,
    /// Digest of the weights.
    pub digest: String,
}

impl Manifest {
    pub fn new(job_id: JobId, generation: Generation, lineage: Lineage) -> Self {
        let digest = lineage.digest();
        Self { job_id, generation, lineage, digest }
    }

    pub fn step(&self) -> Step {
        Step(self.lineage.taken())
    }

    pub fn id(&self) -> CheckpointId {
        CheckpointId::of(self.step(), self.generation)
    }

    /// Digest of the manifest itself.
    pub fn own_digest(&self) -> String {
        format!("{}/{}: {}", self.job_id, self.id(), self.digest)
    }
}

/// All disks; each node has its own, or all share one.
pub struct Disks {
    is_shared: bool,
    folders: BTreeMap<(usize, JobId), BTreeMap<CheckpointId, Manifest>>,
    /// Every manifest that was ever put in place, by job and id.
    history: BTreeMap<(JobId, CheckpointId), Manifest>,
}

impl Disks {
    pub fn new(is_shared: bool) -> Self {
        Self { is_shared, folders: BTreeMap::new(), history: BTreeMap::new() }
    }

    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Puts a manifest in place, unless one is there; only the newest stay.
    pub fn commit(&mut self, node: usize, manifest: Manifest, n_kept: usize) {
        let key = (manifest.job_id.clone(), manifest.id());
        self.history.entry(key).or_insert_with(|| manifest.clone());
        let folder = self.folder(node, &manifest.job_id);
        folder.entry(manifest.id()).or_insert(manifest);
        let mut ids: Vec<_> = folder.values().map(|it| (it.generation, it.step(), it.id())).collect();
        ids.sort_by_key(|(generation, step, _)| Reverse((*generation, *step)));
        for (_, _, id) in ids.into_iter().skip(n_kept) {
            folder.remove(&id);
        }
    }

    /// The most advanced checkpoint of a job.
    pub fn newest(&mut self, node: usize, job_id: &JobId) -> Option<Manifest> {
        self.folder(node, job_id).values().max_by_key(|it| (it.step(), it.generation)).cloned()
    }

    /// A manifest that is, or was, in place.
    pub fn ever(&self, job_id: &JobId, id: &CheckpointId) -> Option<&Manifest> {
        self.history.get(&(job_id.clone(), id.clone()))
    }

    fn folder(&mut self, node: usize, job_id: &JobId) -> &mut BTreeMap<CheckpointId, Manifest> {
        let disk = if self.is_shared { 0 } else { node };
        self.folders.entry((disk, job_id.clone())).or_default()
    }
}
