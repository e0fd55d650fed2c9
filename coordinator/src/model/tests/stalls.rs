//! Ranks that are slow, and those that hang inside a step.

use v1::{ordered_rank::Action, stall::Section};

use super::*;

fn stall(world: &mut World, job_id: &JobId, rank: u32, section: Section, for_ms: u64) {
    let stall = v1::Stall { section: section.into(), for_ms, limit_ms: 2_000, step: 7 };
    world.edit(job_id, rank, |seen| seen.stall = Some(stall));
    world.report_all();
}

fn order(world: &World, node: &str) -> v1::OrderedRank {
    world.orders(node).into_iter().next().expect("it runs a rank")
}

fn reason(world: &World, job_id: &JobId) -> String {
    world.model.job_view(world.job(job_id)).reason
}

#[test]
fn a_slow_rank_is_named_and_not_the_one_that_waits_for_it() {
    let (mut world, job_id) = World::running(&[1, 1], 2);
    let usual = reason(&world, &job_id);
    stall(&mut world, &job_id, 1, Section::Reduce, 2_500);
    assert_eq!(reason(&world, &job_id), usual, "nobody is known to be slow");
    stall(&mut world, &job_id, 0, Section::Data, 3_100);
    let node = &world.job(&job_id).live.as_ref().expect("it runs").members[0].placement.node_name;
    let named = format!("rank 0 on {node} is slow: waiting for images for 3.1 s after step 7");
    assert_eq!(reason(&world, &job_id), named);
    world.edit(&job_id, 0, |seen| seen.stall = None);
    world.report_all();
    assert_eq!(reason(&world, &job_id), usual);
}

#[test]
fn a_rank_that_hangs_while_another_waits_is_killed_after_the_budget() {
    let (mut world, job_id) = World::running(&[1, 1], 2);
    let node = world.places(&job_id)[0].0.to_owned();
    stall(&mut world, &job_id, 0, Section::Forward, 11_999);
    stall(&mut world, &job_id, 1, Section::Reduce, 11_000);
    assert_eq!(order(&world, &node).action(), Action::Run, "2 s and the budget of 10 s are not over");
    stall(&mut world, &job_id, 0, Section::Forward, 12_000);
    let killed = order(&world, &node);
    assert_eq!(killed.action(), Action::Kill);
    let why =
        "was in the forward pass for 12.0 s after step 7, and others waited: it is hung, and was killed";
    assert_eq!(killed.kill_reason, why);
    stall(&mut world, &job_id, 0, Section::Backward, 12_000);
    assert_eq!(order(&world, &node).action(), Action::Run, "it may wait for others itself");
    stall(&mut world, &job_id, 0, Section::Forward, 12_000);
    world.edit(&job_id, 1, |seen| seen.stall = None);
    world.report_all();
    assert_eq!(order(&world, &node).action(), Action::Run, "nobody waits for it");
}

#[test]
fn ranks_that_are_slow_together_are_left_alone() {
    let (mut world, job_id) = World::running(&[1, 1, 1], 3);
    stall(&mut world, &job_id, 0, Section::Data, 60_000);
    stall(&mut world, &job_id, 1, Section::Data, 60_000);
    stall(&mut world, &job_id, 2, Section::Reduce, 60_000);
    assert!(world.places(&job_id).iter().all(|(node, _)| order(&world, node).action() == Action::Run));
    assert!(reason(&world, &job_id).contains("; rank 1 on"), "both are named");
}
