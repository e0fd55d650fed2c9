//! Checkpoints: which stay, jobs that pause on one, and jobs that start from another's.

use kindred_proto::ids::CheckpointId;

use super::*;

impl World {
    /// Rank 0 commits a checkpoint after a step, with this kNN accuracy.
    fn commit(&mut self, job_id: &JobId, step: u64, knn: Option<f64>) -> CheckpointId {
        let generation = self.job(job_id).generation.0;
        let written = v1::Checkpoint {
            knn_accuracy_percent: knn,
            node_id: "node-1".to_owned(),
            ..checkpoint(job_id, generation, step)
        };
        let id = CheckpointId::new(written.id.as_str());
        self.edit(job_id, 0, |seen| seen.checkpoints.push(written));
        self.report_all();
        id
    }

    fn pin(&mut self, job_id: &JobId, checkpoint: &CheckpointId, is_pinned: bool) -> Result<JobId, Failure> {
        let (job_id, checkpoint) = (job_id.clone(), checkpoint.clone());
        self.wish(&Event::PinRequested { job_id, checkpoint, is_pinned })
    }

    pub(super) fn suspend(&mut self, job_id: &JobId) -> Result<JobId, Failure> {
        self.wish(&Event::SuspendRequested { job_id: job_id.clone(), reason: "the night shift".to_owned() })
    }

    pub(super) fn resume(&mut self, job_id: &JobId) -> Result<JobId, Failure> {
        self.wish(&Event::ResumeRequested { job_id: job_id.clone() })
    }

    fn fork(&mut self, request_id: &str, fork: Fork) -> Result<JobId, Failure> {
        let submission = Box::new(submission(1));
        self.wish(&Event::Submitted { request_id: request_id.to_owned(), submission, fork: Some(fork) })
    }

    fn kept_steps(&self, job_id: &JobId) -> Vec<u64> {
        self.job(job_id).checkpoints.iter().map(|checkpoint| checkpoint.0.step).collect()
    }
}

fn policy(keep_last: u32, keep_best: u32) -> Submission {
    let checkpoint =
        v1::CheckpointPolicy { keep_last: Some(keep_last), keep_best: Some(keep_best), ..Default::default() };
    let recipe = v1::Recipe { checkpoint: Some(checkpoint), ..Default::default() };
    let spec = v1::JobSpec { ranks: Some(1), recipe: Some(recipe), ..Default::default() };
    Submission { spec: Wire(spec), ..submission(1) }
}

fn training(submission: Submission) -> (World, JobId) {
    let mut world = World::new(&[2]);
    let job_id = world.try_submit("a", submission).expect("a good job");
    world.obey_all();
    world.train(&job_id, 1);
    (world, job_id)
}

fn newest_of(job_id: &JobId) -> Fork {
    Fork { job_id: job_id.clone(), checkpoint: None }
}

#[test]
fn the_last_the_best_and_the_pinned_checkpoints_stay() {
    let (mut world, job_id) = training(policy(2, 1));
    let first = world.commit(&job_id, 10, Some(50.0));
    world.pin(&job_id, &first, true).expect("it is there");
    for (step, knn) in [(20, Some(80.0)), (30, Some(80.0)), (40, Some(70.0)), (50, None), (60, None)] {
        world.commit(&job_id, step, knn);
    }
    assert_eq!(world.kept_steps(&job_id), [10, 30, 50, 60], "of equal ones the newer");
    world.commit(&job_id, 70, Some(90.0));
    assert_eq!(world.kept_steps(&job_id), [10, 60, 70]);
    world.pin(&job_id, &first, false).expect("it is there");
    assert_eq!(world.kept_steps(&job_id), [60, 70]);
    let error = world.pin(&job_id, &first, true).expect_err("it is let go of");
    assert_eq!(error.reason, Reason::CheckpointNotFound);
    assert_eq!(error.message, "job-1 has no checkpoint step-000000000010-g1");
    world.check_replay();
}

