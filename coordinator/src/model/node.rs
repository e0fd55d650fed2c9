//! One machine: what is journaled about it, and how it stands now.

use std::collections::BTreeMap;

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{Incarnation, NodeId},
    v1,
};
use serde::{Deserialize, Serialize};

use super::{Change, Model, NodeChange, PROTOCOL_VERSION, Timestamp, Wire};

/// Former lives that are remembered, so that an agent that was replaced does not come back.
const MAX_FORMER: usize = 8;

/// One machine that joined.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name in every message.
    pub id: NodeId,
    /// What its agent says of it.
    pub description: NodeDescription,
    /// Lives of its agent that are over, oldest first.
    pub former: Vec<Incarnation>,
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
}

impl Node {
    /// The name that sentences use.
    pub fn name(&self) -> &str {
        if self.description.name.is_empty() { self.id.as_str() } else { &self.description.name }
    }

    /// Indices of its devices of one kind, ascending.
    pub fn devices(&self, kind: v1::DeviceKind) -> Vec<u32> {
        let devices = self.description.devices.iter().filter(|device| device.kind() == kind);
        let mut indices: Vec<_> = devices.map(|device| device.index).collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    pub(super) fn evolve(nodes: &mut BTreeMap<NodeId, Node>, id: &NodeId, change: &NodeChange) {
        match change {
            NodeChange::Forgotten => {
                nodes.remove(id);
            }
            NodeChange::Described(description) => match nodes.get_mut(id) {
                Some(node) => node.describe(description),
                None => {
                    let node = Self { id: id.clone(), description: description.clone(), former: vec![] };
                    nodes.insert(id.clone(), node);
                }
            },
        }
    }

    fn describe(&mut self, description: &NodeDescription) {
        let older = std::mem::replace(&mut self.description, description.clone());
        if older.incarnation != description.incarnation {
            self.former.push(older.incarnation);
            let surplus = self.former.len().saturating_sub(MAX_FORMER);
            self.former.drain(..surplus);
        }
    }
}

impl NodeDescription {
    /// True when the report says nothing else; called for every node at every turn, so it copies nothing.
    fn is_of(&self, report: &v1::AgentReport) -> bool {
        self.incarnation.as_str() == report.incarnation
            && self.name == report.node_name
            && self.agent_version == report.agent_version
            && self.data_address == report.data_address
            && self.devices.iter().map(|device| &device.0).eq(&report.devices)
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
        let contact = self.observed.contact(node_id);
        if self.is_lost(now, node_id) {
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

    /// Nodes that joined, changed, or are long gone.
    pub(super) fn decide_nodes(&self, now: Timestamp) -> Vec<Change> {
        let described = self.observed.contacts().filter_map(|(node_id, contact)| {
            let is_known =
                self.state.node(node_id).is_some_and(|node| node.description.is_of(&contact.report));
            let is_news = !is_known && !self.is_lost(now, node_id);
            is_news.then(|| Change::node(node_id, now, NodeChange::Described(contact.description())))
        });
        let forgotten = self.state.nodes().filter(|node| self.is_forgettable(now, node));
        described.chain(forgotten.map(|node| Change::node(&node.id, now, NodeChange::Forgotten))).collect()
    }

    fn is_forgettable(&self, now: Timestamp, node: &Node) -> bool {
        let is_long_gone = self.observed.silence(now, &node.id) > self.rules.forget_node_after;
        is_long_gone && self.held_devices(&node.id).is_empty()
    }
}
