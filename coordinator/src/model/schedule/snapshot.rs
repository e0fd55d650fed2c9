//! What a pass reads, gathered once: nodes with what is free on them, who waits, who runs.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use kindred_proto::{ids::JobId, v1};

use super::{
    super::{Job, Model, Node, Placement, Timestamp, observed::Contact, state::number_of},
    SchedulingRules,
};

/// Labels that say where a node stands, from the narrowest to the widest.
const DOMAINS: [&str; 3] = ["host", "nvlink", "rack"];

/// What a pass reads.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// All nodes, by id.
    pub(in crate::model) sites: Vec<Site<'a>>,
    /// All devices, by node, kind and index.
    pub(in crate::model) devices: Vec<Device>,
    /// Nodes of each domain; none of a kind of domain that nodes do not share.
    pub(in crate::model) domains: [Option<Vec<Vec<u32>>>; 3],
    /// Jobs that want devices, in the order of their turn.
    pub(in crate::model) waiting: Vec<Waiting<'a>>,
    /// Jobs that have devices, in order of submission.
    pub(in crate::model) running: Vec<Running<'a>>,
    /// What running jobs have, as places in `devices`.
    pub(in crate::model) held: Vec<u32>,
    pub(in crate::model) rules: &'a SchedulingRules,
}

/// A node.
#[derive(Clone, Debug)]
pub(in crate::model) struct Site<'a> {
    pub node: &'a Node,
    pub devices: Range<usize>,
    /// The first node of each domain that it is in: that is the domain's number.
    pub domains: [u32; 3],
    /// Why it takes no rank.
    pub bar: Option<String>,
    /// Whether it was heard of lately.
    pub is_near: bool,
    /// Whether it may take ranks one day soon.
    pub is_possible: bool,
}

/// A device of a node.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Device {
    pub site: u32,
    pub kind: v1::DeviceKind,
    pub index: u32,
    pub memory_bytes: u64,
    /// Who has it, among those that run.
    pub holder: Option<u32>,
}

/// A job that wants devices.
#[derive(Clone, Debug)]
pub(in crate::model) struct Waiting<'a> {
    pub job: &'a Job,
    pub turn: Turn,
}

/// Whose turn it is: the least first. Those with a claim go before all others; then the time of submission counts, put back by
/// what their priority is worth; a job that gave devices to another one comes right after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::model) struct Turn {
    has_no_claim: bool,
    since_ms: i64,
    number: u64,
    follows: bool,
}

impl Turn {
    /// Whether it comes before all of those without a claim.
    pub fn has_claim(self) -> bool {
        !self.has_no_claim
    }

    /// Whether it comes right after another one.
    pub fn follows(self, first: Self) -> bool {
        self == Self { follows: true, ..first } && self != first
    }
}

/// A job that has devices.
#[derive(Clone, Debug)]
pub(in crate::model) struct Running<'a> {
    pub job: &'a Job,
    /// In `Snapshot::held`.
    pub devices: Range<usize>,
    /// Ranks that hold something, whether their node still names it or not.
    pub n_ranks: usize,
    /// Numbers of ranks that it would rather have, most first; empty while it cannot grow.
    pub larger: Vec<usize>,
}

impl<'a> Snapshot<'a> {
    /// What a running job has, as places in `devices`.
    pub(super) fn held_by(&self, running: &Running<'_>) -> &[u32] {
        &self.held[running.devices.clone()]
    }

    /// The place of a node.
    pub(super) fn site_of(&self, node_id: &str) -> Option<u32> {
        let place = self.sites.binary_search_by(|site| site.node.id.as_str().cmp(node_id)).ok()?;
        u32::try_from(place).ok()
    }

    /// A rank's place on a device.
    pub(in crate::model) fn placement(&self, device: u32) -> Placement {
        let Device { site, index, .. } = self.devices[device as usize];
        let node = self.sites[site as usize].node;
        Placement {
            node_id: node.id.clone(),
            incarnation: node.description.incarnation.clone(),
            node_name: node.name().to_owned(),
            device_index: index,
        }
    }

