//! Jobs that were over long ago.

use kindred_proto::ids::CheckpointId;

use super::*;

const LONG: Duration = Duration::from_secs(91 * 24 * 60 * 60);

#[test]
fn a_job_is_forgotten_once_it_was_over_for_long() {
    let (mut world, job_id) = World::running(&[2], 1);
    let cancelled = world.submit(9);
    world.cancel(&cancelled).expect("it can be cancelled");
    world.pass(LONG / 2);
    assert_eq!(world.state(&cancelled), JobState::Cancelled);
    world.pass(LONG / 2);
    assert!(world.model.state().job(&cancelled).is_none());
    assert!(world.model.state().job(&job_id).is_some(), "one that is not over stays, however old it is");
    world.check_replay();
}

#[test]
fn the_number_and_the_request_of_a_forgotten_job_are_free_and_not_given_twice() {
    let mut world = World::new(&[]);
    let first = world.try_submit("a", submission(1)).expect("a good job");
    world.cancel(&first).expect("it can be cancelled");
    world.pass(LONG);
    let second = world.try_submit("a", submission(1)).expect("a good job");
    assert_eq!((first.as_str(), second.as_str()), ("job-1", "job-2"));
    world.restart();
    assert_eq!(world.submit(1).as_str(), "job-3");
    world.check_replay();
}

#[test]
fn a_pinned_checkpoint_keeps_its_job() {
    let (mut world, job_id) = World::running(&[1], 1);
    let written = checkpoint(&job_id, 1, 5);
    let id = CheckpointId::new(written.id.as_str());
    world.edit(&job_id, 0, |seen| seen.checkpoints.push(written));
    world.report_all();
    let pin = |is_pinned| Event::PinRequested { job_id: job_id.clone(), checkpoint: id.clone(), is_pinned };
    world.wish(&pin(true)).expect("it is recorded");
    world.finish(&job_id, 0);
    world.pass(LONG);
    assert_eq!(world.state(&job_id), JobState::Succeeded);
    world.wish(&pin(false)).expect("it is recorded");
    assert!(world.model.state().job(&job_id).is_none());
}

#[test]
fn very_many_go_in_one_turn() {
    let mut world = World::new(&[]);
    for _ in 0..2500 {
        let job_id = world.try_submit("", submission(1)).expect("a good job");
        world.cancel(&job_id).expect("it can be cancelled");
    }
    world.pass(LONG);
    assert_eq!(world.model.state().jobs_before(None).count(), 0);
}
