//! One machine: what is journaled about it, and how it stands now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{Generation, Incarnation, JobId, NodeId},
    v1,
};
use serde::{Deserialize, Serialize};

use super::{Change, Model, NodeChange, PROTOCOL_VERSION, Timestamp, Wire, observed::Contact};

/// Former lives that are remembered, so that an agent that was replaced does not come back.
const MAX_FORMER: usize = 8;

/// One machine that joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name in every message.
    pub id: NodeId,
    /// What its agent says of it.
    pub description: NodeDescription,
    /// Lives of its agent that are over, oldest first.
    pub former: Vec<Incarnation>,
    /// Set while an operator wants no new ranks on it.
    pub cordon: Option<Cordon>,
    /// Set when it had too many faults.
    pub quarantine: Option<Quarantine>,
    /// Whether it was told of as lost, and not heard since; decisions about ranks go by its silence.
    #[serde(default)]
    pub is_lost: bool,
    /// Generations that it ended lately, and when, oldest first.
    pub faults: Vec<(Timestamp, JobId, Generation)>,
}

/// An operator's wish that a node gets no new ranks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    /// The operator's words; may be empty.
    pub reason: String,
    /// Whether the ranks that it has go elsewhere.
    pub drains: bool,
}

/// A node that is left alone for what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Until when.
    pub until: Timestamp,
    /// What it did, in words.
    pub reason: String,
}

/// What an agent says of its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeDescription {
    /// The life of the agent.
    pub incarnation: Incarnation,
    /// A name for people.
    pub name: String,
    /// The agent's version.
    pub agent_version: String,
    /// Where ranks on it listen.
    pub data_address: String,
    /// What ranks can compute on.
    pub devices: Vec<Wire<v1::Device>>,
    /// What jobs choose nodes by, and where it stands.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The id of its jobs' folder, the same for nodes that share one; empty where it is not known.
    #[serde(default)]
    pub jobs_folder: String,
}

impl Node {
    /// The name that sentences use.
    pub fn name(&self) -> &str {
        if self.description.name.is_empty() { self.id.as_str() } else { &self.description.name }
    }

    /// What a change makes of it; none where there is none.
    pub(super) fn after(
        before: Option<&Arc<Self>>,
        id: &NodeId,
        at: Timestamp,
        change: &NodeChange,
    ) -> Option<Arc<Self>> {
        let mut node = before.cloned();
        match (change, &mut node) {
            (NodeChange::Forgotten, _) => node = None,
            (NodeChange::Described(description), Some(node)) => Arc::make_mut(node).describe(description),
            (NodeChange::Described(description), None) => node = Some(Arc::new(Self::new(id, description))),
            (change, Some(node)) => Arc::make_mut(node).judge(at, change),
            (_, None) => {}
        }
        node
    }

    fn new(id: &NodeId, description: &NodeDescription) -> Self {
        Self {
            id: id.clone(),
            description: description.clone(),
            former: vec![],
            cordon: None,
            quarantine: None,
            is_lost: false,
            faults: vec![],
        }
    }

    fn describe(&mut self, description: &NodeDescription) {
        let older = std::mem::replace(&mut self.description, description.clone());
        self.is_lost = false;
        if older.incarnation != description.incarnation {
            self.former.push(older.incarnation);
            let surplus = self.former.len().saturating_sub(MAX_FORMER);
            self.former.drain(..surplus);
        }
    }
}

impl NodeDescription {
    /// True when the report says nothing else.
    fn is_of(&self, report: &v1::AgentReport) -> bool {
        self.incarnation.as_str() == report.incarnation
            && self.name == report.node_name
            && self.agent_version == report.agent_version
            && self.data_address == report.data_address
            && self.jobs_folder == report.jobs_folder
            && self.devices.iter().map(|device| &device.0).eq(&report.devices)
            && self.labels.len() == report.labels.len()
            && self.labels.iter().all(|(key, value)| report.labels.get(key) == Some(value))
    }
}

