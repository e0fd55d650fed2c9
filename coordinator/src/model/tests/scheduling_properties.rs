//! What holds of every pass, whatever the cluster and the jobs are.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};
use v1::explanation::Verdict;

use super::{
    queue_trees::{Queues, leaves, queues},
    *,
};

pub(super) const ZONES: [&str; 2] = ["a", "b"];

/// A job, as numbers that choose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub fewest: u32,
    pub n_more: u32,
    pub priority: i32,
    pub queue: usize,
    pub zone: usize,
    pub is_preemptible: bool,
}

/// Something that happens between passes.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Submit(Wish),
    Train,
    Obey,
    Finish { nth: usize },
    Fail { nth: usize },
    Cancel { nth: usize },
    Update { nth: usize, to: Wish },
    Cordon { node: usize, drains: bool },
    Uncordon { node: usize },
    Pass { seconds: u64 },
}

pub(super) fn wish() -> impl Strategy<Value = Wish> {
    (1..4_u32, 0..3_u32, -2..=2, 0..4_usize, 0..=ZONES.len(), prop::bool::weighted(0.8)).prop_map(
        |(fewest, n_more, priority, queue, zone, is_preemptible)| Wish {
            fewest,
            n_more,
            priority,
            queue,
            zone,
            is_preemptible,
        },
    )
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        6 => wish().prop_map(Submit),
        4 => Just(Train),
        4 => Just(Obey),
        3 => (0..8_usize).prop_map(|nth| Finish { nth }),
        1 => (0..8_usize).prop_map(|nth| Fail { nth }),
        1 => (0..8_usize).prop_map(|nth| Cancel { nth }),
        3 => (0..8_usize, wish()).prop_map(|(nth, to)| Update { nth, to }),
        1 => (0..4_usize, any::<bool>()).prop_map(|(node, drains)| Cordon { node, drains }),
        1 => (0..4_usize).prop_map(|node| Uncordon { node }),
        3 => (1..100_u64).prop_map(|seconds| Pass { seconds }),
    ]
}

/// Up to four nodes in two zones.
pub(super) fn cluster(n_devices: &[u32], queues: &Queues) -> World {
    let mut world = World::new(n_devices);
    for number in 0..n_devices.len() {
        world.set_label(&node(number), "zone", ZONES[number % 2]);
        world.set_label(&node(number), "rack", ZONES[number / 2 % 2]);
    }
    world.set_rules(|rules| {
        rules.quarantine.after_faults = 3;
        rules.queues = queues.clone();
    });
    world
}

fn node(number: usize) -> String {
    format!("node-{}", number + 1)
}

pub(super) fn submission_of(wish: Wish, queues: &Queues) -> Submission {
    let most = wish.fewest + wish.n_more;
    let mut asked =
        Submission { world_sizes: (wish.fewest..=most).map(WorldSize).collect(), ..submission(most) };
    asked.scheduling.priority = wish.priority;
    let leaves = leaves(queues);
    asked.scheduling.queue = leaves[wish.queue % leaves.len()].to_owned();
    asked.scheduling.preemptible = wish.is_preemptible;
    if let Some(zone) = ZONES.get(wish.zone) {
        asked.scheduling.node_selector.insert("zone".to_owned(), (*zone).to_owned());
    }
    asked
}

impl World {
    pub(super) fn live_jobs(&self) -> Vec<JobId> {
        let jobs = self.model.state().active_jobs();
        jobs.filter(|job| self.has_started(job)).map(|job| job.id.clone()).collect()
    }

    /// Whether agents speak of all ranks of a job's live generation.
    fn has_started(&self, job: &Job) -> bool {
        let generation = job.live_generation().map(|live| live.0);
        let mut ranks = (0_u32..).zip(job.live.iter().flat_map(|live| &live.members));
        generation.is_some()
            && ranks.all(|(rank, member)| {
                let report = &self.agents[member.placement.node_id.as_str()];
                report.ranks.iter().any(|seen| {
                    (seen.job_id.as_str(), Some(seen.generation), seen.rank)
                        == (job.id.as_str(), generation, rank)
                })
            })
    }

    fn do_to_nth(&mut self, nth: usize, act: impl FnOnce(&mut Self, &JobId)) {
        self.catch_up();
        let jobs = self.live_jobs();
        if let Some(job_id) = jobs.get(nth % jobs.len().max(1)) {
            act(self, job_id);
        }
    }

    fn let_it_happen(&mut self, happening: Happening, n_nodes: usize) {
        match happening {
            Happening::Submit(wish) => {
                let asked = submission_of(wish, self.queues());
                self.try_submit_with(asked, |_| {}).expect("a good job");
            }
            Happening::Train => {
                self.catch_up();
                for job_id in self.live_jobs() {
                    // The others may let this one give way meanwhile.
                    if self.has_started(self.job(&job_id)) {
                        self.train(&job_id, 1);
                    }
                }
            }
            Happening::Obey => self.obey_all(),
            Happening::Finish { nth } => self.do_to_nth(nth, |world, job_id| world.end_all(job_id)),
            Happening::Fail { nth } => {
                self.do_to_nth(nth, |world, job_id| world.fail(job_id, 0, Reason::RankExited));
            }
            Happening::Cancel { nth } => self.do_to_nth(nth, |world, job_id| {
                world.cancel(job_id).expect("it runs");
            }),
            Happening::Update { nth, to } => {
                let jobs: Vec<JobId> = self.model.state().active_jobs().map(|job| job.id.clone()).collect();
                let Some(job_id) = jobs.get(nth % jobs.len().max(1)) else { return };
                let wanted = submission_of(to, self.queues());
                // What has devices keeps its queue, and what ends is left alone.
                let _ = self.update(job_id, |submission| {
                    let node_selector = std::mem::take(&mut submission.scheduling.node_selector);
                    submission.world_sizes = wanted.world_sizes;
                    submission.scheduling = SchedulingTerms { node_selector, ..wanted.scheduling };
                });
            }
            Happening::Cordon { node: number, drains } => {
                let cordon = Cordon { reason: String::new(), drains };
                self.cordon(&node(number % n_nodes), Some(cordon));
            }
            Happening::Uncordon { node: number } => self.cordon(&node(number % n_nodes), None),
            Happening::Pass { seconds } => {
                self.advance(Duration::from_secs(seconds));
            }
        }
    }