#[test]
fn the_first_rank_of_each_node_is_told_what_stays() {
    let (mut world, job_id) = World::running(&[2, 1], 3);
    let id = world.commit(&job_id, 10, None);
    let told = |node: &str| -> Vec<Vec<String>> {
        let orders = world.orders(node);
        orders.into_iter().map(|order| order.kept_checkpoints).collect()
    };
    let kept = vec![id.to_string()];
    assert_eq!((told("node-1"), told("node-2")), (vec![kept.clone(), vec![]], vec![kept]));
}

#[test]
fn a_job_that_is_over_keeps_what_is_on_disk_listed() {
    let (mut world, job_id) = training(policy(1, 0));
    let first = world.commit(&job_id, 10, None);
    world.pin(&job_id, &first, true).expect("it is there");
    world.commit(&job_id, 20, None);
    world.finish(&job_id, 0);
    world.pin(&job_id, &first, false).expect("it is there");
    assert_eq!(world.kept_steps(&job_id), [10, 20]);
}

#[test]
fn a_suspended_job_writes_a_checkpoint_frees_its_devices_and_goes_on_from_it() {
    let (mut world, job_id) = World::running(&[2], 2);
    let behind = world.submit(2);
    world.suspend(&job_id).expect("it runs");
    assert_eq!(world.state(&job_id), JobState::Suspending);
    let orders = world.orders("node-1");
    let stops =
        |order: &v1::OrderedRank| order.write_checkpoint && order.action() == v1::ordered_rank::Action::Stop;
    assert!(orders.iter().all(stops), "{orders:?}");
    let id = world.commit(&job_id, 7, None);
    world.suspend(&job_id).expect("once more changes nothing");
    world.obey_all();
    assert_eq!(world.state(&job_id), JobState::Suspended);
    assert_eq!(world.job(&job_id).reason, "suspended by request: the night shift");
    assert_eq!(world.state(&behind), JobState::Starting, "the devices are free");
    world.cancel(&behind).expect("it starts");
    world.obey_all();
    world.obey_all();
    assert_eq!(world.state(&job_id), JobState::Suspended, "nothing but a user moves it");
    world.restart();
    world.resume(&job_id).expect("it is suspended");
    world.obey_all();
    assert_eq!(world.state(&job_id), JobState::Starting);
    let order = world.orders("node-1").swap_remove(0);
    assert_eq!((order.generation, order.write_checkpoint), (2, false));
    assert_eq!(order.resume_from.map(|checkpoint| checkpoint.id), Some(id.to_string()));
    assert_eq!(world.job(&job_id).spent.infrastructure, 0, "nobody's fault");
}

#[test]
fn a_job_that_waits_is_suspended_at_once_and_waits_again_when_resumed() {
    let mut world = World::new(&[1]);
    let job_id = world.submit(2);
    world.suspend(&job_id).expect("it waits");
    assert_eq!(world.state(&job_id), JobState::Suspended);
    world.resume(&job_id).expect("it is suspended");
    assert_eq!(world.state(&job_id), JobState::Pending);
    assert!(world.job(&job_id).reason.starts_with("needs 2"), "{}", world.job(&job_id).reason);
    world.resume(&job_id).expect("it is not suspended, and stays so");
}

#[test]
fn a_job_resumed_while_its_ranks_still_stop_is_placed_once_they_are_gone() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.suspend(&job_id).expect("it runs");
    world.resume(&job_id).expect("it is suspending");
    assert_eq!((world.state(&job_id), world.job(&job_id).generation), (JobState::Recovering, Generation(1)));
    assert!(world.orders("node-1")[0].write_checkpoint, "the order stays what it was");
    world.obey_all();
    assert_eq!((world.state(&job_id), world.job(&job_id).generation), (JobState::Starting, Generation(2)));
}

