//! The journaled half of the model: exactly what replaying the changes gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kindred_proto::ids::{JobId, NodeId};

use super::{Change, Job, JobChange, Node, Piece, Pieces, Timestamp, access::Access, seats::Seats};

/// All jobs and nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// By number, which is the order of submission. Shared, so that what was before a change is cheap to keep.
    jobs: BTreeMap<u64, Arc<Job>>,
    /// The number of the newest job, also when it is forgotten: no number is given twice.
    newest: u64,
    /// Jobs that are not over, or whose last ranks are not gone.
    active: BTreeSet<u64>,
    /// The others, by the time of their end.
    over: BTreeSet<(Timestamp, u64)>,
    requests: BTreeMap<String, JobId>,
    /// Who has ranks, and where.
    seats: Seats,
    /// Shared as the jobs are.
    nodes: BTreeMap<NodeId, Arc<Node>>,
    /// Those of them that jobs are to leave.
    draining: BTreeSet<NodeId>,
    /// Shared as the jobs are.
    access: Arc<Access>,
}

/// What a change replaced.
#[derive(Clone, Debug, Default)]
pub(super) enum Former {
    /// Nothing changed.
    #[default]
    Same,
    /// A job as it was; none where there was none.
    Job { number: u64, job: Option<Arc<Job>>, newest: u64 },
    /// A node as it was; none where there was none.
    Node { node_id: NodeId, node: Option<Arc<Node>> },
    /// Who could call.
    Access(Arc<Access>),
}

impl State {
    /// Who may call.
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// What `changes` lead to.
    pub fn replay<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Self {
        let mut state = Self::default();
        for change in changes {
            state.evolve(change);
        }
        state
    }

    /// The state that was taken apart into `pieces`.
    pub fn restore(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let mut state = Self::default();
        for Piece { newest_job, jobs, nodes, access } in pieces {
            Arc::make_mut(&mut state.access).extend(access);
            state.newest = state.newest.max(newest_job);
            for job in jobs {
                if let Some(number) = number_of(job.id.as_str()) {
                    state.newest = state.newest.max(number);
                    state.put_job(number, Some(Arc::new(job)));
                }
            }
            for node in nodes {
                state.put_node(&node.id.clone(), Some(Arc::new(node)));
            }
        }
        state
    }

    /// The state in pieces that can be stored one by one.
    pub fn pieces(&self) -> Pieces {
        Pieces::new(self.newest, self.jobs.clone(), self.nodes.clone(), self.access.pieces())
    }

    /// How many jobs and nodes there are.
    pub fn size(&self) -> usize {
        self.jobs.len() + self.nodes.len()
    }

    /// Lets a change happen. A change of a job or node that is unknown changes nothing.
    pub fn evolve(&mut self, change: &Change) {
        self.replace(change);
    }

    /// The same, and gives what it replaced.
    pub(super) fn replace(&mut self, change: &Change) -> Former {
        match change {
            Change::Job { job_id, at, change } => {
                let Some(number) = number_of(job_id.as_str()) else { return Former::Same };
                let newest = self.newest;
                let next = match change {
                    JobChange::Accepted { request_id, submission } => {
                        let job = Job::new(job_id.clone(), *at, (**submission).clone());
                        self.newest = self.newest.max(number);
                        Some(Arc::new(Job { request_id: request_id.clone(), ..job }))
                    }
                    JobChange::Forgotten if !self.active.contains(&number) => None,
                    JobChange::Forgotten => return Former::Same,
                    change => {
                        let Some(job) = self.jobs.get(&number) else { return Former::Same };
                        let mut job = job.clone();
                        Arc::make_mut(&mut job).evolve(*at, change);
                        Some(job)
                    }
                };
                Former::Job { number, job: self.put_job(number, next), newest }
            }
            Change::Node { node_id, at, change } => {
                let next = Node::after(self.nodes.get(node_id), node_id, *at, change);
                Former::Node { node_id: node_id.clone(), node: self.put_node(node_id, next) }
            }
            Change::Access { at, change } => {
                let former = self.access.clone();
                Arc::make_mut(&mut self.access).evolve(*at, change);
                Former::Access(former)
            }
        }
    }

    /// Takes the newest change back, given what it replaced.
    pub(super) fn undo(&mut self, former: Former) {
        match former {
            Former::Same => {}
            Former::Job { number, job, newest } => {
                self.put_job(number, job);
                self.newest = newest;
            }
            Former::Node { node_id, node } => {
                self.put_node(&node_id, node);
            }
            Former::Access(access) => self.access = access,
        }
    }

    /// A job by its id.
    pub fn job(&self, job_id: &JobId) -> Option<&Job> {
        self.job_named(job_id.as_str())
    }

    /// The same, by its id as text.
    pub(super) fn job_named(&self, job_id: &str) -> Option<&Job> {
        self.job_numbered(number_of(job_id)?)
    }

