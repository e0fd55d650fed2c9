//! What a tick has to look at: what changed since the last one that found nothing left to decide, and what time may change.
//!
//! A decision about a job reads the job, what agents last said of its ranks, and whether their nodes answer; one about a node reads
//! the node and its agent's words. So as long as none of that is news, the decision is what it was: nothing. Time alone changes
//! it in two ways. A node may fall silent for too long: `all_well_until` says when that can first be. And a job whose
//! generation ends, or has lost ranks, waits for limits of its own: such a job is looked at in every tick.

use std::collections::BTreeSet;

use kindred_proto::{ids::NodeId, v1};

use super::{
    Change, Job, Model, State, Timestamp,
    observed::{Contact, Observed},
    seats::{nodes_of, seating},
    state::{Former, number_of},
};

/// What a tick has to look at.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    /// Jobs, by number; some of them may not be there any more.
    jobs: BTreeSet<u64>,
    /// Nodes that may have to be described, forgotten or left alone.
    nodes: BTreeSet<NodeId>,
    /// Jobs whose ranks may be told something else, by number.
    told_jobs: BTreeSet<u64>,
    /// Nodes whose agents may be told something else.
    told_nodes: BTreeSet<NodeId>,
    /// No node is silent for too long before that, but for those that were so already.
    all_well_until: Timestamp,
}

/// What a tick looks at.
pub(super) struct Concerns {
    /// Jobs, by number, in order.
    pub jobs: BTreeSet<u64>,
    /// Nodes, in order.
    pub nodes: BTreeSet<NodeId>,
}

impl News {
    /// Takes note that all may be otherwise.
    pub fn add_all(&mut self, state: &State, observed: &Observed) {
        self.jobs.extend(state.active_numbers());
        self.nodes.extend(state.nodes().map(|node| node.id.clone()));
        self.nodes.extend(observed.contacts().map(|(node_id, _)| node_id.clone()));
        self.all_well_until = Timestamp(i64::MIN);
    }

    /// Takes note of a change that has happened, given what it replaced.
    pub fn changed(&mut self, change: &Change, former: &Former, state: &State) {
        match (change, former) {
            (Change::Job { job_id, .. }, Former::Job { job: former, .. }) => {
                let Some(number) = number_of(job_id.as_str()) else { return };
                self.jobs.insert(number);
                self.told_jobs.insert(number);
                if let Some(former) = former
                    && state.job_numbered(number).map(seating) != Some(seating(former))
                {
                    self.told_nodes.extend(nodes_of(former).cloned());
                }
            }
            (Change::Node { node_id, .. }, _) => self.add_node(node_id, state),
            _ => {}
        }
    }

    fn add_node(&mut self, node_id: &NodeId, state: &State) {
        self.nodes.insert(node_id.clone());
        self.jobs.extend(state.numbers_on(node_id));
    }

    /// Takes note of what an agent says, given what it said last, if that was not too long ago.
    pub fn observed(&mut self, report: &v1::AgentReport, last: Option<&Contact>, state: &State) {
        if let Some(last) = last.filter(|last| last.is_connected) {
            return self.compare(&last.report, report, state);
        }
        let node_id = NodeId::new(report.node_id.as_str());
        self.add_node(&node_id, state);
        self.told_jobs.extend(state.numbers_on(&node_id));
        if last.is_none_or(|last| last.report.incarnation != report.incarnation) {
            self.told_nodes.insert(node_id);
        }
    }

    /// Takes note that a node that was silent may be so again from then on.
    pub fn expect(&mut self, silence: Timestamp) {
        self.all_well_until = self.all_well_until.min(silence);
    }

    /// Takes note that the stream of an agent is gone.
    pub fn disconnected(&mut self, node_id: &NodeId, state: &State) {
        self.jobs.extend(state.numbers_on(node_id));
    }

    fn compare(&mut self, older: &v1::AgentReport, newer: &v1::AgentReport, state: &State) {
        let is_same_life = older.incarnation == newer.incarnation;
        let are_same_ranks = are_alike(&older.ranks, &newer.ranks);
        if is_same_life && are_same_ranks && older.leaving == newer.leaving && is_same_node(older, newer) {
            // Who is slow in a step, and for how long, concerns orders alone.
            if has_stall(older) || has_stall(newer) {
                self.told_jobs.extend(state.numbers_on(&newer.node_id.as_str().into()));
            }
            return;
        }
        let node_id = NodeId::new(newer.node_id.as_str());
        self.told_jobs.extend(state.numbers_on(&node_id));
        self.add_node(&node_id, state);
        if !is_same_life {
            self.told_nodes.insert(node_id);
        }
    }

