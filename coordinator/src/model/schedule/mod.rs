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

mod explain;
mod home;
mod preempt;
mod rules;
mod sentence;
mod snapshot;
mod supply;

use std::collections::BTreeMap;

use kindred_proto::v1::{self, explanation::Constraint};

use super::{Job, Timestamp};
use home::Home;
use preempt::Candidates;
use supply::{Supply, Want};

pub(in crate::model) use preempt::Yield;
pub use rules::{QuarantineRule, Quota, SchedulingRules, SchedulingTerms};
pub use snapshot::Snapshot;

/// Jobs behind others that are told behind whom: reasons are journaled, and when the first of thousands is placed, not all need
/// another one.
const MAX_NAMED: usize = 16;

/// What becomes of the jobs of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of those that wait, in the order of their turn.
    pub(in crate::model) verdicts: Vec<Verdict>,
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
    /// Who gives way to it from now on.
    pub yields: Vec<Yield>,
}

/// A pass that goes on.
struct Pass<'s> {
    snapshot: &'s Snapshot<'s>,
    supply: Supply<'s>,
    /// Devices that each queue uses, by kind.
    used: BTreeMap<(&'s str, v1::DeviceKind), usize>,
    /// The first job of each queue that waits for its quota.
    first_over_quota: BTreeMap<(&'s str, v1::DeviceKind), usize>,
    candidates: Candidates,
    n_behind: usize,
    /// Why devices are not free, by class.
    excuses: BTreeMap<usize, String>,
}

/// Says what becomes of all jobs that wait, and which running ones get more ranks.
pub fn schedule<'s>(snapshot: &'s Snapshot<'s>, now: Timestamp) -> Plan {
    let mut pass = Pass::new(snapshot, now);
    let verdicts = (0..snapshot.waiting.len()).map(|place| pass.decide(place)).collect();
    Plan { verdicts, growth: pass.grow() }
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
        let mut used = BTreeMap::new();
        for running in &snapshot.running {
            *used.entry(queue_of(running.job)).or_default() += running.n_ranks;
        }
        Self {
            snapshot,
            supply: Supply::new(snapshot),
            used,
            first_over_quota: BTreeMap::new(),
            candidates: Candidates::new(snapshot, now),
            n_behind: 0,
            excuses: BTreeMap::new(),
        }
    }

    fn decide(&mut self, place: usize) -> Verdict {
        let job = self.snapshot.waiting[place].job;
        let (queue, fewest) = (queue_of(job), job.submission.fewest());
        let Some(limit) = self.snapshot.rules.limit(queue.0, queue.1) else {
            return never(Constraint::Queue, self.snapshot.rules.no_queue(queue.0));
        };
        let class = self.supply.class_of(Want::of(job));
        if fewest > limit {
            let reason = format!("{}, and queue {} may use {limit}", sentence::needs(job), queue.0);
            return never(Constraint::Quota, reason);
        }
        if fewest > self.supply.class(class).n_possible {
            return never(Constraint::Cluster, self.devices_sentence(job, class));
        }
        if let Some(first) = self.first_over_quota.get(&queue).copied() {
            return self.waits_behind(first);
        }
        let room = limit.saturating_sub(self.used.get(&queue).copied().unwrap_or(0));
        if fewest > room {
            self.first_over_quota.insert(queue, place);
            return self.over_quota(job, class, limit, room);
        }
        let (home, mut sizes) =
            (self.supply.home_of(job), job.submission.sizes().filter(|size| *size <= room));
        if let Some(devices) = sizes.find_map(|n_ranks| self.supply.take(class, n_ranks, home.as_ref())) {
            *self.used.entry(queue).or_default() += devices.len();
            return Verdict::Starts(devices);
        }
        match home.filter(|_| self.supply.class(class).n_free >= fewest) {
            Some(home) => self.far_from_home(job, &home),
            None => self.short_of_devices(place, job, class),
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

    fn short_of_devices(&mut self, place: usize, job: &'s Job, class: usize) -> Verdict {
        let kept_for = self.supply.class(class).kept_for;
        let verdict = match kept_for {
            Some(first) => self.waits_behind(first),
            None => {
                let n_short = job.submission.fewest() - self.supply.class(class).n_free;
                let (coming, yields) = self.make_room(job, class, n_short, 0);
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

    fn over_quota(&mut self, job: &'s Job, class: usize, limit: usize, room: usize) -> Verdict {
        let fewest = job.submission.fewest();
        let n_short = fewest.saturating_sub(self.supply.class(class).n_free);
        let (coming, yields) = self.make_room(job, class, n_short, fewest - room);
        let reason = match coming.is_empty() {
            true => sentence::over_quota(job, limit, room),
            false => sentence::given_way(job, room, &coming),
        };
        waits(Constraint::Quota, reason, yields)
    }

    fn waits_behind(&mut self, first: usize) -> Verdict {
        self.n_behind += 1;
        let reason = match self.n_behind > MAX_NAMED {
            true => format!("waits behind more than {MAX_NAMED} jobs"),
            false => sentence::behind(self.snapshot.waiting[first].job),
        };
        let behind = Some(first);
        let constraint = Constraint::Order;
        Verdict::Waits(Wait { constraint, reason, is_possible: true, behind, yields: vec![] })
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
            let (job, queue) = (running.job, queue_of(running.job));
            let Some(limit) = self.snapshot.rules.limit(queue.0, queue.1) else { continue };
            if running.larger.is_empty() || self.candidates.gives_way(place) {
                continue;
            }
            let room = limit.saturating_sub(self.used.get(&queue).copied().unwrap_or(0));
            let class = self.supply.class_of(Want::of(job));
            let more = running.larger.iter().map(|size| size.saturating_sub(running.n_ranks));
            let taken = more
                .filter(|n_more| (1..=room).contains(n_more))
                .find_map(|n_more| self.supply.take(class, n_more, None));
            if let Some(devices) = taken {
                *self.used.entry(queue).or_default() += devices.len();
                growth.push((place, devices));
            }
        }
        growth
    }
}

fn queue_of(job: &Job) -> (&str, v1::DeviceKind) {
    (&job.submission.scheduling.queue, job.submission.device_kind())
}

fn never(constraint: Constraint, reason: String) -> Verdict {
    Verdict::Waits(Wait { constraint, reason, is_possible: false, behind: None, yields: vec![] })
}

fn waits(constraint: Constraint, reason: String, yields: Vec<Yield>) -> Verdict {
    Verdict::Waits(Wait { constraint, reason, is_possible: true, behind: None, yields })
}
