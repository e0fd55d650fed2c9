//! What holds whatever happens: J1, J2, J4 to J7 after every event, and an end to every job.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

const DEVICES: [u32; 3] = [2, 1, 1];

/// Something that happens; numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Submit { n_ranks: u32 },
    SubmitElastic { fewest: u32, n_more: u32 },
    SubmitUrgent { n_ranks: u32, priority: i32 },
    Cordon { node: usize, drains: bool },
    Uncordon { node: usize },
    Cancel { job: usize },
    Update { job: usize, fewest: u32, n_more: u32, priority: i32 },
    Suspend { job: usize },
    Resume { job: usize },
    Obey { node: usize },
    Report { node: usize },
    Move { node: usize, rank: usize, state: RankState },
    Begin { node: usize, rank: usize, step: u64 },
    Fail { node: usize, rank: usize, reason: Reason },
    Checkpoint { node: usize, rank: usize, step: u64 },
    Replay { node: usize, generation: u64, state: RankState },
    Disconnect { node: usize },
    Leave { node: usize },
    RestartAgent { node: usize },
    RestartCoordinator,
    Pass { millis: u64 },
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let node = 0..DEVICES.len();
    let state = prop::sample::select(vec![
        RankState::Meeting,
        RankState::Training,
        RankState::Parted,
        RankState::Stopping,
        RankState::Finished,
        RankState::Failed,
        RankState::Stopped,
    ]);
    let reason = prop::sample::select(vec![
        Reason::RankExited,
        Reason::PeerLost,
        Reason::DataInvalid,
        Reason::MeetingTimeout,
        Reason::Internal,
    ]);
    prop_oneof![
        2 => (1..5_u32).prop_map(|n_ranks| Submit { n_ranks }),
        2 => (1..4_u32, 1..3_u32).prop_map(|(fewest, n_more)| SubmitElastic { fewest, n_more }),
        2 => (1..4_u32, -2..=2).prop_map(|(n_ranks, priority)| SubmitUrgent { n_ranks, priority }),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, drains)| Cordon { node, drains }),
        1 => node.clone().prop_map(|node| Uncordon { node }),
        1 => (0..8_usize).prop_map(|job| Cancel { job }),
        2 => (0..8_usize, 1..5_u32, 0..2_u32, -2..=2)
            .prop_map(|(job, fewest, n_more, priority)| Update { job, fewest, n_more, priority }),
        1 => (0..8_usize).prop_map(|job| Suspend { job }),
        1 => (0..8_usize).prop_map(|job| Resume { job }),
        8 => node.clone().prop_map(|node| Obey { node }),
        4 => node.clone().prop_map(|node| Report { node }),
        6 => (node.clone(), 0..3_usize, state.clone()).prop_map(|(node, rank, state)| Move { node, rank, state }),
        4 => (node.clone(), 0..3_usize, 0..60_u64).prop_map(|(node, rank, step)| Begin { node, rank, step }),
        3 => (node.clone(), 0..3_usize, reason).prop_map(|(node, rank, reason)| Fail { node, rank, reason }),
        2 => (node.clone(), 0..3_usize, 1..50_u64).prop_map(|(node, rank, step)| Checkpoint { node, rank, step }),
        2 => (node.clone(), 0..4_u64, state).prop_map(|(node, generation, state)| Replay { node, generation, state }),
        1 => node.clone().prop_map(|node| Disconnect { node }),
        1 => node.clone().prop_map(|node| Leave { node }),
        1 => node.prop_map(|node| RestartAgent { node }),
        1 => Just(RestartCoordinator),
        3 => (1..12_000_u64).prop_map(|millis| Pass { millis }),
    ]
}

