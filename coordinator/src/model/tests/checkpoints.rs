//! Which checkpoints stay.

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
        let orders = world.model.orders(&node.into());
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
