//! Events in, changes out: a small world of obedient agents around a model.

mod access;
mod checkpoints;
mod elastic;
mod explain;
mod fair_share;
mod forget;
mod invariants;
mod ledger;
mod membership;
mod nodes;
mod placement;
mod preemption;
mod queue_trees;
mod recovery;
mod requests;
mod scheduling;
mod scheduling_properties;
mod stalls;
mod turn_properties;
mod updates;

use std::{collections::BTreeMap, time::Duration};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{Generation, JobId, NodeId, Rank, WorldSize},
    v1::{self, RankState},
};

use super::*;

const LEASE: Duration = Duration::from_secs(10);

/// A model, its journal, and the agents that talk to it.
#[derive(Clone)]
struct World {
    model: Model,
    changes: Vec<Change>,
    /// Where in them what was decided at once begins.
    starts: Vec<usize>,
    now: Timestamp,
    agents: BTreeMap<String, v1::AgentReport>,
    /// What each agent was last told.
    told: BTreeMap<NodeId, Vec<v1::OrderedRank>>,
    n_incarnations: u32,
}

impl World {
    /// A world with nodes `node-1`, `node-2`, … of so many CPU devices each.
    fn new(devices: &[u32]) -> Self {
        let now = Timestamp(1_000_000);
        let model = Model::new(State::default(), Rules::new(LEASE), now);
        let (agents, told) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self { model, changes: vec![], starts: vec![], now, agents, told, n_incarnations: 0 };
        for (number, n_devices) in (1..).zip(devices) {
            world.start_agent(&format!("node-{number}"), *n_devices);
        }
        world
    }

    /// Starts an agent, or starts it anew; it reports at once.
    fn start_agent(&mut self, node: &str, n_devices: u32) {
        self.n_incarnations += 1;
        let kind = v1::DeviceKind::Cpu.into();
        let devices = (0..n_devices).map(|index| v1::Device { index, kind, ..Default::default() });
        let report = v1::AgentReport {
            protocol_version: 1,
            node_id: node.to_owned(),
            node_name: node.to_owned(),
            incarnation: format!("life-{}", self.n_incarnations),
            devices: devices.collect(),
            ..Default::default()
        };
        self.agents.insert(node.to_owned(), report);
        self.report(node);
    }

    fn report(&mut self, node: &str) {
        let report = self.agents[node].clone();
        if self.model.check_report(&report).is_ok() {
            self.model.observe(self.now, Observation::Reported(Box::new(report)));
        }
        self.settle();
    }

    fn report_all(&mut self) {
        let nodes: Vec<_> = self.agents.keys().cloned().collect();
        nodes.iter().for_each(|node| self.report(node));
    }

    /// Lets an agent do what it is ordered to, and report it.
    fn obey(&mut self, node: &str) {
        let orders = self.orders(node);
        let report = self.agents.get_mut(node).expect("a started agent");
        report.ranks.retain(|seen| orders.iter().any(|order| is_same(seen, order)));
        for order in orders {
            let is_stop = order.action() == v1::ordered_rank::Action::Stop;
            let seen = match report.ranks.iter().position(|seen| is_same(seen, &order)) {
                Some(place) => &mut report.ranks[place],
                None => {
                    report.ranks.push(started(&order));
                    report.ranks.last_mut().expect("it was pushed")
                }
            };
            let is_over =
                matches!(seen.state(), RankState::Finished | RankState::Failed | RankState::Stopped);
            if is_stop && !is_over {
                seen.set_state(RankState::Stopped);
            }
        }
        self.report(node);
    }

    /// What an agent is told to do.
    fn orders(&self, node: &str) -> Vec<v1::OrderedRank> {
        self.model.orders(&node.into()).iter().map(Order::to_wire).collect()
    }

    fn obey_all(&mut self) {
        let nodes: Vec<_> = self.agents.keys().cloned().collect();
        nodes.iter().for_each(|node| self.obey(node));
    }

    /// Changes what an agent will say of a rank.
    fn edit(&mut self, job_id: &JobId, rank: u32, edit: impl FnOnce(&mut v1::ObservedRank)) {
        let generation = self.job(job_id).generation.0;
        let ranks = self.agents.values_mut().flat_map(|report| &mut report.ranks);
        let seen = ranks.into_iter().find(|seen| {
            seen.job_id == job_id.as_str() && seen.rank == rank && seen.generation == generation
        });
        edit(seen.expect("a rank that was started"));
    }

    fn fail(&mut self, job_id: &JobId, rank: u32, reason: Reason) {
        let failure = v1::Failure::from(&Failure::new(reason, format!("rank {rank} met a fault")));
        self.edit(job_id, rank, |seen| {
            seen.set_state(RankState::Failed);
            seen.failure = Some(failure);
        });
        self.report_all();
    }