impl World {
    fn let_happen(&mut self, happening: Happening) {
        let name = |node: usize| format!("node-{}", node + 1);
        match happening {
            Happening::Submit { n_ranks } => {
                self.submit(n_ranks);
            }
            Happening::SubmitElastic { fewest, n_more } => {
                self.submit_elastic(&(fewest..=fewest + n_more).collect::<Vec<_>>());
            }
            Happening::SubmitUrgent { n_ranks, priority } => {
                self.submit_with(n_ranks, |terms| terms.priority = priority);
            }
            Happening::Cordon { node, drains } => {
                self.cordon(&name(node), Some(Cordon { reason: String::new(), drains }));
            }
            Happening::Uncordon { node } => self.cordon(&name(node), None),
            Happening::Cancel { job } => {
                // Whether it can be cancelled is none of this test's affair.
                let _ = self.cancel(&format!("job-{job}").as_str().into());
            }
            Happening::Update { job, fewest, n_more, priority } => {
                let _ = self.update(&format!("job-{job}").as_str().into(), |submission| {
                    submission.world_sizes = (fewest..=fewest + n_more).map(WorldSize).collect();
                    submission.scheduling.priority = priority;
                });
            }
            Happening::Suspend { job } => {
                let _ = self.suspend(&format!("job-{job}").as_str().into());
            }
            Happening::Resume { job } => {
                let _ = self.resume(&format!("job-{job}").as_str().into());
            }
            Happening::Obey { node } => self.obey(&name(node)),
            Happening::Report { node } => self.report(&name(node)),
            Happening::Move { node, rank, state } => self.edit_any(&name(node), rank, |seen| {
                seen.set_state(state);
                seen.result = Some(v1::JobResult::default());
            }),
            Happening::Begin { node, rank, step } => self.begin_any(&name(node), rank, step),
            Happening::Fail { node, rank, reason } => self.edit_any(&name(node), rank, |seen| {
                seen.set_state(RankState::Failed);
                seen.failure = Some(v1::Failure::from(&Failure::new(reason, "it met a fault")));
            }),
            Happening::Checkpoint { node, rank, step } => self.edit_any(&name(node), rank, |seen| {
                let job_id = JobId::new(seen.job_id.as_str());
                seen.checkpoints.push(checkpoint(&job_id, seen.generation, step));
                seen.progress = Some(v1::Progress { step, total_steps: 100, ..Default::default() });
            }),
            Happening::Replay { node, generation, state } => {
                let order = v1::OrderedRank { job_id: "job-1".to_owned(), generation, ..Default::default() };
                let mut stale = started(&order);
                stale.set_state(state);
                self.agents.get_mut(&name(node)).expect("a started agent").ranks.push(stale);
            }
            Happening::Disconnect { node } => {
                self.model.observe(self.now, Observation::Disconnected(name(node).as_str().into()));
                self.settle();
            }
            Happening::Leave { node } => {
                self.agents.get_mut(&name(node)).expect("a started agent").leaving = true;
                self.report(&name(node));
            }
            Happening::RestartAgent { node } => self.start_agent(&name(node), DEVICES[node]),
            Happening::RestartCoordinator => self.restart(),
            Happening::Pass { millis } => self.pass(Duration::from_millis(millis)),
        }
    }

    fn edit_any(&mut self, node: &str, rank: usize, edit: impl FnOnce(&mut v1::ObservedRank)) {
        let report = self.agents.get_mut(node).expect("a started agent");
        if let Some(seen) = report.ranks.get_mut(rank) {
            edit(seen);
        }
    }

    /// Lets a rank say where its generation goes on; a job's first one begins with nothing.
    fn begin_any(&mut self, node: &str, rank: usize, step: u64) {
        let Some(seen) = self.agents[node].ranks.get(rank) else { return };
        let job = self.model.state().job(&seen.job_id.as_str().into());
        let is_first = job.is_none_or(|job| !job.ledger.is_any());
        self.edit_any(node, rank, |seen| {
            seen.set_state(RankState::Training);
            seen.began_at_step.get_or_insert(if is_first { 0 } else { step });
        });
        self.report(node);
    }

    fn check(&self, before: &State) {
        let state = self.model.state();
        for job in state.jobs_before(None) {
            check_history(before.job(&job.id), job);
            check_ledger(job, &self.changes);
            let is_waiting = job.wants_placement();
            assert!(!job.reason.is_empty(), "J6: {} says nothing", job.id);
            assert!(
                !is_waiting || job.reason.starts_with("needs ") || job.reason.starts_with("waits behind "),
                "J6: {} waits: {}",
                job.id,
                job.reason
            );
        }
        check_orders(self);
        self.check_replay();
    }

    /// J5, through the journal's own encoding.
    pub(super) fn check_replay(&self) {
        let encoded: Vec<_> =
            self.changes.iter().map(|it| serde_json::to_string(it).expect("it encodes")).collect();
        let decoded: Vec<Change> =
            encoded.iter().map(|it| serde_json::from_str(it).expect("it decodes")).collect();
        assert_eq!(&State::replay(&decoded), self.model.state(), "J5");
        let (before, tail) = decoded.split_at(decoded.len() / 2);
        let mut state = through_json(&State::replay(before));
        tail.iter().for_each(|change| state.evolve(change));
        assert_eq!(&state, self.model.state(), "J5, from a snapshot");
    }

    /// From now on all agents are well, nothing is suspended, and ranks go on to their end.
    fn get_well(&mut self) {
        let jobs: Vec<JobId> = self.model.state().active_jobs().map(|job| job.id.clone()).collect();
        for job_id in &jobs {
            // Those that end already are not resumed.
            let _ = self.resume(job_id);
        }
        for (node, n_devices) in (1..).zip(DEVICES) {
            self.start_agent(&format!("node-{node}"), n_devices);
            self.cordon(&format!("node-{node}"), None);
        }
        for step in 1..200 {
            self.obey_all();
            for report in self.agents.values_mut() {
                report.ranks.iter_mut().for_each(|seen| go_on(seen, 1000 + step));
            }
            self.report_all();
            self.pass(Duration::from_secs(1));
        }
        for job in self.model.state().jobs_before(None) {
            assert!(job.state.is_terminal(), "{} is {:?}: {}", job.id, job.state, job.reason);
            assert!(!job.is_active(), "{} still has ranks", job.id);
        }
    }
}