    /// Nothing has two ranks, no queue more than it may.
    fn check_allocation(&self) {
        let mut devices = BTreeSet::new();
        for job in self.model.state().active_jobs() {
            let members = job.live.iter().flat_map(|live| &live.members);
            let there = members.filter(|member| member.ended.is_none()).map(|member| &member.placement);
            for place in there.chain(job.joiners().map(|(_, place)| place)) {
                assert!(devices.insert((&place.node_id, place.device_index)), "two ranks on {place:?}");
            }
        }
        self.check_queues();
    }

    /// What a pass decided: whole gangs, on nodes that suit them; devices only from those who owe them.
    fn check_changes(&self, from: usize) {
        for (number, change) in (from..).zip(&self.changes[from..]) {
            let Change::Job { job_id, change, .. } = change else { continue };
            let terms = &self.job(job_id).submission.scheduling;
            match change {
                JobChange::Placed { placements, .. } => {
                    let mut sizes = self.job(job_id).submission.sizes();
                    assert!(sizes.any(|size| size == placements.len()), "{job_id} has a part of its gang");
                    for place in placements {
                        let node = self.model.state().node(&place.node_id).expect("it joined");
                        let labels = &node.description.labels;
                        assert!(
                            terms.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
                        );
                    }
                }
                JobChange::GivesWay { to: Some(to), .. } => {
                    // What one pass decides, it decides of one state.
                    let start = self.starts.iter().rfind(|start| **start <= number).expect("it was decided");
                    self.check_way(&State::replay(&self.changes[..*start]), job_id, to);
                }
                _ => {}
            }
        }
    }

    /// What is explained of each job is what the pass decides of it.
    fn check_explanations(&self) {
        let changes = self.model.decide_placement(self.now);
        for job in self.model.state().active_jobs().filter(|job| job.wants_placement()) {
            let told = self.model.explain(self.now, job);
            let own = changes.iter().filter_map(|change| match change {
                Change::Job { job_id, change, .. } if *job_id == job.id => Some(change),
                _ => None,
            });
            let placed = own.clone().find_map(|change| match change {
                JobChange::Placed { placements, .. } => Some(placements),
                _ => None,
            });
            let places: Vec<_> =
                told.placements.iter().map(|it| (it.node_id.as_str(), it.device_index)).collect();
            let placed: Vec<_> =
                placed.into_iter().flatten().map(|it| (it.node_id.as_str(), it.device_index)).collect();
            assert_eq!(places, placed, "{}", job.id);
            assert_eq!(told.verdict() == Verdict::Starts, !placed.is_empty());
            let waits = own.clone().find_map(|change| match change {
                JobChange::Waits { reason } => Some(reason),
                _ => None,
            });
            if placed.is_empty() {
                assert_eq!(&told.reason, waits.unwrap_or(&job.reason));
            }
            let victims: BTreeSet<String> =
                changes.iter().filter_map(|change| victim_of(change, &job.id)).collect();
            let preempted = told.preemptions.iter().map(|it| it.job_id.clone()).collect();
            assert_eq!(victims, preempted, "{}", job.id);
        }
    }
}

fn victim_of(change: &Change, to: &JobId) -> Option<String> {
    match change {
        Change::Job { job_id, change: JobChange::GivesWay { to: Some(higher), .. }, .. } if higher == to => {
            Some(job_id.to_string())
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_pass_never_over_allocates_and_takes_from_those_alone_who_owe_it(
        queues in queues(),
        n_devices in vec(1..4_u32, 2..5),
        happenings in vec(happening(), 1..50),
    ) {
        let mut world = cluster(&n_devices, &queues);
        for happening in happenings {
            let from = world.changes.len();
            world.let_it_happen(happening, n_devices.len());
            world.check_backfill();
            world.check_allocation();
            world.check_changes(from);
        }
        prop_assert_eq!(&State::replay(&world.changes), world.model.state());
    }

    #[test]
    fn an_explanation_agrees_with_the_next_pass(
        queues in queues(),
        n_devices in vec(1..4_u32, 2..4),
        wishes in vec(wish(), 1..6),
        later in vec(wish(), 1..5),
        seconds in 0..100_u64,
    ) {
        let mut world = cluster(&n_devices, &queues);
        for wish in wishes {
            world.try_submit_with(submission_of(wish, &queues), |_| {}).expect("a good job");
        }
        world.let_it_happen(Happening::Train, n_devices.len());
        world.let_it_happen(Happening::Pass { seconds }, n_devices.len());
        for wish in later {
            // Accepted, and not decided upon yet.
            let request_id = format!("later-{}", world.changes.len());
            let submission = Box::new(submission_of(wish, &queues));
            let event = Event::Submitted { request_id, submission, fork: None };
            let decision = world.model.decide(world.now, &event).expect("a good job");
            world.evolve(decision.changes);
        }
        world.check_explanations();
        world.settle();
        world.check_explanations();
    }
}
