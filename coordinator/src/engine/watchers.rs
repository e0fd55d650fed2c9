//! Those who watch a job.

use std::collections::BTreeMap;

use kindred_proto::{failure::Failure, ids::JobId, v1};
use tokio::sync::watch;

use crate::model::Model;

/// The sending end of each job that somebody watches. Only the newest state of a job waits for a slow watcher.
#[derive(Default)]
pub(super) struct Watchers {
    jobs: BTreeMap<JobId, watch::Sender<v1::Job>>,
}

impl Watchers {
    /// The job as it is; changes follow.
    pub fn watch(&mut self, model: &Model, job_id: &JobId) -> Result<watch::Receiver<v1::Job>, Failure> {
        let job = model.job(job_id)?;
        let sender = self.jobs.entry(job_id.clone());
        Ok(sender.or_insert_with(|| watch::Sender::new(model.job_view(job))).subscribe())
    }

    /// Tells what is new; forgets jobs that nobody watches.
    pub fn publish(&mut self, model: &Model) {
        self.jobs.retain(|job_id, sender| {
            if let Ok(job) = model.job(job_id) {
                tell(sender, model.job_view(job));
            }
            !sender.is_closed()
        });
    }
}

fn tell(sender: &watch::Sender<v1::Job>, job: v1::Job) {
    sender.send_if_modified(|told| {
        let has_changed = *told != job;
        *told = job;
        has_changed
    });
}