/// A state as it is after it was stored.
fn through_json(state: &State) -> State {
    let encoded: Vec<_> =
        state.pieces().map(|piece| serde_json::to_string(&piece).expect("it encodes")).collect();
    State::restore(encoded.iter().map(|it| serde_json::from_str(it).expect("it decodes")))
}

fn go_on(seen: &mut v1::ObservedRank, step: u64) {
    seen.progress = Some(v1::Progress { step, ..Default::default() });
    seen.began_at_step.get_or_insert(0);
    match seen.state() {
        RankState::Starting => seen.set_state(RankState::Training),
        RankState::Training => {
            seen.set_state(RankState::Finished);
            seen.result = Some(v1::JobResult::default());
        }
        _ => {}
    }
}

fn check_history(before: Option<&Job>, after: &Job) {
    let Some(before) = before else { return };
    assert!(after.generation >= before.generation, "J2: {} went back", after.id);
    assert!(after.revision >= before.revision);
    if before.state.is_terminal() {
        assert_eq!(
            (before.state, &before.failure, &before.result, before.ended_at),
            (after.state, &after.failure, &after.result, after.ended_at),
            "J4: {} changed after its end",
            after.id
        );
    }
}

/// J7: each step that was taken has one owner, and the intervals are in order and touch one another from the first step.
/// The oracle keeps the owner of every step.
fn check_ledger(job: &Job, changes: &[Change]) {
    let (mut owners, mut recomputed, mut newest) = (vec![], 0, 0);
    for change in changes {
        match change {
            Change::Job { job_id, change: JobChange::Began { generation, step }, .. }
                if *job_id == job.id =>
            {
                assert!(generation.0 > newest, "J2: a row for generation {generation} after {newest}");
                let step = usize::try_from(step.0).expect("a small number");
                recomputed += owners.len().saturating_sub(step);
                owners.resize(step, newest);
                newest = generation.0;
            }
            Change::Job { job_id, change: JobChange::Sealed { generation, reached, .. }, .. }
                if *job_id == job.id =>
            {
                assert_eq!(generation.0, newest, "J2: only the newest is sealed");
                let reached = usize::try_from(reached.0).expect("a small number");
                owners.resize(owners.len().max(reached), newest);
            }
            _ => {}
        }
    }
    let mut next = 1;
    let mut listed = vec![];
    for interval in job.ledger.intervals(None) {
        assert_eq!(interval.first.0, next, "J7: {} has a gap or an overlap", job.id);
        assert!(interval.last >= interval.first);
        next = interval.last.0 + 1;
        listed.extend((interval.first.0..next).map(|_| interval.generation.0));
    }
    assert_eq!(listed, owners, "J7: {}", job.id);
    assert_eq!(job.ledger.recomputed(None), recomputed as u64, "J7: {}", job.id);
}

/// J1: the ranks of a job that run are all of its newest generation, or start for the next one; no device has two.
fn check_orders(world: &World) {
    let mut devices = BTreeSet::new();
    for node in world.model.state().nodes() {
        for order in world.orders(node.id.as_str()) {
            let job = world.job(&order.job_id.as_str().into());
            let is_next = job.joining.as_ref().is_some_and(|it| it.generation.0 == order.generation);
            assert!(is_next || order.generation == job.generation.0, "J1: two generations of {}", job.id);
            let may_run = order.action() == v1::ordered_rank::Action::Run;
            assert_eq!(may_run, job.live_generation().is_some());
            assert!(devices.insert((node.id.clone(), order.device_index)), "two ranks on one device");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_whatever_happens(happenings in vec(happening(), 1..60)) {
        let mut world = World::new(&DEVICES);
        world.set_rules(|rules| (rules.min_run_s, rules.quarantine.after_faults) = (2, 4));
        for happening in happenings {
            let before = world.model.state().clone();
            world.let_happen(happening);
            world.check(&before);
        }
        world.get_well();
        world.check_replay();
    }
}

/// What version 1 wrote is read for ever: these lines are never edited, only added to.
#[test]
fn a_journal_of_the_first_version_is_read() {
    let lines = include_str!("journal-v1.jsonl").lines();
    let changes: Vec<Change> =
        lines.map(|line| serde_json::from_str(line).expect("a change of version 1")).collect();
    let state = State::replay(&changes);
    let states: Vec<_> = state.jobs_before(None).map(|job| job.state).collect();
    assert_eq!(states, [JobState::Cancelled, JobState::Failed, JobState::Cancelled, JobState::Succeeded]);
    let preempted = state.job(&"job-4".into()).expect("it was accepted");
    assert_eq!((preempted.n_preemptions, preempted.submission.scheduling.queue.as_str()), (1, "research"));
    assert_eq!(state.job(&"job-1".into()).expect("it is older").submission.scheduling, Default::default());
    let node = state.node(&"node-3".into()).expect("it joined");
    assert!(node.cordon.is_some() && node.quarantine.is_none());
    // The same as a snapshot, also never edited: what is added to the state later has a default.
    let pieces: Vec<Piece> =
        serde_json::from_str(include_str!("snapshot-v1.json")).expect("a snapshot of version 1");
    assert_eq!(State::restore(pieces), state);
    assert_eq!(through_json(&state), state);
}
