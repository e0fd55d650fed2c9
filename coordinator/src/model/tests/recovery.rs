//! Faults: which generation they end, who pays, and what follows.

use super::*;

fn last_fault(world: &World, job_id: &JobId) -> Failure {
    Failure::from(&world.job(job_id).last_fault.as_ref().expect("a fault").0)
}

fn failure(world: &World, job_id: &JobId) -> Failure {
    assert_eq!(world.state(job_id), JobState::Failed);
    Failure::from(&world.job(job_id).failure.as_ref().expect("a failure").0)
}

#[test]
fn a_job_succeeds_when_all_ranks_finished() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.finish(&job_id, 0);
    assert_eq!(world.state(&job_id), JobState::Running);
    world.finish(&job_id, 1);
    assert_eq!(world.state(&job_id), JobState::Succeeded);
    assert!(world.job(&job_id).result.is_some());
    assert!(world.orders("node-1").is_empty());
}

#[test]
fn a_lost_rank_is_replaced_and_the_others_go_on_in_place() {
    let (mut world, job_id) = World::running(&[2], 2);
    let before = world.job(&job_id).live.as_ref().expect("it runs").members[0].placement.clone();
    world.fail(&job_id, 1, Reason::RankExited);
    assert_eq!(world.state(&job_id), JobState::Starting);
    let live = world.job(&job_id).live.as_ref().expect("the next generation is there at once");
    assert_eq!((live.generation, live.members.len()), (Generation(2), 2));
    assert_eq!(live.members[0].placement, before);
    let orders = world.orders("node-1");
    assert!(orders.iter().all(|order| order.action() == v1::ordered_rank::Action::Run), "{orders:?}");
    assert_eq!(world.job(&job_id).spent.infrastructure, 1);
}

#[test]
fn ranks_that_lost_one_another_meet_again_in_place() {
    let (mut world, job_id) = World::running(&[1, 1], 2);
    let part = |seen: &mut v1::ObservedRank| seen.set_state(RankState::Parted);
    world.edit(&job_id, 0, part);
    world.report_all();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.job(&job_id).generation, Generation(1), "rank 1 may say more");
    let before = world.job(&job_id).live.as_ref().expect("it runs").members.clone();
    world.edit(&job_id, 1, part);
    world.report_all();
    let live = world.job(&job_id).live.as_ref().expect("the next generation is there at once");
    assert_eq!((live.generation, &live.members), (Generation(2), &before));
    assert_eq!(last_fault(&world, &job_id).reason, Reason::PeerLost);
    assert_eq!(world.job(&job_id).spent.infrastructure, 1);
}

#[test]
fn a_rank_that_parted_goes_on_beside_a_new_one_once_its_peers_node_is_lost() {
    let (mut world, job_id) = World::running(&[1, 1, 1], 2);
    let placement = |world: &World, rank: usize| {
        world.job(&job_id).live.as_ref().expect("it runs").members[rank].placement.clone()
    };
    let (kept, lost) = (placement(&world, 0), placement(&world, 1));
    world.edit(&job_id, 0, |seen| seen.set_state(RankState::Parted));
    world.agents.remove(lost.node_id.as_str());
    for _ in 0..4 {
        world.pass(LEASE / 3);
        world.report_all();
    }
    assert_eq!(world.job(&job_id).generation, Generation(2));
    assert_eq!(placement(&world, 0), kept);
    assert_ne!(placement(&world, 1).node_id, lost.node_id);
}

#[test]
fn an_evaluation_keeps_no_rank() {
    let mut world = World::new(&[2, 1]);
    let job_id = world.try_submit("a", evaluation(2)).expect("a good job");
    world.obey_all();
    world.train(&job_id, 5);
    assert_eq!(world.state(&job_id), JobState::Running);
    world.fail(&job_id, 1, Reason::RankExited);
    assert_eq!(world.state(&job_id), JobState::Recovering, "there was a device for the rank that is lost");
    let orders = world.orders("node-1");
    assert!(orders.iter().all(|order| order.action() == v1::ordered_rank::Action::Stop), "{orders:?}");
    world.obey_all();
    assert_eq!(world.job(&job_id).live_generation(), Some(Generation(2)));
    let orders = world.orders("node-1");
    assert_eq!(orders.len(), 2);
    assert!(orders.iter().all(|order| order.generation == 2 && order.resume_from.is_none()), "{orders:?}");
}

#[test]
fn two_jobs_that_lose_a_rank_at_once_take_different_devices() {
    let mut world = World::new(&[2, 2, 2, 2]);
    let jobs = [world.submit(3), world.submit(3)];
    world.obey_all();
    jobs.iter().for_each(|job_id| world.train(job_id, 5));
    let nodes = |world: &World, job_id: &JobId| -> Vec<NodeId> {
        let live = world.job(job_id).live.as_ref().expect("it runs");
        live.members.iter().map(|member| member.placement.node_id.clone()).collect()
    };
    let others = nodes(&world, &jobs[1]);
    let shared = nodes(&world, &jobs[0]).into_iter().find(|node| others.contains(node)).expect("one is");
    world.start_agent(shared.as_str(), 2);
    let mut devices = vec![];
    for job_id in &jobs {
        let live = world.job(job_id).live.as_ref().expect("the next generation is there at once");
        assert_eq!(live.generation, Generation(2));
        devices
            .extend(live.members.iter().map(|it| (it.placement.node_id.clone(), it.placement.device_index)));
    }
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), 6, "{devices:?}");
}