    /// Lets all ranks of a job train at a step; they began at the newest checkpoint unless they say otherwise.
    fn train(&mut self, job_id: &JobId, step: u64) {
        let job = self.job(job_id);
        let began_at = job.newest_checkpoint().map_or(0, |checkpoint| checkpoint.step);
        for rank in 0..job.live.as_ref().expect("a placed job").world_size().0 {
            self.edit(job_id, rank, |seen| {
                seen.set_state(RankState::Training);
                seen.began_at_step.get_or_insert(began_at);
                seen.progress = Some(v1::Progress { step, total_steps: 1000, ..Default::default() });
            });
        }
        self.report_all();
    }

    fn finish(&mut self, job_id: &JobId, rank: u32) {
        self.edit(job_id, rank, |seen| {
            seen.set_state(RankState::Finished);
            seen.result = (rank == 0).then(v1::JobResult::default);
        });
        self.report_all();
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
        self.settle();
    }

    fn submit(&mut self, n_ranks: u32) -> JobId {
        self.try_submit(&format!("request-{}", self.changes.len()), submission(n_ranks)).expect("a good job")
    }

    /// A job of so many ranks that asks for something of the scheduler.
    fn submit_with(&mut self, n_ranks: u32, ask: impl FnOnce(&mut SchedulingTerms)) -> JobId {
        self.try_submit_with(submission(n_ranks), ask).expect("a good job")
    }

    fn try_submit_with(
        &mut self,
        mut submission: Submission,
        ask: impl FnOnce(&mut SchedulingTerms),
    ) -> Result<JobId, Failure> {
        ask(&mut submission.scheduling);
        self.try_submit(&format!("request-{}", self.changes.len()), submission)
    }

    /// What operators decide.
    fn set_rules(&mut self, edit: impl FnOnce(&mut SchedulingRules)) {
        edit(Arc::make_mut(&mut self.model.rules.scheduling));
        self.model.rested_at = None;
    }

    fn set_label(&mut self, node: &str, key: &str, value: &str) {
        let agent = self.agents.get_mut(node).expect("a started agent");
        agent.labels.insert(key.to_owned(), value.to_owned());
        self.report(node);
    }

    fn cordon(&mut self, node: &str, cordon: Option<Cordon>) {
        let event = Event::CordonRequested { node_id: node.into(), cordon };
        let decision = self.model.decide(self.now, &event).expect("the node is known");
        self.evolve(decision.changes);
        self.settle();
    }

    /// Time passes in which all agents report as before.
    fn advance(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
        self.model.observe(self.now, Observation::HeldUp(duration));
        self.report_all();
    }

    /// Ranks that are to stop do, and those that take their places start.
    fn catch_up(&mut self) {
        self.obey_all();
        self.obey_all();
    }

    /// A job's ranks start and train, and have for so long.
    fn train_for(&mut self, job_id: &JobId, duration: Duration) {
        self.catch_up();
        self.train(job_id, 1);
        self.advance(duration);
    }

    /// A job's ranks come to their end.
    fn finish_all(&mut self, job_id: &JobId) {
        self.catch_up();
        self.end_all(job_id);
    }

    /// The same, of one whose ranks have started.
    fn end_all(&mut self, job_id: &JobId) {
        for rank in (0..self.places(job_id).len() as u32).rev() {
            self.edit(job_id, rank, |seen| {
                seen.set_state(RankState::Finished);
                seen.result = (rank == 0).then(v1::JobResult::default);
            });
        }
        self.report_all();
        self.obey_all();
    }

    /// A job that may run with any of these numbers of ranks.
    fn submit_elastic(&mut self, sizes: &[u32]) -> JobId {
        let most = *sizes.last().expect("a number");
        let world_sizes = sizes.iter().copied().map(WorldSize).collect();
        let elastic = Submission { world_sizes, ..submission(most) };
        self.try_submit(&format!("request-{}", self.changes.len()), elastic).expect("a good job")
    }

    fn try_submit(&mut self, request_id: &str, submission: Submission) -> Result<JobId, Failure> {
        let request_id = request_id.to_owned();
        self.wish(&Event::Submitted { request_id, submission: Box::new(submission), fork: None })
    }

    fn cancel(&mut self, job_id: &JobId) -> Result<JobId, Failure> {
        self.wish(&Event::CancelRequested { job_id: job_id.clone(), reason: "no longer needed".to_owned() })
    }

    fn update(&mut self, job_id: &JobId, edit: impl FnOnce(&mut Submission)) -> Result<JobId, Failure> {
        let job = self.model.job(job_id)?;
        let mut submission = Box::new(job.submission.clone());
        edit(&mut submission);
        let (etag, request_id) = (job.etag(), String::new());
        self.wish(&Event::UpdateRequested(Update { job_id: job_id.clone(), request_id, etag, submission }))
    }

