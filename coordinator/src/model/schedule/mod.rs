//! Who gets which devices: a pure function of a snapshot and the time.
//!
//! Jobs are asked in the order of their turn. One that fits is placed, all its ranks at once. One that does not, though it could one
//! day, keeps all that is free of what it may use: run times are not known, so that any of those devices may be what it
//! waits for, and no job behind it may have them. Jobs behind it run on what it cannot use. So no job is ever delayed by one whose
//! turn comes later.
//!
//! Turns go by the time since when a job waits, put back by what its priority is worth. Two jobs that wait never change places, and a
//! job that waits long enough goes before all that come: nobody starves. Jobs that have just lost ranks go first, for a while.
//!
//! A job goes on where its newest checkpoint can be read: with a rank on a node that has it, where it is in no object store.
//!
//! A job whose turn has come may have the devices of running jobs of lower priority (as it was submitted: waiting counts nothing
//! here, so that two jobs never take devices from one another in turns).
//!
//! Where queues have weights or guarantees, they take turns by what they use (`turns`). A queue may use what is idle of others, and gives
//! it back: a job that stays within what its queue is guaranteed may have borrowed devices, whatever the priorities (`loans`).

mod explain;
mod home;
mod loans;
mod preempt;
mod queue_rule;
mod queues;
mod rules;
mod sentence;
mod snapshot;
mod supply;
mod tree;
mod turns;

use std::collections::BTreeMap;

use kindred_proto::v1::explanation::Constraint;

use super::{Job, Timestamp};
use home::Home;
use preempt::{Candidates, Needs};
use supply::{Supply, Want};
use tree::{Tree, kind_of};
use turns::Turns;

pub(in crate::model) use preempt::Yield;
pub use queue_rule::QueueRule;
pub use rules::{QuarantineRule, SchedulingRules, SchedulingTerms};
pub use snapshot::Snapshot;

/// Jobs behind others that are told behind whom: reasons are journaled, and when the first of thousands is placed, not all need
/// another one.
const MAX_NAMED: usize = 16;

/// What becomes of the jobs of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of those that wait, as the snapshot has them.
    pub(in crate::model) verdicts: Vec<Verdict>,
    /// In which order they were asked.
    pub(in crate::model) order: Vec<usize>,
    /// More devices for running jobs, by their place among those that run.
    pub(in crate::model) growth: Vec<(usize, Vec<u32>)>,
}

/// What becomes of a job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model) enum Verdict {
    /// It starts on these devices.
    Starts(Vec<u32>),
    /// It waits on.
    Waits(Wait),
}

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model) struct Wait {
    pub constraint: Constraint,
    pub reason: String,
    /// Whether it starts once others are done.
    pub is_possible: bool,
    /// The job that it waits behind, by its place among those that wait.
    pub behind: Option<usize>,
    /// The queue that uses all that it may.
    pub full: Option<usize>,
    /// Who gives way to it from now on.
    pub yields: Vec<Yield>,
}

/// A pass that goes on.
struct Pass<'s> {
    snapshot: &'s Snapshot<'s>,
    supply: Supply<'s>,
    tree: Tree<'s>,
    /// The first job that waits until a queue may use more of a kind of device.
    first_over_quota: BTreeMap<(usize, usize), usize>,
    candidates: Candidates,
    n_behind: usize,
    /// Why devices are not free, by class.
    excuses: BTreeMap<usize, String>,
}

/// Says what becomes of all jobs that wait, and which running ones get more ranks.
pub fn schedule<'s>(snapshot: &'s Snapshot<'s>, now: Timestamp) -> Plan {
    let mut pass = Pass::new(snapshot, now);
    let mut turns = Turns::new(snapshot, &pass.tree);
    let mut decided: Vec<Option<Verdict>> = vec![None; snapshot.waiting.len()];
    let mut order = Vec::with_capacity(decided.len());
    while let Some(place) = turns.next(&pass.tree) {
        decided[place] = Some(pass.decide(place));
        order.push(place);
    }
    let verdicts = decided.into_iter().map(|verdict| verdict.expect("each has one turn")).collect();
    Plan { verdicts, order, growth: pass.grow() }
}