#[test]
fn ranks_that_stop_with_an_agent_that_leaves_are_not_kept() {
    let (mut world, job_id) = World::running(&[1, 1, 1], 2);
    let leaving = world.job(&job_id).live.as_ref().expect("it runs").members[1].placement.node_id.to_string();
    world.edit(&job_id, 1, |seen| seen.set_state(RankState::Stopped));
    world.agents.get_mut(&leaving).expect("a started agent").leaving = true;
    world.report(&leaving);
    assert_eq!(world.state(&job_id), JobState::Recovering);
    assert_eq!(world.job(&job_id).live_generation(), None, "rank 0 stops as well, with a checkpoint");

    world.obey_all();
    assert_eq!(world.job(&job_id).live_generation(), Some(Generation(2)));
    let spent = world.job(&job_id).spent;
    assert_eq!((spent.infrastructure, spent.no_progress), (0, 0), "no budget pays for an upgrade");
}

#[test]
fn a_fault_of_everyones_opens_the_next_generation_once_all_ranks_are_gone() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.fail(&job_id, 1, Reason::Internal);
    assert_eq!(world.state(&job_id), JobState::Recovering);
    assert_eq!(world.job(&job_id).generation, Generation(1));
    assert_eq!(world.job(&job_id).live_generation(), None);
    let orders = world.orders("node-1");
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].action(), v1::ordered_rank::Action::Stop);

    world.obey_all();
    assert_eq!(world.state(&job_id), JobState::Starting);
    assert_eq!(world.job(&job_id).live_generation(), Some(Generation(2)));
    assert_eq!(world.job(&job_id).spent.infrastructure, 1);
}

#[test]
fn the_next_generation_starts_from_the_newest_checkpoint() {
    let (mut world, job_id) = World::running(&[2], 2);
    for step in [10, 20, 30] {
        let checkpoint = checkpoint(&job_id, 1, step);
        world.edit(&job_id, 0, |seen| seen.checkpoints.push(checkpoint));
        world.report_all();
    }
    let ids: Vec<_> = world.job(&job_id).checkpoints.iter().map(|it| it.step).collect();
    assert_eq!(ids, [20, 30], "the policy keeps two");
    world.fail(&job_id, 1, Reason::RankExited);
    world.obey_all();
    let resume_from = world.orders("node-1")[0].resume_from.clone();
    assert_eq!(resume_from, Some(checkpoint(&job_id, 1, 30)));
}

#[test]
fn a_checkpoint_of_an_old_generation_is_not_recorded() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.fail(&job_id, 1, Reason::RankExited);
    world.obey_all();
    world.obey_all();
    let stale = checkpoint(&job_id, 1, 10);
    world.edit(&job_id, 0, |seen| seen.checkpoints.push(stale));
    world.report_all();
    assert!(world.job(&job_id).checkpoints.is_empty());
}

#[test]
fn a_users_fault_ends_the_job_with_that_fault() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.fail(&job_id, 1, Reason::DataNotFound);
    let failure = failure(&world, &job_id);
    assert_eq!(failure.reason, Reason::DataNotFound);
    assert_eq!((failure.node_id, failure.rank), (Some(NodeId::from("node-1")), Some(Rank(1))));
    let waiting = world.submit(2);
    assert_eq!(world.state(&waiting), JobState::Pending, "rank 0 still holds its device");
    world.obey_all();
    assert_eq!(world.state(&waiting), JobState::Starting);
}

#[test]
fn a_users_faults_may_be_forgiven() {
    let mut world = World::new(&[1]);
    let forgiving = Submission { user_failures: 1, ..submission(1) };
    let job_id = world.try_submit("a", forgiving).expect("a good job");
    world.obey_all();
    world.fail(&job_id, 0, Reason::NotFinite);
    assert_eq!(world.state(&job_id), JobState::Starting);
    world.obey_all();
    world.fail(&job_id, 0, Reason::NotFinite);
    assert_eq!(failure(&world, &job_id).reason, Reason::NotFinite);
}

#[test]
fn lost_ranks_are_forgiven_as_often_as_the_budget_says() {
    let (mut world, job_id) = World::running(&[1], 1);
    for step in 2..6 {
        world.train(&job_id, step);
        world.fail(&job_id, 0, Reason::RankExited);
        assert_eq!(world.state(&job_id), JobState::Starting);
        world.obey_all();
    }
    world.train(&job_id, 9);
    world.fail(&job_id, 0, Reason::RankExited);
    let failure = failure(&world, &job_id);
    assert_eq!(failure.reason, Reason::RankExited);
    assert_eq!(failure.message, "fault 5 of 4 allowed: rank 0 met a fault");
}

