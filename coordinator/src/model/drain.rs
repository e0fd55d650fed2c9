//! Nodes that take no new ranks: because an operator says so, or because of what they did.

use kindred_proto::{
    failure::{Failure, Kind, Reason},
    ids::NodeId,
    v1,
};

use super::{
    Change, Cordon, Decision, Job, JobChange, LiveGeneration, Model, Node, NodeChange, Outcome, Quarantine,
    Timestamp, observed::Contact, rank::Seat, retry,
};

/// Faults of a node that are remembered; a rule that asks for more of them is never met.
pub const MAX_FAULTS: usize = 64;

impl Node {
    /// Takes in what is thought of the node.
    pub(super) fn judge(&mut self, at: Timestamp, change: &NodeChange) {
        match change {
            NodeChange::Cordoned { reason, drains } => {
                self.cordon = Some(Cordon { reason: reason.clone(), drains: *drains });
            }
            NodeChange::Uncordoned => {
                (self.cordon, self.quarantine) = (None, None);
                self.faults.clear();
            }
            NodeChange::Faulted { job_id, generation } => {
                self.faults.push((at, job_id.clone(), *generation));
                let surplus = self.faults.len().saturating_sub(MAX_FAULTS);
                self.faults.drain(..surplus);
            }
            NodeChange::Quarantined { until, reason } => {
                self.quarantine = Some(Quarantine { until: *until, reason: reason.clone() });
                self.faults.clear();
            }
            NodeChange::Lost => self.is_lost = true,
            NodeChange::Returned => self.is_lost = false,
            NodeChange::Described(_) | NodeChange::Forgotten => {}
        }
    }

    /// True while an operator wants the jobs on it to go elsewhere.
    pub fn is_draining(&self) -> bool {
        self.cordon.as_ref().is_some_and(|cordon| cordon.drains)
    }

    /// Set while it is left alone for what it did.
    pub fn present_quarantine(&self, now: Timestamp) -> Option<&Quarantine> {
        self.quarantine.as_ref().filter(|quarantine| quarantine.until > now)
    }

    /// Why no rank is to be placed on it, whether it answers or not; without its name.
    pub(super) fn exclusion(&self, now: Timestamp) -> Option<String> {
        if let Some(Cordon { reason, drains }) = &self.cordon {
            let what = if *drains { "is drained" } else { "is cordoned" };
            return Some(if reason.is_empty() { what.to_owned() } else { format!("{what}: {reason}") });
        }
        self.present_quarantine(now).map(|quarantine| format!("is in quarantine: {}", quarantine.reason))
    }
}

impl Model {
    /// A node that is as wanted is given as it is.
    pub(super) fn decide_cordon(
        &self,
        now: Timestamp,
        node_id: &NodeId,
        cordon: Option<&Cordon>,
    ) -> Result<Decision, Failure> {
        let node = self.state.node(node_id).ok_or_else(|| {
            Failure::new(Reason::NodeNotFound, format!("there is no node {node_id}")).about("node_id")
        })?;
        let change = match cordon {
            Some(cordon) => (node.cordon.as_ref() != Some(cordon))
                .then(|| NodeChange::Cordoned { reason: cordon.reason.clone(), drains: cordon.drains }),
            None => (node.cordon.is_some() || node.quarantine.is_some()).then_some(NodeChange::Uncordoned),
        };
        let changes = change.into_iter().map(|change| Change::node(node_id, now, change)).collect();
        Ok(Decision { changes, job_id: None, ..Decision::default() })
    }

    /// Why a node takes no rank at all.
    pub(super) fn bar(&self, now: Timestamp, node: &Node, contact: Option<&Contact>) -> Option<String> {
        let state = match self.standing_of(now, contact) {
            v1::NodeState::Ready => node.exclusion(now)?,
            v1::NodeState::Leaving => "is leaving".to_owned(),
            v1::NodeState::Lost => "is lost".to_owned(),
            _ => "is suspect".to_owned(),
        };
        Some(format!("{} {state}", node.name()))
    }

    /// Whether a node may have ranks, now or soon.
    pub(super) fn may_come_back(&self, now: Timestamp, node: &Node, contact: Option<&Contact>) -> bool {
        let is_leaving = self.standing_of(now, contact) == v1::NodeState::Leaving;
        self.is_near(now, contact) && !is_leaving && node.exclusion(now).is_none()
    }

    /// Whether a node answers, or did so lately.
    pub(super) fn is_near(&self, now: Timestamp, contact: Option<&Contact>) -> bool {
        self.observed.silence_of(now, contact) <= self.rules.lease + self.rules.hold_after_loss
    }

    /// Lets a job leave a node that is drained: all ranks stop after the same step, with a checkpoint, and go on elsewhere. None goes on
    /// without them: one that is left out could still commit something.
    pub(super) fn leaves_drained_node(&self, job: &Job, live: &LiveGeneration) -> Option<JobChange> {
        let drained = self.state.draining();
        if drained.is_empty() {
            return None;
        }
        let leaving = Seat::open(job, live).find(|seat| drained.contains(&seat.member.placement.node_id))?;
        let name = &leaving.member.placement.node_name;
        let reason = format!("leaves {name}, which is drained: writes a checkpoint");
        Some(JobChange::GivesWay { reason, to: None, shrinks: false })
    }

    /// That nodes are at fault, as far as the ends of ranks tell.
    pub(super) fn faults_of_nodes(&self, now: Timestamp, job: &Job, changes: &[JobChange]) -> Vec<Change> {
        let Some(live) = &job.live else { return vec![] };
        let mut faults: Vec<Change> = vec![];
        for change in changes {
            let JobChange::RankEnded { rank, outcome: Outcome::Failed { fault } } = change else { continue };
            let Some(member) = live.members.get(rank.0 as usize) else { continue };
            let node_id = &member.placement.node_id;
            if self.is_at_fault(job, live, node_id, fault) {
                let change = NodeChange::Faulted { job_id: job.id.clone(), generation: live.generation };
                let fault = Change::node(node_id, now, change);
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
            }
        }
        faults
    }

    /// Whether a node's agent was asked to stop.
    pub(super) fn is_leaving(&self, node_id: &NodeId) -> bool {
        self.observed.contact(node_id).is_some_and(|contact| contact.report.leaving)
    }

    /// One fault counts for each generation: what takes a node takes all its ranks.
    fn is_at_fault(&self, job: &Job, live: &LiveGeneration, node_id: &NodeId, fault: &v1::Failure) -> bool {
        let Some(node) = self.state.node(node_id) else { return false };
        let failure = Failure::from(fault);
        let leaves = self.is_leaving(node_id);
        let is_known = node
            .faults
            .iter()
            .any(|(_, job_id, generation)| (job_id, *generation) == (&job.id, live.generation));
        failure.kind() == Kind::Retryable && !retry::is_consequence(&failure) && !leaves && !is_known
    }

    /// Whether a node had too many faults within a while.
    pub(super) fn decide_quarantine(&self, now: Timestamp, node: &Node) -> Option<Change> {
        let rule = self.rules.scheduling.quarantine;
        let within = std::time::Duration::from_secs(rule.within_s);
        let n_recent = node.faults.iter().filter(|(at, ..)| now.since(*at) <= within).count();
        (rule.after_faults > 0 && n_recent >= rule.after_faults as usize).then(|| {
            let until = now.plus(std::time::Duration::from_secs(rule.for_s));
            let reason = format!("ended {n_recent} generations within {} s", rule.within_s);
            Change::node(&node.id, now, NodeChange::Quarantined { until, reason })
        })
    }
}
