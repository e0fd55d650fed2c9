//! The queues while a pass goes on: a tree, with what each uses of what it may.

use std::{cmp::Ordering, collections::HashMap};

use kindred_proto::v1;

use super::{
    super::Job,
    queue_rule::QueueRule,
    rules::SchedulingRules,
    snapshot::{Device, Snapshot},
};

/// The kinds of devices that jobs ask for, in the order in which amounts of them are kept.
pub(super) const KINDS: [v1::DeviceKind; 2] = [v1::DeviceKind::Cpu, v1::DeviceKind::Cuda];

/// A number of devices of each kind.
pub(super) type Amounts = [usize; 2];

/// All queues.
pub(super) struct Tree<'s> {
    /// Parents before their children.
    pub queues: Vec<Queue<'s>>,
    by_name: HashMap<&'s str, usize>,
    /// Devices of all nodes.
    capacity: Amounts,
}

/// A queue.
pub(super) struct Queue<'s> {
    pub name: &'s str,
    pub rule: &'s QueueRule,
    pub parent: Option<usize>,
    pub has_children: bool,
    /// What it gets back from those that borrowed it.
    pub guaranteed: Amounts,
    /// What it and the queues below it use.
    pub used: Amounts,
    /// What they may use.
    limit: Amounts,
}

/// What a queue uses more than it is guaranteed, as a part of the cluster, by its weight. An exact fraction: the least goes first, and no
/// rounding decides who that is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    n_devices: u64,
    of: u64,
}

/// The place of a job's kind of device among amounts.
pub(super) fn kind_of(job: &Job) -> usize {
    usize::from(job.submission.needs_gpu)
}

impl<'s> Tree<'s> {
    /// The queues, with what running jobs use.
    pub fn new(snapshot: &'s Snapshot<'s>) -> Self {
        let mut tree = Self::empty(snapshot.rules);
        let of_kind = |kind: v1::DeviceKind| move |device: &&Device| device.kind == kind;
        tree.capacity = KINDS.map(|kind| snapshot.devices.iter().filter(of_kind(kind)).count());
        for running in &snapshot.running {
            tree.take(running.job, running.n_ranks);
        }
        tree
    }

    fn empty(rules: &'s SchedulingRules) -> Self {
        let mut tree = Self { queues: vec![], by_name: HashMap::new(), capacity: [0; 2] };
        let mut rest: Vec<(&str, &QueueRule)> =
            rules.queues.iter().map(|(name, rule)| (name.as_str(), rule)).collect();
        while !rest.is_empty() {
            let n_before = rest.len();
            rest.retain(|(name, rule)| !tree.add_if_parent_is_there(name, rule));
            // Rules that were checked have no cycle: this only keeps others from being waited for.
            if rest.len() == n_before {
                break;
            }
        }
        tree.guarantee();
        tree
    }

    fn add_if_parent_is_there(&mut self, name: &'s str, rule: &'s QueueRule) -> bool {
        let parent = rule.parent.as_deref().map(|parent| self.by_name.get(parent).copied());
        let parent = match parent {
            Some(None) => return false,
            known => known.flatten(),
        };
        if let Some(parent) = parent {
            self.queues[parent].has_children = true;
        }
        let zero = [0; 2];
        self.by_name.insert(name, self.queues.len());
        let (has_children, guaranteed, used, limit) = (false, zero, zero, zero);
        self.queues.push(Queue { name, rule, parent, has_children, guaranteed, used, limit });
        true
    }

    /// Says what each is guaranteed, the children first, and so may use.
    fn guarantee(&mut self) {
        for place in (0..self.queues.len()).rev() {
            let (rule, of_children) = (self.queues[place].rule, self.queues[place].guaranteed);
            for (slot, kind) in KINDS.into_iter().enumerate() {
                let guaranteed = rule.guaranteed(kind).map_or(of_children[slot], |number| number as usize);
                let max = rule.max(kind).map_or(usize::MAX, |number| number as usize);
                self.queues[place].guaranteed[slot] = guaranteed;
                self.queues[place].limit[slot] = if rule.borrow { max } else { max.min(guaranteed) };
                if let Some(parent) = self.queues[place].parent {
                    self.queues[parent].guaranteed[slot] += guaranteed;
                }
            }
        }
    }