    /// No node is silent for too long before that, but for those that were so already.
    pub fn all_well_until(&self) -> Timestamp {
        self.all_well_until
    }

    /// Takes note that a tick found nothing to decide. Before `all_well_until` none will, of what is no news by then.
    pub fn settle(&mut self, state: &State, all_well_until: Timestamp) {
        self.jobs.retain(|number| state.job_numbered(*number).is_some_and(is_restless));
        self.nodes.clear();
        self.all_well_until = all_well_until;
    }

    /// Nodes whose agents may have to be told something else than the last time that this was asked.
    pub fn take_told(&mut self, state: &State) -> BTreeSet<NodeId> {
        let mut nodes = std::mem::take(&mut self.told_nodes);
        let jobs = std::mem::take(&mut self.told_jobs);
        for job in jobs.into_iter().filter_map(|number| state.job_numbered(number)) {
            nodes.extend(nodes_of(job).cloned());
        }
        nodes
    }
}

#[cfg(test)]
impl From<News> for Concerns {
    fn from(News { jobs, nodes, .. }: News) -> Self {
        Self { jobs, nodes }
    }
}

impl Model {
    /// What a tick looks at now.
    pub(super) fn concerns(&self, now: Timestamp) -> Concerns {
        let (mut jobs, mut nodes) = (self.news.jobs.clone(), self.news.nodes.clone());
        if now > self.news.all_well_until {
            let silent = |node_id: &&NodeId| self.is_lost(now, node_id);
            for node_id in self.state.seated_nodes().filter(silent) {
                jobs.extend(self.state.numbers_on(node_id));
            }
            nodes.extend(self.state.nodes().map(|node| &node.id).filter(silent).cloned());
        }
        Concerns { jobs, nodes }
    }

    /// When a node can next be silent for too long, for its ranks or to be remembered, as things stand.
    pub(super) fn all_well_until(&self, now: Timestamp) -> Timestamp {
        let heard = self.observed.contacts().map(|(_, contact)| contact.last_report);
        let known = self.state.nodes().map(|node| &node.id).chain(self.state.seated_nodes());
        let is_any_unheard = known.into_iter().any(|node_id| self.observed.contact(node_id).is_none());
        let heard = heard.chain(is_any_unheard.then(|| self.observed.since()));
        let limits = [self.rules.lease, self.rules.forget_node_after];
        let next =
            |heard: Timestamp| limits.map(|limit| heard.plus(limit)).into_iter().find(|end| *end >= now);
        heard.map(|heard| next(heard).unwrap_or(now)).min().unwrap_or(Timestamp(i64::MAX))
    }
}

/// True while the passing of time may change what becomes of a job although all its nodes answer.
fn is_restless(job: &Job) -> bool {
    job.live.as_ref().is_some_and(|live| {
        live.ending_since.is_some() || live.members.iter().any(|member| member.ended.is_some())
    })
}

/// Whether two reports say the same of all ranks, but for how far they are.
fn are_alike(older: &[v1::ObservedRank], newer: &[v1::ObservedRank]) -> bool {
    let is_same = |(older, newer): (&v1::ObservedRank, &v1::ObservedRank)| {
        let (a, b) = (older, newer);
        (a.state, a.rank, a.generation, a.began_at_step) == (b.state, b.rank, b.generation, b.began_at_step)
            && a.job_id == b.job_id
            && a.checkpoints == b.checkpoints
            && a.failure == b.failure
            && a.result == b.result
    };
    older.len() == newer.len() && older.iter().zip(newer).all(is_same)
}

/// Whether two reports describe the node alike.
fn is_same_node(older: &v1::AgentReport, newer: &v1::AgentReport) -> bool {
    older.node_name == newer.node_name
        && older.agent_version == newer.agent_version
        && older.data_address == newer.data_address
        && older.devices == newer.devices
        && older.labels == newer.labels
        && older.jobs_folder == newer.jobs_folder
}

fn has_stall(report: &v1::AgentReport) -> bool {
    report.ranks.iter().any(|rank| rank.stall.is_some())
}