#[test]
fn generations_without_a_new_step_are_counted() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.train(&job_id, 7);
    for _ in 0..3 {
        world.fail(&job_id, 0, Reason::RankExited);
        assert_eq!(world.state(&job_id), JobState::Starting);
        world.obey_all();
        world.train(&job_id, 7);
    }
    world.fail(&job_id, 0, Reason::RankExited);
    let failure = failure(&world, &job_id);
    assert_eq!(failure.reason, Reason::NoProgress);
    assert_eq!(failure.message, "3 generations in a row took no new step; the last: rank 0 met a fault");
}

#[test]
fn a_lost_peer_is_not_the_cause() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.fail(&job_id, 0, Reason::PeerLost);
    assert_eq!(world.state(&job_id), JobState::Running, "a better cause may come");
    world.fail(&job_id, 1, Reason::OutOfMemory);
    assert_eq!(last_fault(&world, &job_id).reason, Reason::OutOfMemory);
}

#[test]
fn a_lost_peer_is_the_cause_when_no_better_one_comes() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.fail(&job_id, 0, Reason::PeerLost);
    world.pass(Duration::from_millis(999));
    assert_eq!(world.state(&job_id), JobState::Running);
    world.pass(Duration::from_millis(1));
    assert_eq!(last_fault(&world, &job_id).reason, Reason::PeerLost);
}

#[test]
fn a_better_cause_that_comes_late_is_kept() {
    let (mut world, job_id) = World::running(&[1, 1], 2);
    world.fail(&job_id, 0, Reason::PeerLost);
    world.pass(Duration::from_secs(1));
    assert_eq!(last_fault(&world, &job_id).reason, Reason::PeerLost);
    world.pass(Duration::from_secs(6));
    world.report("node-1");
    world.pass(Duration::from_secs(4));
    let fault = last_fault(&world, &job_id);
    assert_eq!(fault.reason, Reason::NodeLost);
    assert_eq!(fault.message, "rank 1 was lost with node-2, which sent no report for 10 s");
    assert_eq!(world.job(&job_id).generation, Generation(2), "rank 1 was still thought to train");
}

/// What users see: the message of each fault, and whether it only followed.
fn faults(world: &World, job_id: &JobId) -> Vec<(String, bool)> {
    let faults = world.model.job_view(world.job(job_id)).faults;
    faults.into_iter().map(|it| (it.failure.expect("set").message, it.consequence)).collect()
}

#[test]
fn the_first_fault_is_the_jobs_error_and_the_others_are_consequences() {
    let (mut world, job_id) = World::running(&[3], 3);
    world.fail(&job_id, 2, Reason::PeerLost);
    world.pass(Duration::from_millis(10));
    world.fail(&job_id, 1, Reason::NotFinite);
    world.pass(Duration::from_millis(10));
    world.fail(&job_id, 0, Reason::OutOfMemory);
    assert_eq!(failure(&world, &job_id).message, "rank 1 met a fault");
    let expected =
        [("rank 1 met a fault", false), ("rank 2 met a fault", true), ("rank 0 met a fault", true)];
    assert_eq!(faults(&world, &job_id), expected.map(|(text, follows)| (text.to_owned(), follows)));
}

#[test]
fn faults_are_those_of_the_newest_generation_that_met_any() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.fail(&job_id, 0, Reason::Internal);
    world.fail(&job_id, 1, Reason::PeerLost);
    assert_eq!(faults(&world, &job_id).len(), 2);
    world.obey_all();
    world.obey_all();
    world.train(&job_id, 5);
    assert_eq!(faults(&world, &job_id).len(), 2, "what happened last is still shown");
    world.fail(&job_id, 1, Reason::RankExited);
    assert_eq!(faults(&world, &job_id), [("rank 1 met a fault".to_owned(), false)]);
}

#[test]
fn a_job_shows_what_is_used_of_each_budget() {
    let (mut world, job_id) = World::running(&[2], 2);
    for reason in [Reason::RankExited, Reason::RankExited] {
        world.fail(&job_id, 1, reason);
        world.obey_all();
        world.train(&job_id, 1);
    }
    let used = world.model.job_view(world.job(&job_id)).retry_used.expect("always set");
    assert_eq!(
        (used.user_failures, used.infrastructure_failures, used.no_progress),
        (Some(0), Some(2), Some(1))
    );
}

#[test]
fn a_fault_of_an_old_generation_changes_nothing() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.fail(&job_id, 1, Reason::RankExited);
    world.obey_all();
    world.obey_all();
    let n_changes = world.changes.len();
    let mut stale =
        started(&v1::OrderedRank { job_id: job_id.to_string(), generation: 1, ..Default::default() });
    stale.set_state(RankState::Failed);
    world.agents.get_mut("node-1").expect("a started agent").ranks.push(stale);
    world.report("node-1");
    assert_eq!(world.changes.len(), n_changes);
}

#[test]
fn a_rank_that_finishes_without_a_result_is_a_fault() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.edit(&job_id, 0, |seen| seen.set_state(RankState::Finished));
    world.report_all();
    assert_eq!(last_fault(&world, &job_id).message, "rank 0 on node-1 finished without a result");
}
