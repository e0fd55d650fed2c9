//! Which jobs have ranks on which node: so that news of a node concerns its own jobs only. It follows from the jobs.

use std::collections::{BTreeMap, BTreeSet};

use kindred_proto::ids::{Generation, NodeId};

use super::{Job, Placement};

/// Jobs by node, and nodes by job.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seats {
    /// The numbers of jobs whose newest generation has a rank there, also one that ended.
    by_node: BTreeMap<NodeId, BTreeSet<u64>>,
    /// The numbers of all that have such a generation.
    jobs: BTreeSet<u64>,
}

impl Seats {
    /// The numbers of the jobs of a node, in order.
    pub fn on(&self, node_id: &NodeId) -> impl Iterator<Item = u64> {
        self.by_node.get(node_id).into_iter().flatten().copied()
    }

    /// Nodes with ranks.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.by_node.keys()
    }

    /// The numbers of the jobs with ranks, in order.
    pub fn jobs(&self) -> impl Iterator<Item = u64> {
        self.jobs.iter().copied()
    }

    /// A job is not as it was. Within a generation no rank changes its place.
    pub fn change(&mut self, number: u64, older: Option<&Job>, newer: Option<&Job>) {
        if older.map(seating) == newer.map(seating) {
            return;
        }
        for node_id in older.into_iter().flat_map(nodes_of) {
            if let Some(jobs) = self.by_node.get_mut(node_id)
                && jobs.remove(&number)
                && jobs.is_empty()
            {
                self.by_node.remove(node_id);
            }
        }
        for node_id in newer.into_iter().flat_map(nodes_of) {
            match self.by_node.get_mut(node_id) {
                Some(jobs) => {
                    jobs.insert(number);
                }
                None => {
                    self.by_node.insert(node_id.clone(), BTreeSet::from([number]));
                }
            }
        }
        match newer.is_some_and(|job| job.live.is_some()) {
            true => self.jobs.insert(number),
            false => self.jobs.remove(&number),
        };
    }
}

/// What says whether two states of a job have their ranks in the same places.
pub(super) fn seating(job: &Job) -> (Option<Generation>, Option<Generation>) {
    let live = job.live.as_ref().map(|live| live.generation);
    (live, job.joining.as_ref().map(|joining| joining.generation))
}

/// The nodes of a job's ranks, those that join with them; one with several ranks may come more than once.
pub(super) fn nodes_of(job: &Job) -> impl Iterator<Item = &NodeId> {
    let live = job.live.iter().flat_map(|live| &live.members).map(|member| &member.placement);
    let joining = job.joining.iter().flat_map(|joining| &joining.placements);
    let mut newest: Option<&NodeId> = None;
    live.chain(joining).filter_map(move |Placement { node_id, .. }| {
        let is_news = newest != Some(node_id);
        newest = Some(node_id);
        is_news.then_some(node_id)
    })
}