    fn wish(&mut self, event: &Event) -> Result<JobId, Failure> {
        let decision = self.model.decide(self.now, event)?;
        self.evolve(decision.changes);
        self.settle();
        Ok(decision.job_id.expect("wishes are about a job"))
    }

    /// Lets the model decide until there is nothing left to decide. Each tick decides what one that looks at everything would, and
    /// whoever is to be told something else is told.
    fn settle(&mut self) {
        for _ in 0..64 {
            let decision = self.model.decide(self.now, &Event::Tick).expect("a tick is never refused");
            assert_eq!(decision, self.model.decide_anew(self.now), "a tick passed something over");
            if decision.changes.is_empty() {
                self.model.rest(self.now, decision.has_passed);
                return self.tell();
            }
            self.evolve(decision.changes);
        }
        panic!("decisions do not come to rest");
    }

    /// Tells agents what they are to do, where that may have changed; where it may not, it has not.
    fn tell(&mut self) {
        for node_id in self.model.take_told() {
            let orders = self.orders(node_id.as_str());
            self.told.insert(node_id, orders);
        }
        for node in self.agents.keys() {
            let orders = self.orders(node);
            let told = self.told.get(&NodeId::new(node.as_str()));
            assert_eq!(told.unwrap_or(&vec![]), &orders, "{node} was not told");
        }
    }

    /// Lets changes happen, also after they were taken back once.
    fn evolve(&mut self, changes: Vec<Change>) {
        let before = self.model.state().clone();
        let formers: Vec<Former> = changes.iter().map(|change| self.model.evolve(change)).collect();
        formers.into_iter().rev().for_each(|former| self.model.undo(former));
        assert_eq!(self.model.state(), &before, "what is taken back leaves nothing");
        for change in &changes {
            self.model.evolve(change);
        }
        self.starts.push(self.changes.len());
        self.changes.extend(changes);
    }

    /// Starts the coordinator anew, from its journal.
    fn restart(&mut self) {
        let state = State::replay(&self.changes);
        self.model = Model::new(state, self.model.rules.clone(), self.now);
        self.told.clear();
        self.settle();
    }

    fn job(&self, job_id: &JobId) -> &Job {
        self.model.job(job_id).expect("a job that was submitted")
    }

    fn state(&self, job_id: &JobId) -> JobState {
        self.job(job_id).state
    }

    /// Node and device of each rank.
    fn places(&self, job_id: &JobId) -> Vec<(&str, u32)> {
        let live = self.job(job_id).live.as_ref().expect("a placed job");
        let places = live.members.iter().map(|member| &member.placement);
        places.map(|place| (place.node_id.as_str(), place.device_index)).collect()
    }

    /// A job of so many ranks that trains.
    fn running(devices: &[u32], n_ranks: u32) -> (Self, JobId) {
        let mut world = Self::new(devices);
        let job_id = world.submit(n_ranks);
        world.obey_all();
        world.train(&job_id, 1);
        assert_eq!(world.state(&job_id), JobState::Running);
        (world, job_id)
    }
}

fn submission(n_ranks: u32) -> Submission {
    let checkpoint = v1::CheckpointPolicy { keep_last: Some(2), ..Default::default() };
    let recipe = v1::Recipe { checkpoint: Some(checkpoint), ..Default::default() };
    Submission {
        name: "test".to_owned(),
        world_size: WorldSize(n_ranks),
        needs_gpu: false,
        world_sizes: vec![],
        user_failures: 0,
        infrastructure_failures: 4,
        no_progress: 2,
        spec: Wire(v1::JobSpec { ranks: Some(n_ranks), recipe: Some(recipe), ..Default::default() }),
        fork_of: None,
        scheduling: SchedulingTerms::default(),
    }
}

/// A job that measures.
fn evaluation(n_ranks: u32) -> Submission {
    let evaluate = Some(v1::Evaluate::default());
    let spec = v1::JobSpec { ranks: Some(n_ranks), evaluate, ..Default::default() };
    Submission { spec: Wire(spec), ..submission(n_ranks) }
}

fn is_same(seen: &v1::ObservedRank, order: &v1::OrderedRank) -> bool {
    (&seen.job_id, seen.generation, seen.rank) == (&order.job_id, order.generation, order.rank)
}

fn started(order: &v1::OrderedRank) -> v1::ObservedRank {
    v1::ObservedRank {
        job_id: order.job_id.clone(),
        generation: order.generation,
        rank: order.rank,
        state: RankState::Starting.into(),
        ..Default::default()
    }
}

fn checkpoint(job_id: &JobId, generation: u64, step: u64) -> v1::Checkpoint {
    let id = kindred_proto::ids::CheckpointId::of(kindred_proto::ids::Step(step), Generation(generation));
    v1::Checkpoint { id: id.to_string(), job_id: job_id.to_string(), generation, step, ..Default::default() }
}
