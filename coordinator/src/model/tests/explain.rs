//! Why a job waits, and what would help it.

use v1::explanation::{Constraint, Verdict};

use super::*;

fn remedies(explanation: &v1::Explanation) -> Vec<(&str, Verdict)> {
    explanation.remedies.iter().map(|remedy| (remedy.change.as_str(), remedy.verdict())).collect()
}

#[test]
fn a_job_that_would_start_says_where() {
    let world = World::new(&[2]);
    let explanation = world.model.explain_submission(world.now, &submission(2));
    assert_eq!(explanation.verdict(), Verdict::Starts);
    let places: Vec<_> =
        explanation.placements.iter().map(|it| (it.rank, it.node_id.as_str(), it.device_index)).collect();
    assert_eq!(places, [(0, "node-1", 0), (1, "node-1", 1)]);
    assert_eq!(explanation.remedies, []);
}

#[test]
fn a_job_that_waits_names_who_holds_it_up_and_what_would_help() {
    let mut world = World::new(&[3]);
    let running = world.submit(2);
    world.train_for(&running, Duration::from_secs(61));
    let job_id = world.submit(2);
    let explanation = world.model.explain(world.now, world.job(&job_id));
    assert_eq!((explanation.verdict(), explanation.constraint()), (Verdict::Waits, Constraint::Devices));
    assert_eq!(explanation.reason, world.job(&job_id).reason);
    let blockers: Vec<_> = explanation.blockers.iter().map(|it| it.why.as_str()).collect();
    assert_eq!(blockers, ["job-1 runs on node-1"]);
    assert_eq!(
        remedies(&explanation),
        [("ask for 1 ranks", Verdict::Starts), ("raise its priority to 1", Verdict::Preempts)]
    );
}

#[test]
fn a_job_of_higher_priority_says_whom_it_would_preempt() {
    let mut world = World::new(&[1]);
    let running = world.submit(1);
    world.train_for(&running, Duration::from_secs(61));
    let mut high = submission(1);
    high.scheduling.priority = 3;
    let explanation = world.model.explain_submission(world.now, &high);
    assert_eq!(explanation.verdict(), Verdict::Preempts);
    assert_eq!(explanation.preemptions[0].job_id, running.as_str());
    assert_eq!(explanation.reason, "needs 1 cpu device, 0 free: job-1 gives way");
}

#[test]
fn a_job_over_its_quota_is_sent_to_another_queue() {
    let mut world = World::new(&[2]);
    world.set_rules(|rules| {
        let quota = QueueRule { max_cpu: Some(1), ..QueueRule::default() };
        rules.queues.insert("small".to_owned(), quota);
    });
    let job_id = world.try_submit_with(submission(2), |terms| terms.queue = "small".to_owned());
    let explanation = world.model.explain(world.now, world.job(&job_id.expect("a good job")));
    assert_eq!((explanation.verdict(), explanation.constraint()), (Verdict::Cannot, Constraint::Quota));
    assert_eq!(
        remedies(&explanation),
        [("ask for 1 ranks", Verdict::Starts), ("use queue default", Verdict::Starts)]
    );
}

#[test]
fn a_job_that_no_node_suits_is_told_to_ask_for_less() {
    let world = World::new(&[1]);
    let mut picky = submission(1);
    picky.scheduling.node_selector.insert("zone".to_owned(), "b".to_owned());
    let explanation = world.model.explain_submission(world.now, &picky);
    assert_eq!((explanation.verdict(), explanation.constraint()), (Verdict::Cannot, Constraint::Cluster));
    assert_eq!(remedies(&explanation), [("let it run on any node", Verdict::Starts)]);
}

#[test]
fn there_is_nothing_to_decide_about_a_job_that_runs() {
    let (world, job_id) = World::running(&[1], 1);
    let explanation = world.model.explain(world.now, world.job(&job_id));
    assert_eq!(explanation.verdict(), Verdict::Settled);
    assert_eq!(explanation.reason, "all ranks of generation 1 are at work");
}
