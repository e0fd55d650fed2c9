//! Queues at random, and what holds of them in every pass, told anew from the state alone.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use v1::explanation::Constraint;

use super::*;
use crate::model::schedule::{Verdict, Wait};

pub(super) type Queues = BTreeMap<String, QueueRule>;

/// What decides about one queue.
#[derive(Clone, Copy, Debug)]
struct Knobs {
    guaranteed: u32,
    weight: u32,
    /// How much more than that it may use; none: no limit.
    spare: Option<u32>,
    borrows: bool,
}

/// Two queues with quotas.
pub(super) fn flat() -> Queues {
    let queue = |max_cpu| QueueRule { max_cpu: Some(max_cpu), ..QueueRule::default() };
    [("default".to_owned(), queue(100)), ("small".to_owned(), queue(3))].into()
}

/// A tree of five, of which four are leaves.
pub(super) fn trees() -> impl Strategy<Value = Queues> {
    let knobs = (0..4_u32, 1..5_u32, prop::option::of(0..4_u32), prop::bool::weighted(0.7))
        .prop_map(|(guaranteed, weight, spare, borrows)| Knobs { guaranteed, weight, spare, borrows });
    vec(knobs, 5).prop_map(|knobs| {
        let of_children = knobs[2].guaranteed + knobs[3].guaranteed;
        let research = Knobs { guaranteed: of_children + knobs[1].guaranteed, ..knobs[1] };
        let queues: Queues = [
            ("default", knobs[0].rule(None)),
            ("research", research.rule(None)),
            ("vision", knobs[2].rule(Some("research"))),
            ("language", knobs[3].rule(Some("research"))),
            ("small", knobs[4].rule(None)),
        ]
        .map(|(name, rule)| (name.to_owned(), rule))
        .into();
        let rules = SchedulingRules { queues: queues.clone(), ..SchedulingRules::default() };
        rules.check().expect("a tree whose numbers fit");
        queues
    })
}

/// Either.
pub(super) fn queues() -> impl Strategy<Value = Queues> {
    prop_oneof![1 => Just(flat()), 2 => trees()]
}

/// Those that jobs may name.
pub(super) fn leaves(queues: &Queues) -> Vec<&str> {
    let is_parent = |name: &str| queues.values().any(|rule| rule.parent.as_deref() == Some(name));
    queues.keys().map(String::as_str).filter(|name| !is_parent(name)).collect()
}

impl Knobs {
    fn rule(self, parent: Option<&str>) -> QueueRule {
        QueueRule {
            parent: parent.map(str::to_owned),
            weight: Some(self.weight),
            guaranteed_cpu: Some(self.guaranteed),
            max_cpu: self.spare.map(|spare| self.guaranteed + spare),
            borrow: self.borrows || self.guaranteed == 0,
            ..QueueRule::default()
        }
    }
}

/// A queue and those that it is in.
fn line<'a>(queues: &'a Queues, name: &'a str) -> Vec<&'a str> {
    std::iter::successors(Some(name), |name| queues[*name].parent.as_deref()).collect()
}

/// Devices that each queue uses.
fn used<'a>(queues: &'a Queues, state: &'a State) -> BTreeMap<&'a str, u32> {
    let mut used = BTreeMap::new();
    for job in state.active_jobs() {
        let members = job.live.iter().flat_map(|live| &live.members);
        let n_there = members.filter(|member| member.ended.is_none()).count() + job.joiners().count();
        for queue in line(queues, &job.submission.scheduling.queue) {
            *used.entry(queue).or_default() += n_there as u32;
        }
    }
    used
}

impl World {
    pub(super) fn queues(&self) -> &Queues {
        &self.model.rules.scheduling.queues
    }

    /// No queue uses more than it may.
    pub(super) fn check_queues(&self) {
        let queues = self.queues();
        for (queue, n_used) in used(queues, self.model.state()) {
            let rule = &queues[queue];
            let guaranteed = rule.guaranteed_cpu.unwrap_or(0);
            let limit = if rule.borrow { u32::MAX } else { guaranteed };
            let limit = limit.min(rule.max_cpu.unwrap_or(u32::MAX));
            assert!(n_used <= limit, "queue {queue} uses {n_used} of {limit}");
        }
    }

    /// A job gives way to a higher priority, or gives back what its queue borrowed; what is a queue's own is left alone.
    pub(super) fn check_way(&self, before: &State, victim: &JobId, to: &JobId) {
        let queues = self.queues();
        let used = used(queues, before);
        let n_used = |queue: &str| used.get(queue).copied().unwrap_or(0);
        let guaranteed = |queue: &str| queues[queue].guaranteed_cpu.unwrap_or(0);
        let (low, high) = (self.job(victim), self.job(to));
        let (low_terms, high_terms) = (&low.submission.scheduling, &high.submission.scheduling);
        assert!(low_terms.preemptible, "{victim} is left alone");
        let (of_low, of_high) = (line(queues, &low_terms.queue), line(queues, &high_terms.queue));
        let apart =
            |line: &[&'_ str], other: &[&'_ str]| line.iter().filter(|it| !other.contains(it)).count();
        let (low_apart, high_apart) = (apart(&of_low, &of_high), apart(&of_high, &of_low));
        let is_borrowed = of_low[..low_apart].iter().all(|queue| n_used(queue) > guaranteed(queue));
        let n_ranks = high.submission.fewest() as u32;
        let is_due = high_apart > 0
            && of_high[..high_apart].iter().all(|queue| n_used(queue) + n_ranks <= guaranteed(queue));
        assert!(is_borrowed || low_apart == 0, "what {victim} has is its queue's own, and goes to {to}");
        let is_higher = low_terms.priority < high_terms.priority;
        assert!(is_higher || is_due, "{victim} gives way to {to} for no reason");
    }

    /// Who waits keeps what he waits for from all whose turn comes later.
    pub(super) fn check_backfill(&self) {
        let snapshot = self.model.snapshot(self.now);
        let plan = schedule(&snapshot, self.now);
        let mut kept: Vec<&Job> = vec![];
        let mut full: Vec<&str> = vec![];
        for place in &plan.order {
            let job = snapshot.waiting[*place].job;
            let terms = &job.submission.scheduling;
            match &plan.verdicts[*place] {
                Verdict::Waits(Wait { constraint: Constraint::Devices, .. }) => kept.push(job),
                Verdict::Waits(Wait { constraint: Constraint::Quota, is_possible: true, .. }) => {
                    full.push(&terms.queue);
                }
                Verdict::Waits(_) => {}
                Verdict::Starts(devices) => {
                    assert!(!full.contains(&terms.queue.as_str()), "{} passes its queue's first", job.id);
                    for device in devices {
                        let node_id = snapshot.placement(*device).node_id;
                        let labels =
                            &self.model.state().node(&node_id).expect("it joined").description.labels;
                        for first in &kept {
                            let wanted = &first.submission.scheduling.node_selector;
                            let suits = wanted.iter().all(|(key, value)| labels.get(key) == Some(value));
                            assert!(!suits, "{} takes what {} waits for", job.id, first.id);
                        }
                    }
                }
            }
        }
        assert_eq!(plan.order.len(), snapshot.waiting.len());
    }
}
