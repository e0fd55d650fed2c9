//! The journaled half of the model: exactly what replaying the changes gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kindred_proto::ids::{JobId, NodeId};

use super::{Change, Job, JobChange, Node};

/// All jobs and nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// By number, which is the order of submission. Shared, so that a draft of the state is cheap.
    jobs: BTreeMap<u64, Arc<Job>>,
    /// Jobs that are not over, or whose last ranks are not gone.
    active: BTreeSet<u64>,
    requests: BTreeMap<String, JobId>,
    nodes: BTreeMap<NodeId, Node>,
}

impl State {
    /// What `changes` lead to.
    pub fn replay<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Self {
        let mut state = Self::default();
        for change in changes {
            state.evolve(change);
        }
        state
    }

    /// Lets a change happen. A change of a job or node that is unknown changes nothing.
    pub fn evolve(&mut self, change: &Change) {
        match change {
            Change::Job { job_id, at, change: JobChange::Accepted { request_id, submission } } => {
                self.accept(Job::new(job_id.clone(), *at, (**submission).clone()), request_id);
            }
            Change::Job { job_id, at, change } => {
                let Some(number) = number_of(job_id) else { return };
                let Some(job) = self.jobs.get_mut(&number) else { return };
                let job = Arc::make_mut(job);
                job.evolve(*at, change);
                if !job.is_active() {
                    self.active.remove(&number);
                }
            }
            Change::Node { node_id, change, .. } => Node::evolve(&mut self.nodes, node_id, change),
        }
    }

    /// A job by its id.
    pub fn job(&self, job_id: &JobId) -> Option<&Job> {
        self.jobs.get(&number_of(job_id)?).map(Arc::as_ref)
    }

    /// The job that a request created.
    pub fn job_of_request(&self, request_id: &str) -> Option<&Job> {
        self.job(self.requests.get(request_id)?)
    }

    /// All jobs, newest first, that were submitted before `before`.
    pub fn jobs_before(&self, before: Option<&JobId>) -> impl Iterator<Item = &Job> {
        let end = before.map_or(u64::MAX, |job_id| number_of(job_id).unwrap_or(0));
        self.jobs.range(..end).rev().map(|(_, job)| job.as_ref())
    }

    /// Jobs that are not over, or whose last ranks are not gone, in order of submission.
    pub fn active_jobs(&self) -> impl Iterator<Item = &Job> {
        self.active.iter().filter_map(|number| self.jobs.get(number)).map(Arc::as_ref)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// A node by its id.
    pub fn node(&self, node_id: &NodeId) -> Option<&Node> {
        self.nodes.get(node_id)
    }

    /// The id of the next job that is accepted.
    pub(super) fn next_job_id(&self) -> JobId {
        let newest = self.jobs.last_key_value().map_or(0, |(number, _)| *number);
        JobId::new(format!("job-{}", newest + 1))
    }

    fn accept(&mut self, job: Job, request_id: &str) {
        let Some(number) = number_of(&job.id) else { return };
        if !request_id.is_empty() {
            self.requests.insert(request_id.to_owned(), job.id.clone());
        }
        self.active.insert(number);
        self.jobs.insert(number, Arc::new(job));
    }
}

/// The number in `job-7`; none for what is not a job's id.
fn number_of(job_id: &JobId) -> Option<u64> {
    let digits = job_id.as_str().strip_prefix("job-")?;
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if is_canonical { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_names_a_job() {
        assert_eq!(number_of(&"job-17".into()), Some(17));
        for other in ["job-", "job-0", "job-07", "job-+7", "job7", "7", "job-99999999999999999999999"] {
            assert_eq!(number_of(&other.into()), None, "{other}");
        }
    }
}