    /// A job by its number.
    pub(super) fn job_numbered(&self, number: u64) -> Option<&Job> {
        self.jobs.get(&number).map(Arc::as_ref)
    }

    /// The job that a request created.
    pub fn job_of_request(&self, request_id: &str) -> Option<&Job> {
        self.job(self.requests.get(request_id)?)
    }

    /// All jobs, newest first, with a lower number than `before`.
    pub fn jobs_before(&self, before: Option<u64>) -> impl Iterator<Item = &Job> {
        let end = before.unwrap_or(u64::MAX);
        self.jobs.range(..end).rev().map(|(_, job)| job.as_ref())
    }

    /// Jobs that are not over, or whose last ranks are not gone, in order of submission.
    pub fn active_jobs(&self) -> impl Iterator<Item = &Job> {
        self.active.iter().filter_map(|number| self.jobs.get(number)).map(Arc::as_ref)
    }

    /// The numbers of the same.
    pub(super) fn active_numbers(&self) -> &BTreeSet<u64> {
        &self.active
    }

    /// Jobs with a generation whose last rank is not gone, in order of submission.
    pub fn placed_jobs(&self) -> impl Iterator<Item = &Job> {
        self.seats.jobs().filter_map(|number| self.job_numbered(number))
    }

    /// Jobs that have ranks on a node, or had in their newest generation, in order of submission.
    pub(super) fn jobs_on(&self, node_id: &NodeId) -> impl Iterator<Item = &Arc<Job>> {
        self.numbers_on(node_id).filter_map(|number| self.jobs.get(&number))
    }

    /// The numbers of the same.
    pub(super) fn numbers_on(&self, node_id: &NodeId) -> impl Iterator<Item = u64> {
        self.seats.on(node_id)
    }

    /// Nodes that jobs have ranks on.
    pub(super) fn seated_nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.seats.nodes()
    }

    /// Jobs that were over before `then`, the longest over first.
    pub(super) fn jobs_over_before(&self, then: Timestamp) -> impl Iterator<Item = &Job> {
        let over = self.over.range(..(then, 0)).filter_map(|(_, number)| self.jobs.get(number));
        over.map(Arc::as_ref)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes.values().map(Arc::as_ref)
    }

    /// Nodes that jobs are to leave.
    pub(super) fn draining(&self) -> &BTreeSet<NodeId> {
        &self.draining
    }

    /// A node by its id.
    pub fn node(&self, node_id: &NodeId) -> Option<&Node> {
        self.nodes.get(node_id).map(Arc::as_ref)
    }

    /// The id of the next job that is accepted.
    pub(super) fn next_job_id(&self) -> JobId {
        JobId::new(format!("job-{}", self.newest + 1))
    }

    /// Puts a job in its place, or lets go of it, with all that follows from it; gives the one that was there.
    fn put_job(&mut self, number: u64, job: Option<Arc<Job>>) -> Option<Arc<Job>> {
        let former = match &job {
            Some(job) => self.jobs.insert(number, job.clone()),
            None => self.jobs.remove(&number),
        };
        let (older, newer) = (former.as_deref(), job.as_deref());
        self.seats.change(number, older, newer);
        if older.map(standing) != newer.map(standing) {
            match older.map(standing) {
                Some((true, _)) => self.active.remove(&number),
                Some((false, end)) => self.over.remove(&(end, number)),
                None => false,
            };
            match newer.map(standing) {
                Some((true, _)) => self.active.insert(number),
                Some((false, end)) => self.over.insert((end, number)),
                None => false,
            };
        }
        match (older, newer) {
            (None, Some(newer)) if !newer.request_id.is_empty() => {
                self.requests.insert(newer.request_id.clone(), newer.id.clone());
            }
            (Some(older), None) if self.requests.get(&older.request_id) == Some(&older.id) => {
                self.requests.remove(&older.request_id);
            }
            _ => {}
        }
        former
    }

    /// The same of a node.
    fn put_node(&mut self, node_id: &NodeId, node: Option<Arc<Node>>) -> Option<Arc<Node>> {
        match node.as_ref().is_some_and(|node| node.is_draining()) {
            true => self.draining.insert(node_id.clone()),
            false => self.draining.remove(node_id),
        };
        match node {
            Some(node) => self.nodes.insert(node_id.clone(), node),
            None => self.nodes.remove(node_id),
        }
    }
}

/// Whether a job is active, and since when it is over if not.
fn standing(job: &Job) -> (bool, Timestamp) {
    let is_active = job.is_active();
    (is_active, if is_active { Timestamp::default() } else { job.over_since() })
}

/// The number in `job-7`; none for what is not a job's id.
pub(super) fn number_of(job_id: &str) -> Option<u64> {
    let digits = job_id.strip_prefix("job-")?;
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if is_canonical { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_names_a_job() {
        assert_eq!(number_of("job-17"), Some(17));
        for other in ["job-", "job-0", "job-07", "job-+7", "job7", "7", "job-99999999999999999999999"] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }
}
