//! Nodes that come, go, fall silent and come back.

use super::*;

fn standing(world: &World, node: &str) -> v1::NodeState {
    let node = world.model.state().node(&node.into()).expect("a node that joined");
    world.model.node_view(world.now, node).state()
}

#[test]
fn a_silent_node_is_lost_after_its_lease_and_not_before() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.model.observe(world.now, Observation::Disconnected("node-1".into()));
    assert_eq!(standing(&world, "node-1"), v1::NodeState::Suspect);
    world.pass(LEASE);
    assert_eq!(world.state(&job_id), JobState::Running);
    world.pass(Duration::from_millis(1));
    assert_eq!(standing(&world, "node-1"), v1::NodeState::Lost);
    assert_eq!(world.state(&job_id), JobState::Recovering);
    assert_eq!(world.job(&job_id).reason, "needs 1 cpu device, 0 free: node-1 is lost");
}

#[test]
fn a_node_that_comes_back_late_is_told_to_stop_what_it_runs() {
    let (mut world, job_id) = World::running(&[1, 1], 1);
    world.pass(Duration::from_secs(9));
    world.report("node-2");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.places(&job_id), [("node-2", 0)]);
    world.report("node-1");
    assert!(world.orders("node-1").is_empty());
    let waiting = world.submit(1);
    assert_eq!(world.state(&waiting), JobState::Pending);
    world.obey("node-1");
    assert_eq!(world.places(&waiting), [("node-1", 0)]);
}

#[test]
fn ranks_of_an_agent_that_started_anew_are_lost() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.start_agent("node-1", 1);
    assert_eq!(world.job(&job_id).generation, Generation(2));
    let fault = world.job(&job_id).last_fault.clone().expect("a fault");
    assert_eq!(fault.message, "rank 0 was lost with node-1, whose agent started anew");
}

#[test]
fn an_agent_that_was_replaced_is_refused() {
    let mut world = World::new(&[1]);
    let older = world.agents["node-1"].clone();
    world.start_agent("node-1", 1);
    let refusal = world.model.check_report(&older).expect_err("it was replaced");
    assert_eq!(refusal.reason, Reason::StaleGeneration);
}

#[test]
fn an_agent_without_a_name_or_of_an_old_protocol_is_refused() {
    let world = World::new(&[1]);
    let report = world.agents["node-1"].clone();
    let nameless = v1::AgentReport { node_id: String::new(), ..report.clone() };
    assert_eq!(world.model.check_report(&nameless).expect_err("no name").subject, "node_id");
    let old = v1::AgentReport { protocol_version: 0, ..report };
    let refusal = world.model.check_report(&old).expect_err("an old protocol");
    assert_eq!(refusal.reason, Reason::ProtocolVersionUnsupported);
}

#[test]
fn a_restarted_coordinator_adopts_what_runs() {
    let (mut world, job_id) = World::running(&[1, 1], 2);
    let n_changes = world.changes.len();
    world.restart();
    assert_eq!(standing(&world, "node-1"), v1::NodeState::Suspect);
    world.pass(LEASE);
    world.report_all();
    assert_eq!(world.changes.len(), n_changes);
    assert_eq!(world.state(&job_id), JobState::Running);
    assert_eq!(world.orders("node-1").len(), 1);
}

#[test]
fn a_restarted_coordinator_gives_every_node_one_lease() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.pass(Duration::from_secs(9));
    world.restart();
    world.pass(LEASE);
    assert_eq!(world.state(&job_id), JobState::Running);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.state(&job_id), JobState::Recovering);
}

#[test]
fn a_rank_that_finished_during_a_restart_is_counted() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.restart();
    world.finish(&job_id, 0);
    assert_eq!(world.state(&job_id), JobState::Succeeded);
}

#[test]
fn a_leaving_node_takes_nothing_and_loses_its_ranks() {
    let (mut world, job_id) = World::running(&[1, 1], 1);
    let agent = world.agents.get_mut("node-1").expect("a started agent");
    agent.leaving = true;
    agent.ranks[0].set_state(RankState::Stopped);
    world.report("node-1");
    assert_eq!(standing(&world, "node-1"), v1::NodeState::Leaving);
    assert_eq!(world.places(&job_id), [("node-2", 0)]);
    let fault = world.job(&job_id).last_fault.clone().expect("a fault");
    assert_eq!(fault.message, "rank 0 was lost with node-1, whose agent leaves");
}

#[test]
fn an_agent_that_never_says_that_it_stopped_is_believed_after_a_lease() {
    let mut world = World::new(&[1]);
    let job_id = world.submit(1);
    world.cancel(&job_id).expect("it can be cancelled");
    world.pass(Duration::from_secs(9));
    world.report("node-1");
    assert_eq!(world.state(&job_id), JobState::Cancelling);
    world.pass(Duration::from_secs(2));
    world.report("node-1");
    assert_eq!(world.state(&job_id), JobState::Cancelled);
}

#[test]
fn progress_is_of_the_newest_generation_and_of_rank_0() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.edit(&job_id, 0, |seen| seen.progress = Some(v1::Progress { step: 5, ..Default::default() }));
    world.edit(&job_id, 1, |seen| seen.progress = Some(v1::Progress { step: 6, ..Default::default() }));
    world.report_all();
    let progress = world.model.job_view(world.job(&job_id)).progress.expect("progress");
    assert_eq!(progress.step, 5);
    let reached = world.model.observed.reached(&job_id, Generation(1)).expect("progress");
    assert_eq!(reached.step, kindred_proto::ids::Step(6));
}

#[test]
fn a_node_that_is_long_gone_is_forgotten() {
    let mut world = World::new(&[1, 1]);
    world.pass(Duration::from_secs(24 * 60 * 60 + 1));
    assert_eq!(world.model.state().nodes().count(), 0);
    world.report("node-2");
    assert_eq!(world.model.state().nodes().count(), 1);
}