impl Model {
    /// Refuses a report that must not be taken in.
    ///
    /// # Errors
    /// `PROTOCOL_VERSION_UNSUPPORTED`; `SPEC_INVALID` when a name is missing; `STALE_GENERATION` when the agent was
    /// replaced by a newer one of the same node.
    pub fn check_report(&self, report: &v1::AgentReport) -> Result<(), Failure> {
        if report.protocol_version < PROTOCOL_VERSION {
            let message = format!(
                "the agent speaks protocol version {}, this coordinator {PROTOCOL_VERSION}",
                report.protocol_version
            );
            return Err(Failure::new(Reason::ProtocolVersionUnsupported, message).about("protocol_version"));
        }
        for (field, value) in [("node_id", &report.node_id), ("incarnation", &report.incarnation)] {
            if value.is_empty() {
                return Err(Failure::new(Reason::SpecInvalid, format!("{field} is missing")).about(field));
            }
        }
        let node = self.state.node(&report.node_id.as_str().into());
        let incarnation = Incarnation::new(report.incarnation.as_str());
        if node.is_some_and(|node| node.former.contains(&incarnation)) {
            let message = format!("the agent of {} was replaced by a newer one", report.node_id);
            return Err(Failure::new(Reason::StaleGeneration, message).about("incarnation"));
        }
        Ok(())
    }

    /// How a node stands.
    pub(super) fn standing(&self, now: Timestamp, node_id: &NodeId) -> v1::NodeState {
        self.standing_of(now, self.observed.contact(node_id))
    }

    /// The same, of a node that was last heard so.
    pub(super) fn standing_of(&self, now: Timestamp, contact: Option<&Contact>) -> v1::NodeState {
        if self.observed.silence_of(now, contact) > self.rules.lease {
            v1::NodeState::Lost
        } else if contact.is_some_and(|contact| contact.report.leaving) {
            v1::NodeState::Leaving
        } else if contact.is_some_and(|contact| contact.is_connected) {
            v1::NodeState::Ready
        } else {
            v1::NodeState::Suspect
        }
    }

    /// True when a node's lease is over.
    pub(super) fn is_lost(&self, now: Timestamp, node_id: &NodeId) -> bool {
        self.observed.silence(now, node_id) > self.rules.lease
    }

    /// Which of these nodes joined, changed, are long gone, or had too many faults.
    pub(super) fn decide_nodes(&self, now: Timestamp, nodes: &BTreeSet<NodeId>) -> Vec<Change> {
        let described = nodes.iter().filter_map(|node_id| {
            let contact = self.observed.contact(node_id)?;
            let is_known =
                self.state.node(node_id).is_some_and(|node| node.description.is_of(&contact.report));
            let is_news = !is_known && !self.is_lost(now, node_id);
            is_news.then(|| Change::node(node_id, now, NodeChange::Described(contact.description())))
        });
        let known = || nodes.iter().filter_map(|node_id| self.state.node(node_id));
        let silent = known().filter_map(|node| {
            let change = self.news_of_silence(now, node)?;
            Some(Change::node(&node.id, now, change))
        });
        let quarantined = known().filter_map(|node| self.decide_quarantine(now, node));
        described.chain(silent).chain(quarantined).collect()
    }

    /// What becomes of a node that says nothing, or speaks again.
    fn news_of_silence(&self, now: Timestamp, node: &Node) -> Option<NodeChange> {
        let contact = self.observed.contact(&node.id);
        let silence = self.observed.silence_of(now, contact);
        if silence > self.rules.forget_node_after && self.held_devices(&node.id).is_empty() {
            return Some(NodeChange::Forgotten);
        }
        let is_lost = silence > self.rules.lease;
        if is_lost == node.is_lost {
            return None;
        }
        let is_known = contact.is_some_and(|contact| node.description.is_of(&contact.report));
        // One that says something else of itself is described anew.
        if is_lost { Some(NodeChange::Lost) } else { is_known.then_some(NodeChange::Returned) }
    }
}
