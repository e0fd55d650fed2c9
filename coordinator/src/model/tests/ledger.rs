//! Who owns which steps, and that nobody writes for a generation that is sealed.

use kindred_proto::ids::Step;

use super::*;

/// Generation, first and last step of each interval, as users see them.
fn intervals(world: &World, job_id: &JobId) -> Vec<(u64, u64, u64)> {
    let ledger = view(world, job_id).ledger.expect("a job that was placed");
    ledger.intervals.iter().map(|it| (it.generation, it.first_step, it.last_step)).collect()
}

fn view(world: &World, job_id: &JobId) -> v1::Job {
    world.model.job_view_at(world.now, world.job(job_id))
}

fn recomputed(world: &World, job_id: &JobId) -> u64 {
    view(world, job_id).ledger.expect("a job that was placed").recomputed_steps
}

/// Lets all ranks of the newest generation have met after so many steps.
fn begin(world: &mut World, job_id: &JobId, step: u64) {
    for rank in 0..world.job(job_id).submission.world_size.0 {
        world.edit(job_id, rank, |seen| {
            seen.set_state(RankState::Training);
            seen.began_at_step = Some(step);
        });
    }
    world.report_all();
}

fn commit(world: &mut World, job_id: &JobId, step: u64) {
    let checkpoint = checkpoint(job_id, world.job(job_id).generation.0, step);
    world.edit(job_id, 0, |seen| seen.checkpoints.push(checkpoint));
    world.report_all();
}

#[test]
fn survivors_lose_no_step() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.train(&job_id, 10);
    assert_eq!(intervals(&world, &job_id), [(1, 1, 10)]);
    world.fail(&job_id, 1, Reason::RankExited);
    world.obey_all();
    begin(&mut world, &job_id, 12);
    assert_eq!(intervals(&world, &job_id), [(1, 1, 12)], "rank 0 was further than was heard");
    world.train(&job_id, 20);
    assert_eq!(intervals(&world, &job_id), [(1, 1, 12), (2, 13, 20)]);
    assert_eq!(recomputed(&world, &job_id), 0);
}

/// The words of its beginning and of its loss came in the wrong order, or not at all.
#[test]
fn survivors_of_a_generation_that_nobody_heard_of_lose_no_step_either() {
    let mut world = World::new(&[2]);
    let job_id = world.submit(2);
    world.obey_all();
    world.edit(&job_id, 0, |seen| seen.set_state(RankState::Training));
    world.fail(&job_id, 1, Reason::RankExited);
    assert_eq!(world.job(&job_id).generation, Generation(2));
    world.obey_all();
    begin(&mut world, &job_id, 13);
    world.train(&job_id, 20);
    assert_eq!(intervals(&world, &job_id), [(1, 1, 13), (2, 14, 20)]);
}

#[test]
fn a_checkpoint_costs_the_steps_after_it() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.train(&job_id, 25);
    commit(&mut world, &job_id, 20);
    world.train(&job_id, 33);
    world.fail(&job_id, 0, Reason::Internal);
    world.obey_all();
    world.obey_all();
    assert_eq!(intervals(&world, &job_id), [(1, 1, 33)], "nobody took them again yet");
    begin(&mut world, &job_id, 20);
    assert_eq!(intervals(&world, &job_id), [(1, 1, 20)]);
    assert_eq!(recomputed(&world, &job_id), 13);
    world.restart();
    assert_eq!(intervals(&world, &job_id), [(1, 1, 20)]);
    assert_eq!(recomputed(&world, &job_id), 13);
}

#[test]
fn all_steps_of_a_job_that_succeeded_have_an_owner() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.train(&job_id, 40);
    world.fail(&job_id, 0, Reason::RankExited);
    world.obey_all();
    begin(&mut world, &job_id, 0);
    world.train(&job_id, 100);
    world.finish(&job_id, 0);
    assert_eq!(world.state(&job_id), JobState::Succeeded);
    assert_eq!(intervals(&world, &job_id), [(2, 1, 100)]);
    assert_eq!(recomputed(&world, &job_id), 40);
}

/// W1, and a fence at each durable thing: whatever is said of an old generation once another took its place, by its own node
/// or by that of the new one, nothing of it is stored. It fails when `Contact::rank` or `member` in `model::observed` do not
/// compare generations.
#[test]
fn a_partitioned_old_generation_writes_no_checkpoint_and_no_row() {
    let (mut world, job_id) = World::running(&[1, 1], 1);
    world.train(&job_id, 10);
    commit(&mut world, &job_id, 10);
    let mut old = world.agents.remove("node-1").expect("a started agent");
    world.pass(Duration::from_secs(9));
    world.report("node-2");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.places(&job_id), [("node-2", 0)]);
    world.obey("node-2");
    begin(&mut world, &job_id, 10);
    world.train(&job_id, 12);
    let (n_changes, before) = (world.changes.len(), view(&world, &job_id));

    // The partition heals; the old rank has trained on, and says all that it can say.
    let seen = &mut old.ranks[0];
    seen.progress = Some(v1::Progress { step: 500, ..Default::default() });
    seen.began_at_step = Some(400);
    seen.checkpoints = vec![checkpoint(&job_id, 1, 500), checkpoint(&job_id, 2, 500)];
    seen.result = Some(v1::JobResult::default());
    for state in [RankState::Training, RankState::Finished, RankState::Failed] {
        old.ranks[0].set_state(state);
        let other = v1::AgentReport { ranks: old.ranks.clone(), ..world.agents["node-2"].clone() };
        for report in [old.clone(), other] {
            world.model.observe(world.now, Observation::Reported(Box::new(report)));
            world.settle();
        }
    }
    let returned = Change::node(&"node-1".into(), world.now, NodeChange::Returned);
    assert_eq!(world.changes[n_changes..], [returned], "nothing of the job");
    assert_eq!(view(&world, &job_id), before);
    assert!(world.orders("node-1").is_empty(), "its agent stops it");
}