/// Devices for more ranks of one job, whoever waits: for the first of these numbers of them that there are devices for.
pub(in crate::model) fn find_devices<'s>(
    snapshot: &'s Snapshot<'s>,
    job: &'s Job,
    numbers: impl IntoIterator<Item = usize>,
) -> Option<Vec<u32>> {
    let mut supply = Supply::new(snapshot);
    let class = supply.class_of(Want::of(job));
    numbers.into_iter().find_map(|n_ranks| supply.take(class, n_ranks, None))
}

impl<'s> Pass<'s> {
    fn new(snapshot: &'s Snapshot<'s>, now: Timestamp) -> Self {
        let tree = Tree::new(snapshot);
        Self {
            snapshot,
            supply: Supply::new(snapshot),
            candidates: Candidates::new(snapshot, &tree, now),
            tree,
            first_over_quota: BTreeMap::new(),
            n_behind: 0,
            excuses: BTreeMap::new(),
        }
    }

    fn decide(&mut self, place: usize) -> Verdict {
        let job = self.snapshot.waiting[place].job;
        let (kind, fewest) = (kind_of(job), job.submission.fewest());
        let Some(queue) = self.tree.leaf_of(job) else {
            let reason = self.snapshot.rules.no_queue(&job.submission.scheduling.queue);
            return never(Constraint::Queue, reason);
        };
        let class = self.supply.class_of(Want::of(job));
        if let Some(full) = self.tree.too_narrow(queue, kind, fewest) {
            let reason = sentence::too_narrow(job, &self.tree, queue, full);
            return Verdict::Waits(Wait { full: Some(full), ..wait(Constraint::Quota, reason, false) });
        }
        if fewest > self.supply.class(class).n_possible {
            return never(Constraint::Cluster, self.devices_sentence(job, class));
        }
        let held_up = |queue: usize| self.first_over_quota.get(&(queue, kind)).copied();
        let first = self.tree.path(queue).find_map(held_up);
        if let Some(first) = first {
            return self.waits_behind(first);
        }
        if let Some(full) = self.tree.full(queue, kind, fewest) {
            self.first_over_quota.insert((full, kind), place);
            return self.over_quota(job, queue, class, full);
        }
        let room = self.tree.room(queue, kind);
        let (home, mut sizes) =
            (self.supply.home_of(job), job.submission.sizes().filter(|size| *size <= room));
        if let Some(devices) = sizes.find_map(|n_ranks| self.supply.take(class, n_ranks, home.as_ref())) {
            self.tree.take(job, devices.len());
            return Verdict::Starts(devices);
        }
        match home.filter(|_| self.supply.class(class).n_free >= fewest) {
            Some(home) => self.far_from_home(job, &home),
            None => self.short_of_devices(place, queue, class),
        }
    }

    /// There are devices enough, and none where its checkpoint lies. It keeps none of them meanwhile: that node may be away for long.
    fn far_from_home(&self, job: &Job, home: &Home) -> Verdict {
        let reason = sentence::far_from_home(self.snapshot, job, home);
        let comes_back = home.sites.iter().any(|site| self.snapshot.sites[*site as usize].bar.is_none());
        if comes_back {
            waits(Constraint::Devices, reason, vec![])
        } else {
            never(Constraint::Devices, reason)
        }
    }

