//! All open streams of agents: what they said, and the orders that answer it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kindred_proto::{ids::NodeId, v1};
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    command::{Connected, Reply, send},
    intake::Reported,
};
use crate::{
    config::Config,
    model::{Model, Observation, Order, Timestamp},
};

/// Names one stream among all of this coordinator's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionId {
    node_id: NodeId,
    number: u64,
}

/// What an agent is told.
#[derive(Clone, Debug)]
pub struct Orders {
    /// All but the ranks.
    pub head: v1::AgentOrders,
    /// What it should do with each rank.
    pub ranks: Vec<Order>,
}

impl Orders {
    /// As the agent gets it.
    pub fn to_wire(&self) -> v1::AgentOrders {
        v1::AgentOrders { ranks: self.ranks.iter().map(Order::to_wire).collect(), ..self.head.clone() }
    }
}

/// All open streams.
#[derive(Default)]
pub(super) struct Agents {
    /// What all orders begin with.
    blank: v1::AgentOrders,
    sessions: BTreeMap<NodeId, Session>,
    n_sessions: u64,
    /// Those that have said something that no orders answer yet.
    due: BTreeSet<NodeId>,
    /// Those of them that were told nothing yet.
    fresh: BTreeSet<NodeId>,
    /// Streams that were let in and not told so: their first orders come first.
    welcomes: Vec<(Reply<Connected>, Connected)>,
}

struct Session {
    number: u64,
    incarnation: String,
    orders: watch::Sender<Orders>,
    reports_seen: u64,
    telemetry_acknowledged: u64,
    /// True when the agent has said good-bye.
    is_leaving: bool,
}

impl Agents {
    pub fn new(config: &Config) -> Self {
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let blank = v1::AgentOrders {
            coordinator_incarnation: Uuid::new_v4().to_string(),
            lease_ms: millis(config.timing.lease),
            report_interval_ms: millis(config.timing.renewal),
            abort_grace_ms: millis(config.timing.abort_grace),
            hang_grace_ms: millis(config.timing.hang_grace),
            meeting_timeout_ms: millis(config.timing.meeting_timeout),
            collective_timeout_ms: millis(config.timing.collective_timeout),
            ..Default::default()
        };
        Self { blank, ..Self::default() }
    }

    /// Lets a stream in; it takes the place of an older one of the same node.
    pub fn connect(
        &mut self,
        now: Timestamp,
        model: &mut Model,
        reported: Reported,
        reply: Reply<Connected>,
    ) {
        if let Err(refusal) = model.check_report(&reported.report) {
            return send(reply, Err(refusal));
        }
        let node_id = NodeId::new(reported.report.node_id.as_str());
        self.n_sessions += 1;
        let session = SessionId { node_id: node_id.clone(), number: self.n_sessions };
        let (orders, receiver) = watch::channel(Orders { head: self.blank.clone(), ranks: vec![] });
        let opened = Session {
            number: session.number,
            incarnation: reported.report.incarnation.clone(),
            orders,
            reports_seen: 0,
            telemetry_acknowledged: 0,
            is_leaving: false,
        };
        info!(%node_id, incarnation = opened.incarnation, "agent connected");
        self.fresh.insert(node_id.clone());
        self.sessions.insert(node_id, opened);
        self.report(now, model, session.clone(), reported);
        self.welcomes.push((reply, Connected { session, orders: receiver }));
    }

    /// Takes in a report, unless its stream was replaced.
    pub fn report(&mut self, now: Timestamp, model: &mut Model, session: SessionId, reported: Reported) {
        let Some(open) = self.sessions.get_mut(&session.node_id) else { return };
        let is_own = reported.report.node_id == session.node_id.as_str()
            && reported.report.incarnation == open.incarnation;
        if open.number != session.number || !is_own {
            return;
        }
        open.reports_seen += 1;
        open.telemetry_acknowledged = open.telemetry_acknowledged.max(reported.telemetry_acknowledged);
        open.is_leaving = reported.report.leaving;
        self.due.insert(session.node_id);
        model.observe(now, Observation::Reported(Box::new(reported.report)));
    }

    /// Notices streams that nobody reads any more.
    pub fn drop_closed(&mut self, now: Timestamp, model: &mut Model) {
        self.sessions.retain(|node_id, session| {
            if session.orders.is_closed() {
                if session.is_leaving {
                    info!(%node_id, "agent left");
                } else {
                    warn!(%node_id, "agent disconnected");
                }
                model.observe(now, Observation::Disconnected(node_id.clone()));
            }
            !session.orders.is_closed()
        });
    }

    /// Answers every stream that said something, and tells every agent what is new.
    pub fn publish(&mut self, model: &mut Model) {
        let told = model.take_told().into_iter().chain(std::mem::take(&mut self.fresh));
        for node_id in told {
            if let Some(session) = self.sessions.get(&node_id) {
                session.order(model.orders(&node_id));
            }
        }
        for node_id in std::mem::take(&mut self.due) {
            if let Some(session) = self.sessions.get(&node_id) {
                session.answer();
            }
        }
        for (reply, connected) in self.welcomes.drain(..) {
            send(reply, Ok(connected));
        }
    }
}

impl Session {
    fn order(&self, ranks: Vec<Order>) {
        self.orders.send_if_modified(|sent| {
            let has_changed = sent.ranks != ranks;
            // Also when they say the same: they hold on to their jobs as they were.
            sent.ranks = ranks;
            has_changed
        });
    }

    fn answer(&self) {
        self.orders.send_modify(|sent| {
            sent.head.reports_seen = self.reports_seen;
            sent.head.telemetry_acknowledged = self.telemetry_acknowledged;
        });
    }
}
