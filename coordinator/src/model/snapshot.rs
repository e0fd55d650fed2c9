//! The journaled half in pieces, so that replay need not begin with the first change ever.
//!
//! Pieces are stored as JSON, and a newer program reads what an older one wrote: a field that a job, a node or anything in
//! them gets later has `#[serde(default)]`, and one that was ever released keeps its name. What follows from the jobs
//! (requests, who is active) is not stored.

use std::{collections::BTreeMap, sync::Arc};

use kindred_proto::ids::NodeId;
use serde::{Deserialize, Serialize};

use super::{Job, Node, access::Access};

/// Jobs and nodes of one piece: some hundred kilobytes, which a journal stores in milliseconds.
const PIECE_LEN: usize = 32;

/// A part of the state, small enough to be stored in one go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// The number of the newest job of the whole state, also when that is forgotten.
    pub(super) newest_job: u64,
    pub(super) jobs: Vec<Job>,
    pub(super) nodes: Vec<Node>,
    /// A part of who may call.
    #[serde(default)]
    pub(super) access: Access,
}

/// All pieces of a state, one at least; what they are made of is shared with the state meanwhile.
#[derive(Clone, Debug)]
pub struct Pieces {
    newest_job: u64,
    jobs: BTreeMap<u64, Arc<Job>>,
    nodes: BTreeMap<NodeId, Arc<Node>>,
    access: std::vec::IntoIter<Access>,
    is_first: bool,
}

impl Pieces {
    pub(super) fn new(
        newest_job: u64,
        jobs: BTreeMap<u64, Arc<Job>>,
        nodes: BTreeMap<NodeId, Arc<Node>>,
        access: Vec<Access>,
    ) -> Self {
        Self { newest_job, jobs, nodes, access: access.into_iter(), is_first: true }
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let is_first = std::mem::take(&mut self.is_first);
        if self.jobs.is_empty() && self.nodes.is_empty() && self.access.as_slice().is_empty() && !is_first {
            return None;
        }
        let jobs = std::iter::from_fn(|| self.jobs.pop_first()).take(PIECE_LEN);
        let nodes = std::iter::from_fn(|| self.nodes.pop_first()).take(PIECE_LEN);
        Some(Piece {
            newest_job: self.newest_job,
            jobs: jobs.map(|(_, job)| Arc::unwrap_or_clone(job)).collect(),
            nodes: nodes.map(|(_, node)| Arc::unwrap_or_clone(node)).collect(),
            access: self.access.next().unwrap_or_default(),
        })
    }
}
