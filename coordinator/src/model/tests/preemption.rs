//! Jobs of higher priority take devices of lower ones, which lose nothing but time.

use super::*;

const LONG: Duration = Duration::from_secs(61);

fn higher(terms: &mut SchedulingTerms) {
    terms.priority = 10;
}

/// A job that has trained for a minute on all devices, and one of higher priority that wants as many.
fn contested() -> (World, JobId, JobId) {
    let mut world = World::new(&[2]);
    let low = world.submit(2);
    world.train_for(&low, LONG);
    let high = world.submit_with(2, higher);
    (world, low, high)
}

fn n_given_way(world: &World) -> usize {
    let is_one = |change: &&Change| {
        matches!(change, Change::Job { change: JobChange::GivesWay { to: Some(_), .. }, .. })
    };
    world.changes.iter().filter(is_one).count()
}

#[test]
fn a_lower_job_writes_a_checkpoint_and_waits_for_its_turn() {
    let (mut world, low, high) = contested();
    assert_eq!(
        world.job(&low).reason,
        "gives way to job-2 (priority 10, not 0): writes a checkpoint and waits for its turn"
    );
    assert_eq!(world.job(&high).reason, "needs 2 cpu devices, 0 free: job-1 gives way");
    let orders = world.orders("node-1");
    let stop = v1::ordered_rank::Action::Stop;
    assert!(orders.iter().all(|order| order.action() == stop && order.write_checkpoint));

    let written = checkpoint(&low, 1, 1);
    world.edit(&low, 0, |seen| seen.checkpoints.push(written));
    world.report_all();
    world.obey_all();
    world.obey_all();
    assert_eq!((world.state(&low), world.state(&high)), (JobState::Pending, JobState::Starting));
    assert_eq!(world.job(&low).reason, "needs 2 cpu devices, 0 free: job-2 runs on node-1");
    let job = world.job(&low);
    assert_eq!((job.spent, job.failure.clone(), job.n_preemptions), (Default::default(), None, 1));

    world.finish_all(&high);
    assert_eq!(world.state(&low), JobState::Starting);
    let live = world.job(&low).live.as_ref().expect("it was placed");
    assert_eq!(live.resume_from.as_ref().map(|from| from.step), Some(1), "no step is lost");
}

#[test]
fn who_is_not_lower_or_not_preemptible_or_has_just_begun_keeps_its_devices() {
    let keep = |ask: fn(&mut SchedulingTerms), has_run: Duration| {
        let mut world = World::new(&[1]);
        let running = world.submit_with(1, ask);
        world.train_for(&running, has_run);
        let high = world.submit_with(1, higher);
        assert_eq!(n_given_way(&world), 0);
        assert_eq!(world.job(&high).reason, "needs 1 cpu device, 0 free: job-1 runs on node-1");
        world
    };
    keep(higher, LONG);
    keep(|terms| terms.preemptible = false, LONG);
    let mut world = keep(|_| {}, Duration::from_secs(10));
    world.advance(LONG);
    assert_eq!(n_given_way(&world), 1, "it has run for a minute by now");
}

#[test]
fn nobody_gives_way_where_that_would_not_be_enough() {
    let mut world = World::new(&[2]);
    let low = world.submit(1);
    let other = world.submit_with(1, |terms| terms.preemptible = false);
    world.train_for(&low, Duration::from_secs(1));
    world.train(&other, 1);
    world.advance(LONG);
    world.submit_with(2, higher);
    assert_eq!(n_given_way(&world), 0);
}

#[test]
fn the_lowest_gives_way_first_and_no_more_than_must() {
    let mut world = World::new(&[1, 1, 1]);
    let jobs: Vec<JobId> =
        [2, 0, 1].map(|priority| world.submit_with(1, |terms| terms.priority = priority)).into();
    for job_id in &jobs {
        world.train_for(job_id, Duration::ZERO);
    }
    world.advance(LONG);
    world.submit_with(1, higher);
    assert_eq!(n_given_way(&world), 1);
    assert!(world.job(&jobs[1]).gives_way);
}

#[test]
fn an_elastic_job_shrinks_where_that_is_enough() {
    let mut world = World::new(&[4]);
    let low = world.submit_elastic(&[1, 2, 4]);
    world.train_for(&low, LONG);
    let high = world.submit_with(2, higher);
    assert_eq!(
        world.job(&low).reason,
        "gives way to job-2 (priority 10, not 0): writes a checkpoint and goes on with fewer ranks"
    );
    // Somebody who came in between does not take what is left.
    let between = world.submit_with(2, |terms| terms.priority = 5);
    world.obey_all();
    world.obey_all();
    assert_eq!((world.places(&high).len(), world.places(&low).len()), (2, 2));
    assert_eq!(world.state(&between), JobState::Pending);
    assert_eq!(world.job(&low).spent, Default::default());
}

#[test]
fn two_jobs_do_not_take_devices_from_one_another_in_turns() {
    let (mut world, low, high) = contested();
    world.obey_all();
    world.obey_all();
    world.train_for(&high, LONG);
    for _ in 0..50 {
        world.advance(Duration::from_secs(600));
        world.obey_all();
    }
    assert_eq!(n_given_way(&world), 1);
    assert_eq!((world.state(&low), world.state(&high)), (JobState::Pending, JobState::Running));
}

#[test]
fn a_coordinator_that_starts_anew_goes_on_with_it() {
    let (mut world, low, high) = contested();
    world.restart();
    world.report_all();
    world.obey_all();
    world.obey_all();
    assert_eq!((world.state(&low), world.state(&high)), (JobState::Pending, JobState::Starting));
    assert_eq!(n_given_way(&world), 1);
}

#[test]
fn a_queue_makes_room_within_its_quota() {
    let mut world = World::new(&[4]);
    world.set_rules(|rules| {
        let quota = QueueRule { max_cpu: Some(2), ..QueueRule::default() };
        rules.queues.insert("small".to_owned(), quota);
    });
    let low = world.submit_with(2, |terms| terms.queue = "small".to_owned());
    world.train_for(&low, LONG);
    let high = world.submit_with(1, |terms| {
        terms.queue = "small".to_owned();
        terms.priority = 1;
    });
    assert!(world.job(&low).gives_way);
    world.obey_all();
    world.obey_all();
    assert_eq!(world.state(&high), JobState::Starting);
}