#[test]
fn a_job_that_is_over_or_cancelling_is_neither_suspended_nor_resumed() {
    let (mut world, job_id) = World::running(&[1], 1);
    world.suspend(&job_id).expect("it runs");
    world.cancel(&job_id).expect("a suspending job can be cancelled");
    let error = world.suspend(&job_id).expect_err("it is cancelling");
    assert_eq!(error.message, "job-1 cannot be suspended: it is cancelling");
    world.obey_all();
    assert_eq!(world.state(&job_id), JobState::Cancelled);
    let error = world.resume(&job_id).expect_err("it is over");
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::IllegalTransition, "job-1 cannot be resumed: it has cancelled already")
    );
}

#[test]
fn a_fork_starts_from_a_checkpoint_of_another_job_and_pins_it() {
    let (mut world, source) = training(policy(1, 0));
    let id = world.commit(&source, 10, None);
    let fork = world.fork("b", newest_of(&source)).expect("there is a checkpoint");
    world.commit(&source, 20, None);
    assert_eq!(world.kept_steps(&source), [10, 20], "it is pinned");
    let resumes_from = |world: &World| {
        let orders = world.orders("node-1");
        let order = orders.into_iter().find(|order| order.job_id == fork.as_str()).expect("it is placed");
        order.resume_from.map(|checkpoint| (checkpoint.job_id, checkpoint.id))
    };
    let origin = Some((source.to_string(), id.to_string()));
    assert_eq!(resumes_from(&world), origin);
    world.obey_all();
    world.fail(&fork, 0, Reason::RankExited);
    world.obey_all();
    world.obey_all();
    assert_eq!(
        (resumes_from(&world), world.job(&fork).generation),
        (origin, Generation(2)),
        "until it has its own"
    );
    let view = world.model.job_view(world.job(&fork));
    assert_eq!(view.forked_from.map(|checkpoint| checkpoint.id), Some(id.to_string()));
    assert_eq!(world.fork("b", newest_of(&source)).expect("the same request"), fork);
    let other = Fork { checkpoint: Some("step-000000000020-g1".into()), ..newest_of(&source) };
    let error = world.fork("b", other).expect_err("another source");
    assert_eq!(error.message, "request id b was used for job-2, which starts from something else");
    world.check_replay();
}

#[test]
fn a_fork_of_nothing_is_refused() {
    let (mut world, source) = training(policy(1, 0));
    let error = world.fork("b", newest_of(&source)).expect_err("no checkpoint yet");
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::CheckpointNotFound, "job-1 has no checkpoint yet")
    );
    let unknown = Fork { checkpoint: Some("step-000000000010-g1".into()), ..newest_of(&source) };
    assert_eq!(world.fork("b", unknown).expect_err("unknown").reason, Reason::CheckpointNotFound);
    assert_eq!(world.fork("b", newest_of(&"job-9".into())).expect_err("unknown").reason, Reason::JobNotFound);
    world.commit(&source, 10, None);
    let evaluation = Submission { spec: Wire(v1::JobSpec::default()), ..submission(1) };
    let event = Event::Submitted {
        request_id: "b".to_owned(),
        submission: Box::new(evaluation),
        fork: Some(newest_of(&source)),
    };
    let error = world.model.decide(world.now, &event).expect_err("an evaluation");
    assert_eq!((error.reason, error.subject.as_str()), (Reason::SpecInvalid, "fork_of"));
}

/// Other nodes may not have the checkpoint.
#[test]
fn a_job_goes_on_where_its_checkpoint_lies() {
    let mut world = World::new(&[2, 1]);
    let source = world.submit(1);
    assert_eq!(world.places(&source), [("node-2", 0)], "the fullest that fits");
    world.obey_all();
    world.train(&source, 1);
    world.commit(&source, 10, None);
    let fork = world.fork("b", newest_of(&source)).expect("there is a checkpoint");
    assert_eq!(world.places(&fork), [("node-1", 0)], "where the checkpoint was written");
}