    /// The queue of a job, whether it may have any or not; none where there is none.
    pub fn of(&self, job: &Job) -> Option<usize> {
        self.by_name.get(job.submission.scheduling.queue.as_str()).copied()
    }

    /// The same, if jobs may name it.
    pub fn leaf_of(&self, job: &Job) -> Option<usize> {
        self.of(job).filter(|queue| !self.queues[*queue].has_children)
    }

    /// A queue and those that it is in, from the narrowest.
    pub fn path(&self, queue: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(queue), |queue| self.queues[*queue].parent)
    }

    /// Whether a queue is in another one, or is that.
    pub fn is_in(&self, inner: usize, outer: usize) -> bool {
        self.path(inner).any(|queue| queue == outer)
    }

    /// Takes note that a job takes so many devices.
    pub fn take(&mut self, job: &Job, n_devices: usize) {
        let mut next = self.of(job);
        while let Some(queue) = next {
            self.queues[queue].used[kind_of(job)] += n_devices;
            next = self.queues[queue].parent;
        }
    }

    /// The narrowest queue on the way up that may never use so many devices.
    pub fn too_narrow(&self, queue: usize, kind: usize, n_devices: usize) -> Option<usize> {
        self.path(queue).find(|queue| self.queues[*queue].limit[kind] < n_devices)
    }

    /// The narrowest queue on the way up that may not use so many more devices now.
    pub fn full(&self, queue: usize, kind: usize, n_devices: usize) -> Option<usize> {
        self.path(queue).find(|queue| self.queues[*queue].room(kind) < n_devices)
    }

    /// How many more devices a queue may use.
    pub fn room(&self, queue: usize, kind: usize) -> usize {
        self.path(queue).map(|queue| self.queues[queue].room(kind)).min().unwrap_or(0)
    }

    /// On how many levels, from a queue upwards, so many more devices are within what is guaranteed.
    pub fn n_levels_within(&self, queue: usize, kind: usize, n_devices: usize) -> usize {
        let is_within = |queue: &usize| self.queues[*queue].is_within(kind, n_devices);
        self.path(queue).take_while(is_within).count()
    }

    /// How many levels a queue is below the narrowest one that holds another queue, too.
    pub fn n_levels_apart(&self, queue: usize, other: usize) -> usize {
        self.path(queue).take_while(|own| !self.is_in(other, *own)).count()
    }

    /// The dominant share of a queue, among these kinds.
    pub fn share(&self, queue: usize, kinds: [bool; 2]) -> Share {
        let queue = &self.queues[queue];
        let weight = u64::from(queue.rule.weight.unwrap_or(1));
        let of_kind = |kind: usize| Share {
            n_devices: queue.used[kind].saturating_sub(queue.guaranteed[kind]) as u64,
            of: self.capacity[kind] as u64 * weight,
        };
        (0..kinds.len()).filter(|kind| kinds[*kind]).map(of_kind).max().unwrap_or_default()
    }

    /// Whether the nodes have any devices of a kind.
    pub fn has_any(&self, kind: usize) -> bool {
        self.capacity[kind] > 0
    }

    /// Whether anyone is guaranteed anything.
    pub fn has_guarantees(&self) -> bool {
        self.queues.iter().any(|queue| queue.guaranteed.iter().any(|number| *number > 0))
    }
}

impl Queue<'_> {
    /// What it may use of a kind of device.
    pub fn limit(&self, kind: usize) -> usize {
        self.limit[kind]
    }

    /// How many more it may use, whatever those that it is in may.
    pub fn room(&self, kind: usize) -> usize {
        self.limit[kind].saturating_sub(self.used[kind])
    }

    /// Whether so many more devices are within what it is guaranteed.
    pub fn is_within(&self, kind: usize, n_devices: usize) -> bool {
        self.used[kind] + n_devices <= self.guaranteed[kind]
    }

    /// What it uses more than it is guaranteed.
    pub fn borrowed(&self, kind: usize) -> usize {
        self.used[kind].saturating_sub(self.guaranteed[kind])
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b.max(1));
        product(self.n_devices, other.of).cmp(&product(other.n_devices, self.of))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}