    /// Adds a job to those that wait, or puts it in the place of the one with its id.
    pub(super) fn with_waiting(mut self, job: &'a Job, now: Timestamp, hold: std::time::Duration) -> Self {
        self.waiting.retain(|other| other.job.id != job.id);
        let mut jobs: Vec<&Job> = self.waiting.iter().map(|waiting| waiting.job).collect();
        jobs.push(job);
        self.waiting = in_turn(jobs, self.rules, now, hold);
        self
    }

    fn hold(&mut self, holder: u32, site: u32, kind: v1::DeviceKind, index: u32) {
        let range = self.sites[site as usize].devices.clone();
        let here = self.devices[range.clone()].iter().position(|it| (it.kind, it.index) == (kind, index));
        let Some(offset) = here else { return };
        let place = range.start + offset;
        self.devices[place].holder = Some(holder);
        self.held.push(u32::try_from(place).expect("fewer devices than four billion"));
    }
}

impl Model {
    /// What a pass reads, as it is now.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot<'_> {
        let mut snapshot = Snapshot {
            sites: vec![],
            devices: vec![],
            domains: [None, None, None],
            waiting: vec![],
            running: vec![],
            held: vec![],
            rules: &self.rules.scheduling,
        };
        let contacts = self.contacts_by_node();
        self.add_sites(now, &contacts, &mut snapshot);
        add_domains(&mut snapshot);
        self.add_running(now, &mut snapshot);
        self.bar_strays(&contacts, &mut snapshot);
        let waiting = self.state.active_jobs().filter(|job| job.wants_placement()).collect();
        snapshot.waiting = in_turn(waiting, snapshot.rules, now, self.rules.hold_after_loss);
        snapshot
    }

    /// What was last heard of each node, in their order. Both are sorted: thousands of nodes need no search each.
    fn contacts_by_node(&self) -> Vec<Option<&Contact>> {
        let mut contacts = self.observed.contacts().peekable();
        let contact_of = |node: &Node| {
            while contacts.next_if(|(node_id, _)| **node_id < node.id).is_some() {}
            contacts.next_if(|(node_id, _)| **node_id == node.id).map(|(_, contact)| contact)
        };
        self.state.nodes().map(contact_of).collect()
    }

    fn add_sites<'a>(&'a self, now: Timestamp, contacts: &[Option<&Contact>], snapshot: &mut Snapshot<'a>) {
        for ((site, node), contact) in (0..).zip(self.state.nodes()).zip(contacts.iter().copied()) {
            let start = snapshot.devices.len();
            let device = |it: &v1::Device| Device {
                site,
                kind: it.kind(),
                index: it.index,
                memory_bytes: it.memory_bytes,
                holder: None,
            };
            snapshot.devices.extend(node.description.devices.iter().map(|it| device(it)));
            let own = &mut snapshot.devices[start..];
            own.sort_by_key(|it| (it.kind, it.index));
            let n_own = dedup(own);
            snapshot.devices.truncate(start + n_own);
            snapshot.sites.push(Site {
                node,
                devices: start..start + n_own,
                domains: [site; 3],
                bar: self.bar(now, node, contact),
                is_near: self.is_near(now, contact),
                is_possible: self.may_come_back(now, node, contact),
            });
        }
    }

    fn add_running<'a>(&'a self, now: Timestamp, snapshot: &mut Snapshot<'a>) {
        let places: HashMap<&str, u32> =
            (0..).zip(self.state.nodes()).map(|(place, node)| (node.id.as_str(), place)).collect();
        for job in self.state.placed_jobs() {
            let members = job.live.iter().flat_map(|live| &live.members);
            let there = members.filter(|member| member.ended.is_none()).map(|member| &member.placement);
            let (kind, start) = (job.submission.device_kind(), snapshot.held.len());
            let holder = u32::try_from(snapshot.running.len()).expect("fewer jobs than four billion");
            let mut n_ranks = 0;
            // Ranks of a node follow one another.
            let mut newest: Option<(&str, Option<u32>)> = None;
            for placement in there.chain(job.joiners().map(|(_, placement)| placement)) {
                n_ranks += 1;
                let node_id = placement.node_id.as_str();
                let site = match newest {
                    Some((known, site)) if known == node_id => site,
                    _ => places.get(node_id).copied(),
                };
                newest = Some((node_id, site));
                if let Some(site) = site {
                    snapshot.hold(holder, site, kind, placement.device_index);
                }
            }
            if n_ranks > 0 {
                let devices = start..snapshot.held.len();
                let larger = self.larger_sizes(now, job).unwrap_or_default();
                snapshot.running.push(Running { job, devices, n_ranks, larger });
            }
        }
    }

    /// Ranks that nobody expects matter only where there is room for others.
    fn bar_strays(&self, contacts: &[Option<&Contact>], snapshot: &mut Snapshot<'_>) {
        for (site, contact) in snapshot.sites.iter_mut().zip(contacts) {
            let Some(contact) = contact.filter(|_| site.bar.is_none()) else { continue };
            let has_room = snapshot.devices[site.devices.clone()].iter().any(|it| it.holder.is_none());
            if has_room && self.has_stray_rank(contact) {
                site.bar = Some(format!("{} still stops old ranks", site.node.name()));
            }
        }
    }
}