#[test]
fn a_generation_that_ends_gets_no_row_any_more() {
    let mut world = World::new(&[2]);
    let job_id = world.submit(2);
    world.obey_all();
    world.fail(&job_id, 1, Reason::RankExited);
    assert_eq!(world.job(&job_id).live_generation(), None);
    world.edit(&job_id, 0, |seen| {
        seen.set_state(RankState::Training);
        seen.began_at_step = Some(0);
    });
    world.report_all();
    assert!(!world.job(&job_id).ledger.knows(Generation(1)));
    commit(&mut world, &job_id, 20);
    assert!(world.job(&job_id).checkpoints.is_empty(), "a checkpoint needs a row");
}

#[test]
fn commits_are_held_until_it_is_stored_where_the_generation_began() {
    let mut world = World::new(&[1]);
    let job_id = world.submit(1);
    world.obey_all();
    assert!(world.orders("node-1")[0].hold_commits);
    begin(&mut world, &job_id, 0);
    assert!(!world.orders("node-1")[0].hold_commits);
    world.restart();
    world.report_all();
    assert!(!world.orders("node-1")[0].hold_commits, "it is journaled");
}

#[test]
fn a_checkpoint_of_a_step_before_the_beginning_is_not_recorded() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.train(&job_id, 30);
    world.fail(&job_id, 1, Reason::RankExited);
    world.obey_all();
    begin(&mut world, &job_id, 30);
    commit(&mut world, &job_id, 20);
    assert!(world.job(&job_id).checkpoints.is_empty());
    commit(&mut world, &job_id, 40);
    assert_eq!(world.job(&job_id).checkpoints.len(), 1);
}

#[test]
fn goodput_is_the_time_in_which_steps_were_taken_that_count() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.pass(Duration::from_secs(8));
    world.train(&job_id, 20);
    commit(&mut world, &job_id, 10);
    world.fail(&job_id, 0, Reason::RankExited);
    world.obey_all();
    world.pass(Duration::from_secs(4));
    world.report_all();
    begin(&mut world, &job_id, 10);
    world.pass(Duration::from_secs(8));
    world.train(&job_id, 30);
    world.finish(&job_id, 0);
    world.pass(Duration::from_secs(100));
    let ledger = view(&world, &job_id).ledger.expect("it was placed");
    assert_eq!((ledger.elapsed_s, ledger.productive_s, ledger.goodput), (20.0, 4.0 + 8.0, Some(0.6)));
    assert_eq!(ledger.recomputed_steps, 10);
}

#[test]
fn time_runs_while_a_job_waits_for_devices_and_before_ranks_met_there_is_no_goodput() {
    let mut world = World::new(&[1]);
    let job_id = world.submit(1);
    world.pass(Duration::from_secs(5));
    let ledger = view(&world, &job_id).ledger.expect("it was placed");
    assert_eq!((ledger.elapsed_s, ledger.goodput), (5.0, None));
    let waiting = world.submit(1);
    assert_eq!(view(&world, &waiting).ledger, None);
}

#[test]
fn a_node_speaks_for_its_own_ranks_only() {
    let (mut world, job_id) = World::running(&[1, 1], 1);
    let mut stranger = world.agents["node-2"].clone();
    let order = v1::OrderedRank { job_id: job_id.to_string(), generation: 1, ..Default::default() };
    let progress = Some(v1::Progress { step: 77, ..Default::default() });
    stranger.ranks = vec![v1::ObservedRank { progress, ..started(&order) }];
    world.model.observe(world.now, Observation::Reported(Box::new(stranger)));
    let reached = world.model.observed.reached(&job_id, Generation(1)).expect("node-1 said");
    assert_eq!(reached.step, Step(1));
}

#[test]
fn an_evaluation_measures_anew_so_that_its_last_generation_owns_all() {
    let mut world = World::new(&[2]);
    let job_id = world.try_submit("a", evaluation(2)).expect("a good job");
    world.obey_all();
    world.train(&job_id, 30);
    world.fail(&job_id, 1, Reason::RankExited);
    world.obey_all();
    world.obey_all();
    begin(&mut world, &job_id, 0);
    world.train(&job_id, 50);
    assert_eq!(intervals(&world, &job_id), [(2, 1, 50)]);
    assert_eq!(recomputed(&world, &job_id), 30);
}
