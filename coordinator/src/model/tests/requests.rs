//! What users wish.

use super::*;

#[test]
fn the_same_request_gives_the_same_job() {
    let mut world = World::new(&[]);
    let first = world.try_submit("a", submission(1)).expect("a good job");
    assert_eq!(world.try_submit("a", submission(1)), Ok(first));
    assert_eq!(world.model.state().jobs_before(None).count(), 1);
}

#[test]
fn a_request_id_with_another_spec_is_refused() {
    let mut world = World::new(&[]);
    world.try_submit("a", submission(1)).expect("a good job");
    let refusal = world.try_submit("a", submission(2)).expect_err("another spec");
    assert_eq!(refusal.reason, Reason::RequestIdReused);
    assert!(refusal.message.contains("job-1"), "{refusal}");
}

#[test]
fn requests_without_an_id_are_never_the_same() {
    let mut world = World::new(&[]);
    let first = world.try_submit("", submission(1)).expect("a good job");
    assert_ne!(world.try_submit("", submission(1)), Ok(first));
}

#[test]
fn a_waiting_job_is_cancelled_at_once() {
    let mut world = World::new(&[]);
    let job_id = world.submit(1);
    world.cancel(&job_id).expect("it can be cancelled");
    assert_eq!(world.state(&job_id), JobState::Cancelled);
    assert_eq!(world.job(&job_id).reason, "cancelled by request: no longer needed");
}

#[test]
fn a_running_job_is_cancelled_once_its_ranks_are_gone() {
    let (mut world, job_id) = World::running(&[2], 2);
    world.cancel(&job_id).expect("it can be cancelled");
    assert_eq!(world.state(&job_id), JobState::Cancelling);
    world.obey_all();
    assert_eq!(world.state(&job_id), JobState::Cancelled);
    assert!(world.orders("node-1").is_empty());
}

#[test]
fn a_job_is_cancelled_once_and_only_before_its_end() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.cancel(&job_id).expect("it can be cancelled");
    let n_changes = world.changes.len();
    world.cancel(&job_id).expect("again is no trouble");
    assert_eq!(world.changes.len(), n_changes);

    let (mut world, job_id) = World::running(&[1], 1);
    world.finish(&job_id, 0);
    let refusal = world.cancel(&job_id).expect_err("it is over");
    assert_eq!(refusal.reason, Reason::IllegalTransition);
    assert_eq!(refusal.message, "job-1 cannot be cancelled: it has succeeded already");
}

#[test]
fn an_unknown_job_is_not_found() {
    let refusal = World::new(&[]).cancel(&"job-9".into()).expect_err("no such job");
    assert_eq!(refusal.reason, Reason::JobNotFound);
}

#[test]
fn jobs_are_listed_newest_first_past_the_ninth() {
    let mut world = World::new(&[]);
    let submitted: Vec<_> = (0..11).map(|_| world.submit(1)).collect();
    let listed: Vec<_> = world.model.state().jobs_before(None).map(|job| job.id.clone()).collect();
    assert_eq!(listed, submitted.into_iter().rev().collect::<Vec<_>>());
    let before: Vec<_> = world.model.state().jobs_before(Some(3)).map(|job| &job.id).collect();
    assert_eq!(before, [&JobId::from("job-2"), &JobId::from("job-1")]);
}
