//! Jobs that users change after they handed them in.

use super::*;

fn updated(world: &World, job_id: &JobId, edit: impl FnOnce(&mut Submission)) -> Update {
    let job = world.job(job_id);
    let mut submission = Box::new(job.submission.clone());
    edit(&mut submission);
    Update { job_id: job_id.clone(), request_id: String::new(), etag: job.etag(), submission }
}

fn sizes(sizes: &[u32]) -> impl FnOnce(&mut Submission) {
    let world_sizes = sizes.iter().copied().map(WorldSize).collect();
    move |submission| submission.world_sizes = world_sizes
}

fn n_ranks(world: &World, job_id: &JobId) -> usize {
    world.job(job_id).live.as_ref().expect("a placed job").members.len()
}

#[test]
fn a_job_that_waits_is_looked_at_anew_at_once() {
    let (mut world, first) = World::running(&[2], 2);
    let waiting = world.submit_with(2, |terms| terms.priority = 0);
    let later = world.submit(1);
    assert!(world.job(&later).reason.starts_with("waits behind "), "{}", world.job(&later).reason);
    world.update(&later, |submission| submission.scheduling.priority = 50).expect("it waits");
    assert!(world.job(&later).reason.starts_with("needs "), "{}", world.job(&later).reason);
    assert!(world.job(&waiting).reason.starts_with("waits behind "), "{}", world.job(&waiting).reason);
    world.update(&waiting, |submission| submission.world_size = WorldSize(1)).expect("it was never placed");
    world.finish_all(&first);
    assert_eq!((n_ranks(&world, &later), n_ranks(&world, &waiting)), (1, 1));
}

#[test]
fn a_job_with_more_ranks_than_it_may_have_goes_on_with_fewer() {
    let mut world = World::new(&[4]);
    let job_id = world.submit_elastic(&[1, 2, 4]);
    world.obey_all();
    world.train(&job_id, 1);
    world.update(&job_id, sizes(&[1, 2])).expect("it runs");
    let job = world.job(&job_id);
    assert_eq!(job.reason, "may have at most 2 ranks now: writes a checkpoint and goes on with fewer");
    assert!(job.live.as_ref().is_some_and(|live| live.writes_checkpoint));
    world.catch_up();
    assert_eq!((n_ranks(&world, &job_id), world.job(&job_id).n_preemptions), (2, 0));
    assert_eq!(world.job(&job_id).spent.infrastructure, 0, "no budget pays for it");
}

#[test]
fn a_job_with_fewer_ranks_than_it_is_to_have_goes_on_and_grows() {
    let mut world = World::new(&[2]);
    let job_id = world.submit_elastic(&[1, 2, 4]);
    world.obey_all();
    world.train(&job_id, 1);
    world.update(&job_id, sizes(&[4])).expect("it runs");
    assert_eq!((world.state(&job_id), n_ranks(&world, &job_id)), (JobState::Running, 2));
    world.start_agent("node-2", 2);
    assert_eq!(world.job(&job_id).joining.as_ref().map(|joining| joining.placements.len()), Some(2));
    world.update(&job_id, sizes(&[1, 2])).expect("it runs");
    assert_eq!(world.job(&job_id).joining, None);
    assert!(world.job(&job_id).reason.contains("may not have 4 ranks any more"));
}

#[test]
fn what_ranks_or_quotas_depend_on_stays_once_there_are_ranks() {
    let (mut world, job_id) = World::running(&[2], 1);
    let mut refused = |edit: fn(&mut Submission)| world.update(&job_id, edit).expect_err("it has ranks");
    let failure = refused(|submission| submission.world_size = WorldSize(2));
    assert_eq!((failure.reason, failure.subject.as_str()), (Reason::IllegalTransition, "ranks"));
    let failure = refused(|submission| submission.scheduling.queue = "other".to_owned());
    assert_eq!((failure.reason, failure.subject.as_str()), (Reason::IllegalTransition, "queue"));
    world.suspend(&job_id).expect("it runs");
    world.obey_all();
    let other = |submission: &mut Submission| submission.scheduling.queue = "other".to_owned();
    assert_eq!(world.update(&job_id, other).expect_err("no such queue").reason, Reason::SpecInvalid);
    world.set_rules(|rules| rules.queues.extend([("other".to_owned(), QueueRule::default())]));
    world.update(&job_id, other).expect("there is, and the job has no ranks");
}

#[test]
fn a_job_that_is_over_takes_labels_only() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.finish_all(&job_id);
    let failure = world.update(&job_id, |it| it.scheduling.priority = 1).expect_err("it is over");
    assert_eq!(failure.message, "job-1 cannot be updated: it has succeeded already");
    world.update(&job_id, |it| it.spec.0.labels.extend([("kept".into(), "yes".into())])).expect("a label");
    assert_eq!(world.job(&job_id).submission.spec.0.labels["kept"], "yes");
    assert!(!world.job(&job_id).is_active());
}

#[test]
fn an_update_is_of_what_its_caller_saw() {
    let mut world = World::new(&[]);
    let job_id = world.submit(1);
    let raise = |submission: &mut Submission| submission.scheduling.priority += 1;
    let (one, other) = (updated(&world, &job_id, raise), updated(&world, &job_id, raise));
    let request_id = "a".to_owned();
    let one = Event::UpdateRequested(Update { request_id, ..one });
    world.wish(&one).expect("the first");
    assert_eq!(world.job(&job_id).etag(), "u1");
    let failure = world.wish(&Event::UpdateRequested(other)).expect_err("it was updated since");
    assert_eq!((failure.reason, failure.subject.as_str()), (Reason::EtagMismatch, "etag"));
    world.wish(&one).expect("the same request again");
    assert_eq!(world.job(&job_id).submission.scheduling.priority, 1);
    let same = updated(&world, &job_id, |_| {});
    world.wish(&Event::UpdateRequested(same)).expect("nothing new");
    assert_eq!(world.job(&job_id).etag(), "u1");
    world.check_replay();
}