    fn short_of_devices(&mut self, place: usize, queue: usize, class: usize) -> Verdict {
        let job = self.snapshot.waiting[place].job;
        let kept_for = self.supply.class(class).kept_for;
        let verdict = match kept_for {
            Some(first) => self.waits_behind(first),
            None => {
                let n_devices = job.submission.fewest() - self.supply.class(class).n_free;
                let (coming, yields) =
                    self.make_room(job, queue, class, &Needs { n_devices, ..Needs::default() });
                let reason = match coming.is_empty() {
                    true => self.devices_sentence(job, class),
                    false => sentence::given_way(job, self.supply.class(class).n_free, &coming),
                };
                waits(Constraint::Devices, reason, yields)
            }
        };
        self.supply.keep(class, place);
        verdict
    }

    fn over_quota(&mut self, job: &'s Job, queue: usize, class: usize, full: usize) -> Verdict {
        let (kind, fewest) = (kind_of(job), job.submission.fewest());
        let n_devices = fewest.saturating_sub(self.supply.class(class).n_free);
        let short = |queue: usize| (queue, fewest.saturating_sub(self.tree.queues[queue].room(kind)));
        let rooms = self.tree.path(queue).map(short).filter(|(_, n_ranks)| *n_ranks > 0).collect();
        let (coming, yields) = self.make_room(job, queue, class, &Needs { n_devices, rooms });
        let reason = match coming.is_empty() {
            true => sentence::over_quota(job, &self.tree, queue, full),
            false => sentence::given_way(job, self.tree.queues[full].room(kind), &coming),
        };
        Verdict::Waits(Wait { full: Some(full), yields, ..wait(Constraint::Quota, reason, true) })
    }

    fn waits_behind(&mut self, first: usize) -> Verdict {
        self.n_behind += 1;
        let reason = match self.n_behind > MAX_NAMED {
            true => format!("waits behind more than {MAX_NAMED} jobs"),
            false => sentence::behind(self.snapshot.waiting[first].job),
        };
        Verdict::Waits(Wait { behind: Some(first), ..wait(Constraint::Order, reason, true) })
    }

    fn devices_sentence(&mut self, job: &Job, class: usize) -> String {
        let class_ref = self.supply.class(class);
        let excuses =
            self.excuses.entry(class).or_insert_with(|| sentence::excuses(self.snapshot, class_ref));
        sentence::short_of_devices(job, class_ref, excuses)
    }

    /// More devices for running jobs that may have more, from what nobody waits for.
    fn grow(&mut self) -> Vec<(usize, Vec<u32>)> {
        let mut growth = vec![];
        for (place, running) in self.snapshot.running.iter().enumerate() {
            let (job, kind) = (running.job, kind_of(running.job));
            let Some(queue) = self.tree.of(job) else { continue };
            if running.larger.is_empty() || self.candidates.gives_way(place) {
                continue;
            }
            let room = match self.is_waited_for(queue, kind) {
                true => 0,
                false => self.tree.room(queue, kind),
            };
            let class = self.supply.class_of(Want::of(job));
            let more = running.larger.iter().map(|size| size.saturating_sub(running.n_ranks));
            let taken = more
                .filter(|n_more| (1..=room).contains(n_more))
                .find_map(|n_more| self.supply.take(class, n_more, None));
            if let Some(devices) = taken {
                self.tree.take(job, devices.len());
                growth.push((place, devices));
            }
        }
        growth
    }

    /// Whether a job waits until this queue, or one that it is in, may use more.
    fn is_waited_for(&self, queue: usize, kind: usize) -> bool {
        self.tree.path(queue).any(|queue| self.first_over_quota.contains_key(&(queue, kind)))
    }
}

fn wait(constraint: Constraint, reason: String, is_possible: bool) -> Wait {
    Wait { constraint, reason, is_possible, behind: None, full: None, yields: vec![] }
}

fn never(constraint: Constraint, reason: String) -> Verdict {
    Verdict::Waits(wait(constraint, reason, false))
}

fn waits(constraint: Constraint, reason: String, yields: Vec<Yield>) -> Verdict {
    Verdict::Waits(Wait { yields, ..wait(constraint, reason, true) })
}
