//! Gang placement: all ranks of a job at once, on the fewest nodes, or the sentence why not.

use std::collections::{BTreeMap, BTreeSet};

use kindred_proto::{
    ids::{CheckpointId, JobId, NodeId, Rank},
    v1,
};

use super::{Change, Job, JobChange, JobState, Model, Node, Placement, Timestamp};

/// The devices of one kind that a node has to give.
struct Offer<'a> {
    node: &'a Node,
    free: Vec<u32>,
}

/// All devices of one kind.
#[derive(Default)]
struct Pool<'a> {
    offers: Vec<Offer<'a>>,
    /// Devices that may be free one day: those of nodes that are not gone for good.
    n_possible: usize,
    /// Why devices are not free, by node.
    excuses: Vec<String>,
    /// The job that is next; those behind it wait.
    next: Option<&'a Job>,
}

impl Model {
    /// Opens a generation for every job that fits, and says why the others wait.
    ///
    /// Jobs that lost their ranks come first, then in order of submission. A job that would fit once others are done
    /// holds back those behind it; one that would not does not.
    pub(super) fn decide_placement(&self, now: Timestamp) -> Vec<Change> {
        let mut waiting: Vec<_> = self.state.active_jobs().filter(|job| job.wants_placement()).collect();
        if waiting.is_empty() {
            return vec![];
        }
        waiting.sort_by_key(|job| job.state == JobState::Pending);
        let mut pools = BTreeMap::new();
        let decide = |job| self.place_or_wait(now, job, &mut pools);
        waiting.into_iter().filter_map(decide).collect()
    }

    fn place_or_wait<'a>(
        &'a self,
        now: Timestamp,
        job: &'a Job,
        pools: &mut BTreeMap<v1::DeviceKind, Pool<'a>>,
    ) -> Option<Change> {
        let kind = job.submission.device_kind();
        let pool = pools.entry(kind).or_insert_with(|| self.pool(now, kind));
        let change = match pool.place(job) {
            Ok(placements) => JobChange::Placed {
                generation: job.next_generation(),
                placements,
                resume_from: job.newest_checkpoint().map(|it| CheckpointId::new(it.id.as_str())),
            },
            Err(reason) if reason != job.reason => JobChange::Waits { reason },
            Err(_) => return None,
        };
        Some(Change::job(&job.id, now, change))
    }

    /// Free devices for more ranks of a job: for the first of these numbers of them that there are devices for.
    pub(super) fn free_devices(
        &self,
        now: Timestamp,
        job: &Job,
        numbers: impl IntoIterator<Item = usize>,
    ) -> Option<Vec<Placement>> {
        let mut pool = self.pool(now, job.submission.device_kind());
        numbers.into_iter().find_map(|n_ranks| pool.take(n_ranks, None))
    }

    fn pool(&self, now: Timestamp, kind: v1::DeviceKind) -> Pool<'_> {
        let mut pool = Pool::default();
        for node in self.state.nodes() {
            self.add_to_pool(now, node, kind, &mut pool);
        }
        pool
    }

    fn add_to_pool<'a>(&self, now: Timestamp, node: &'a Node, kind: v1::DeviceKind, pool: &mut Pool<'a>) {
        let devices = node.devices(kind);
        if devices.is_empty() {
            return;
        }
        let standing = self.standing(now, &node.id);
        let silence = self.observed.silence(now, &node.id);
        let may_come_back = silence <= self.rules.lease + self.rules.hold_after_loss;
        if may_come_back && standing != v1::NodeState::Leaving {
            pool.n_possible += devices.len();
        }
        if let Some(excuse) = self.excuse(standing, node) {
            return pool.excuses.push(excuse);
        }
        let held = self.held_devices(&node.id);
        let (free, busy): (Vec<_>, Vec<_>) = devices
            .into_iter()
            .map(|index| (index, held.get(&(kind, index))))
            .partition(|(_, holder)| holder.is_none());
        let holders: BTreeSet<_> =
            busy.into_iter().filter_map(|(_, holder)| holder).map(|(job, _)| job).collect();
        pool.excuses.extend(holders.into_iter().map(|job| format!("{job} runs on {}", node.name())));
        pool.offers.push(Offer { node, free: free.into_iter().map(|(index, _)| index).collect() });
    }

    /// Why a node takes no rank at all.
    fn excuse(&self, standing: v1::NodeState, node: &Node) -> Option<String> {
        let state = match standing {
            v1::NodeState::Ready if self.has_stray_rank(&node.id) => "still stops old ranks",
            v1::NodeState::Ready => return None,
            v1::NodeState::Leaving => "is leaving",
            v1::NodeState::Lost => "is lost",
            _ => "is suspect",
        };
        Some(format!("{} {state}", node.name()))
    }

    /// Devices of a node that ranks hold, by kind and index, with job and rank.
    pub(super) fn held_devices(&self, node_id: &NodeId) -> BTreeMap<(v1::DeviceKind, u32), (JobId, Rank)> {
        let mut held = BTreeMap::new();
        for job in self.state.active_jobs() {
            for (rank, member) in job.live.iter().flat_map(|live| live.ranks()) {
                if member.ended.is_none() && member.placement.node_id == *node_id {
                    let device = (job.submission.device_kind(), member.placement.device_index);
                    held.insert(device, (job.id.clone(), rank));
                }
            }
            for (rank, placement) in job.joiners().filter(|(_, placement)| placement.node_id == *node_id) {
                held.insert((job.submission.device_kind(), placement.device_index), (job.id.clone(), rank));
            }
        }
        held
    }
}

