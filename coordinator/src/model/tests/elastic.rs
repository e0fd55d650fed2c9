//! Jobs that run with as many ranks as there are devices for.

use super::*;

/// Lets those that join reach a state, and their agents say so.
fn joiners_reach(world: &mut World, job_id: &JobId, state: RankState) {
    let generation = world.job(job_id).joining.as_ref().expect("more ranks start").generation.0;
    world.obey_all();
    for report in world.agents.values_mut() {
        for seen in report.ranks.iter_mut().filter(|seen| seen.generation == generation) {
            seen.set_state(state);
        }
    }
    world.report_all();
}

fn n_ranks(world: &World, job_id: &JobId) -> usize {
    world.job(job_id).live.as_ref().expect("a placed job").members.len()
}

#[test]
fn a_job_starts_with_as_many_ranks_as_there_are_devices_for() {
    let mut world = World::new(&[3]);
    let job_id = world.submit_elastic(&[1, 2, 4]);
    assert_eq!(world.places(&job_id), [("node-1", 0), ("node-1", 1)]);
    let waiting = world.submit_elastic(&[2, 3]);
    assert!(world.job(&waiting).reason.starts_with("needs at least 2 cpu devices, 1 free"));
}

#[test]
fn a_job_that_lost_a_rank_goes_on_at_once_with_those_that_are_left() {
    let mut world = World::new(&[4]);
    let job_id = world.submit_elastic(&[2, 3, 4]);
    world.obey_all();
    world.train(&job_id, 1);
    world.fail(&job_id, 1, Reason::RankExited);
    assert_eq!(world.job(&job_id).generation, Generation(2));
    assert_eq!(world.places(&job_id), [("node-1", 0), ("node-1", 2), ("node-1", 3)], "they move up");
}

#[test]
fn a_node_that_is_silent_is_heard_or_lost_before_others_go_on_without_it() {
    let mut world = World::new(&[1, 1, 1]);
    let job_id = world.submit_elastic(&[1, 2, 3]);
    world.obey_all();
    world.train(&job_id, 1);
    world.model.observe(world.now, Observation::Disconnected("node-3".into()));
    world.edit(&job_id, 1, |seen| seen.set_state(RankState::Failed));
    let (failed, _) = world.places(&job_id)[1];
    let failed = failed.to_owned();
    world.report(&failed);
    assert_eq!(world.job(&job_id).generation, Generation(1));
    world.report("node-3");
    assert_eq!((world.job(&job_id).generation, n_ranks(&world, &job_id)), (Generation(2), 2));
}

#[test]
fn a_number_that_cannot_share_the_batch_is_left_out() {
    let mut world = World::new(&[4]);
    let job_id = world.submit_elastic(&[2, 4]);
    world.obey_all();
    world.train(&job_id, 1);
    world.agents.get_mut("node-1").expect("it is there").devices.truncate(3);
    world.fail(&job_id, 3, Reason::RankExited);
    assert_eq!(
        world.state(&job_id),
        JobState::Recovering,
        "a rank that is left out could still commit something"
    );
    world.obey_all();
    assert_eq!(world.places(&job_id), [("node-1", 0), ("node-1", 1)]);
}

#[test]
fn more_ranks_start_beside_the_others_and_join_them_once_they_are_ready() {
    let mut world = World::new(&[2]);
    let job_id = world.submit_elastic(&[2, 3, 4]);
    world.obey_all();
    world.train(&job_id, 1);
    world.start_agent("node-2", 2);
    world.report_all();
    let job = world.job(&job_id);
    assert_eq!((job.generation, job.state), (Generation(1), JobState::Running));
    assert_eq!(job.reason, "all ranks of generation 1 are at work; 2 more start");
    let orders = world.orders("node-2");
    let told: Vec<_> = orders.iter().map(|it| (it.generation, it.rank, it.world_size)).collect();
    assert_eq!(told, [(2, 2, 4), (2, 3, 4)]);

    joiners_reach(&mut world, &job_id, RankState::Starting);
    assert_eq!(world.job(&job_id).generation, Generation(1), "they are not ready");
    joiners_reach(&mut world, &job_id, RankState::Meeting);
    assert_eq!((world.job(&job_id).generation, n_ranks(&world, &job_id)), (Generation(2), 4));
    assert_eq!(world.orders("node-2"), orders, "nothing changes for them");
    assert_eq!(world.job(&job_id).spent, Default::default(), "no budget pays for it");
}

#[test]
fn a_job_goes_on_without_those_that_cannot_join_and_tries_again_later() {
    let mut world = World::new(&[2]);
    let job_id = world.submit_elastic(&[2, 3]);
    world.obey_all();
    world.train(&job_id, 1);
    world.start_agent("node-2", 1);
    world.report_all();
    joiners_reach(&mut world, &job_id, RankState::Failed);
    let job = world.job(&job_id);
    assert_eq!((job.state, job.joining.as_ref()), (JobState::Running, None));
    let reason = "all ranks of generation 1 are at work; more could not join: rank 2 on node-2: it stopped without an order";
    assert_eq!(job.reason, reason);
    let wait = |world: &mut World, seconds| {
        for _ in 0..seconds {
            world.obey_all();
            world.pass(Duration::from_secs(1));
        }
    };
    wait(&mut world, 55);
    assert!(world.job(&job_id).joining.is_none());
    wait(&mut world, 10);
    let again = world.job(&job_id).joining.as_ref().expect("they had time to be mended");
    assert_eq!(again.generation, Generation(3), "a number that no rank was ordered for");
}

#[test]
fn a_job_that_waits_has_the_first_claim() {
    let mut world = World::new(&[2]);
    let elastic = world.submit_elastic(&[2, 3]);
    world.obey_all();
    world.train(&elastic, 1);
    let waiting = world.submit(2);
    world.start_agent("node-2", 1);
    world.report_all();
    assert!(world.job(&elastic).joining.is_none());
    assert_eq!(world.state(&waiting), JobState::Pending);
}

#[test]
fn a_fault_sends_those_that_join_away() {
    let mut world = World::new(&[2]);
    let job_id = world.submit_elastic(&[1, 2, 3]);
    world.obey_all();
    world.train(&job_id, 1);
    world.start_agent("node-2", 1);
    world.report_all();
    joiners_reach(&mut world, &job_id, RankState::Starting);
    world.fail(&job_id, 0, Reason::RankExited);
    let job = world.job(&job_id);
    assert_eq!((job.generation, job.joining.as_ref(), n_ranks(&world, &job_id)), (Generation(3), None, 1));
    assert!(world.orders("node-2").is_empty());
}