/// In the order of their turn.
fn in_turn<'a>(
    jobs: Vec<&'a Job>,
    rules: &SchedulingRules,
    now: Timestamp,
    hold: std::time::Duration,
) -> Vec<Waiting<'a>> {
    let turn = |job: &Job| {
        let worth_ms = i64::try_from(rules.ageing_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let priority_ms = i64::from(job.submission.scheduling.priority).saturating_mul(worth_ms);
        Turn {
            has_no_claim: job.claim.as_ref().is_none_or(|claim| now.since(claim.since) > hold),
            since_ms: job.queued_at.0.saturating_sub(priority_ms),
            number: number_of(job.id.as_str()).unwrap_or(u64::MAX),
            follows: false,
        }
    };
    let turns: BTreeMap<&JobId, Turn> = jobs.iter().map(|job| (&job.id, turn(job))).collect();
    let turn_of = |job: &Job| {
        let before = job.claim.as_ref().and_then(|claim| turns.get(claim.after.as_ref()?));
        before.map_or(turns[&job.id], |before| Turn { follows: true, ..*before })
    };
    let mut waiting: Vec<_> = jobs.iter().map(|job| Waiting { job, turn: turn_of(job) }).collect();
    waiting.sort_by_key(|waiting| waiting.turn);
    waiting
}

/// Gives each node its domains. A node without the label is in the domain of the next narrower kind, and the narrowest is the node.
fn add_domains(snapshot: &mut Snapshot<'_>) {
    for (level, label) in DOMAINS.iter().enumerate() {
        let mut firsts: HashMap<&str, u32> = HashMap::new();
        for (number, site) in (0..).zip(&mut snapshot.sites) {
            let narrower = if level == 0 { number } else { site.domains[level - 1] };
            let named = site.node.description.labels.get(*label);
            site.domains[level] = named.map_or(narrower, |name| *firsts.entry(name).or_insert(number));
        }
        if firsts.is_empty() {
            continue;
        }
        let mut members = vec![vec![]; snapshot.sites.len()];
        for (number, site) in (0..).zip(&snapshot.sites) {
            members[site.domains[level] as usize].push(number);
        }
        let is_shared = members.iter().any(|sites: &Vec<u32>| sites.len() > 1);
        snapshot.domains[level] = is_shared.then_some(members);
    }
}

/// Moves the first of each kind and index to the front, and says how many there are.
fn dedup(sorted: &mut [Device]) -> usize {
    let mut n_kept = 0;
    for place in 0..sorted.len() {
        let device = sorted[place];
        let is_new =
            n_kept == 0 || (sorted[n_kept - 1].kind, sorted[n_kept - 1].index) != (device.kind, device.index);
        if is_new {
            sorted[n_kept] = device;
            n_kept += 1;
        }
    }
    n_kept
}