impl<'a> Pool<'a> {
    fn place(&mut self, job: &'a Job) -> Result<Vec<Placement>, String> {
        if let Some(next) = self.next {
            return Err(format!("waits behind {}, which {}", next.id, needs(next)));
        }
        if let Some(placements) = job.submission.sizes().find_map(|n_ranks| self.take(n_ranks, job.home())) {
            return Ok(placements);
        }
        if job.submission.fewest() <= self.n_possible {
            self.next = Some(job);
        }
        Err(self.sentence(job))
    }

    /// Takes so many devices from the fewest nodes: from `home` first, where the job's checkpoint lies, then the fullest node that
    /// holds all of the rest, else the emptiest.
    fn take(&mut self, n_ranks: usize, home: Option<&str>) -> Option<Vec<Placement>> {
        if self.n_free() < n_ranks {
            return None;
        }
        let mut placements = Vec::with_capacity(n_ranks);
        while placements.len() < n_ranks {
            let n_rest = n_ranks - placements.len();
            let offers = self.offers.iter_mut().filter(|offer| !offer.free.is_empty());
            let offer = offers.min_by_key(|offer| {
                let n_free = offer.free.len();
                let is_home = Some(offer.node.id.as_str()) == home;
                (!is_home, n_free < n_rest, if n_free < n_rest { usize::MAX - n_free } else { n_free })
            })?;
            let n_taken = offer.free.len().min(n_rest);
            placements.extend(offer.free.drain(..n_taken).map(|index| placement(offer.node, index)));
        }
        Some(placements)
    }

    fn n_free(&self) -> usize {
        self.offers.iter().map(|offer| offer.free.len()).sum()
    }

    fn sentence(&self, job: &Job) -> String {
        let needs = needs(job);
        let n_free = self.n_free();
        if self.excuses.is_empty() && self.offers.is_empty() {
            return format!("{needs}, and no node that joined has any");
        }
        if self.excuses.is_empty() {
            return format!("{needs}, and all nodes together have {n_free}");
        }
        format!("{needs}, {n_free} free: {}", self.excuses.join(", "))
    }
}

fn needs(job: &Job) -> String {
    let n_ranks = job.submission.fewest();
    let least = if job.submission.sizes().count() > 1 { "at least " } else { "" };
    let kind = if job.submission.needs_gpu { "cuda" } else { "cpu" };
    format!("needs {least}{n_ranks} {kind} device{}", if n_ranks == 1 { "" } else { "s" })
}

fn placement(node: &Node, device_index: u32) -> Placement {
    Placement {
        node_id: node.id.clone(),
        incarnation: node.description.incarnation.clone(),
        node_name: node.name().to_owned(),
        device_index,
    }
}
