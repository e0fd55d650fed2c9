//! Nodes that take no new ranks: cordoned, drained, in quarantine.

use super::*;

fn cordon(drains: bool) -> Option<Cordon> {
    Some(Cordon { reason: "new memory".to_owned(), drains })
}

#[test]
fn a_cordoned_node_keeps_its_ranks_and_gets_no_new_ones() {
    let mut world = World::new(&[2]);
    let running = world.submit(1);
    world.cordon("node-1", cordon(false));
    let waiting = world.submit(1);
    assert_eq!(world.job(&waiting).reason, "needs 1 cpu device, 0 free: node-1 is cordoned: new memory");
    world.restart();
    world.report_all();
    assert_eq!((world.state(&running), world.state(&waiting)), (JobState::Starting, JobState::Pending));
    world.cordon("node-1", None);
    assert_eq!(world.state(&waiting), JobState::Starting);
}

#[test]
fn the_jobs_of_a_drained_node_go_on_elsewhere_with_a_checkpoint_and_at_no_cost() {
    let mut world = World::new(&[1, 1, 1]);
    let job_id = world.submit(2);
    world.train_for(&job_id, Duration::from_secs(1));
    let rival = world.submit_with(2, |terms| terms.priority = 100);
    world.cordon("node-1", cordon(true));
    assert_eq!(world.job(&job_id).reason, "leaves node-1, which is drained: writes a checkpoint");
    let orders = world.orders("node-2");
    assert!(orders[0].write_checkpoint && orders[0].action() == v1::ordered_rank::Action::Stop);
    world.catch_up();
    assert_eq!(world.places(&job_id), [("node-2", 0), ("node-3", 0)], "its devices are held for it");
    assert_eq!(world.state(&rival), JobState::Pending);
    assert_eq!(world.job(&job_id).spent, Default::default());
    let node = world.model.state().node(&"node-1".into()).expect("it joined");
    let view = world.model.node_view(world.now, node);
    assert!(view.draining && view.cordoned);
    assert_eq!(view.reason, "is drained: new memory");
}

/// A job on `node-1` whose ranks have stopped, with a checkpoint there, since the node is drained.
fn drained_with_checkpoint(devices: &[u32], edit: impl Fn(&mut v1::Checkpoint)) -> (World, JobId) {
    let mut world = World::new(devices);
    let job_id = world.submit(1);
    world.train_for(&job_id, Duration::from_secs(1));
    world.cordon("node-1", cordon(true));
    let mut written = v1::Checkpoint { node_id: "node-1".to_owned(), ..checkpoint(&job_id, 1, 1) };
    edit(&mut written);
    world.edit(&job_id, 0, |seen| seen.checkpoints.push(written));
    world.report_all();
    world.catch_up();
    (world, job_id)
}

#[test]
fn a_job_waits_for_the_node_that_alone_has_its_checkpoint_and_holds_nobody_up() {
    let (mut world, job_id) = drained_with_checkpoint(&[1, 1], |_| {});
    let reason = "needs 1 cpu device, on node-1, where its checkpoint lies: node-1 is drained: new memory";
    assert_eq!((world.state(&job_id), world.job(&job_id).reason.as_str()), (JobState::Recovering, reason));
    let other = world.submit(1);
    assert_eq!(world.places(&other), [("node-2", 0)]);
    world.cordon("node-1", None);
    assert_eq!(world.places(&job_id), [("node-1", 0)]);
}

#[test]
fn a_node_that_was_lost_for_long_is_not_waited_for() {
    let (mut world, job_id) = drained_with_checkpoint(&[1, 1], |_| {});
    world.pass(LEASE + Duration::from_secs(1));
    world.report("node-2");
    assert!(world.job(&job_id).live.is_none(), "it may come back");
    world.pass(Duration::from_secs(61));
    world.report("node-2");
    assert_eq!(
        world.places(&job_id),
        [("node-2", 0)],
        "it finds its checkpoint there, or says that it does not"
    );
}

#[test]
fn a_checkpoint_in_a_store_or_a_shared_folder_can_be_read_elsewhere() {
    let (world, job_id) = drained_with_checkpoint(&[1, 1], |it| it.url = "s3://bucket/job-1".to_owned());
    assert_eq!(world.places(&job_id), [("node-2", 0)]);

    let (mut world, job_id) = drained_with_checkpoint(&[1, 1, 1], |_| {});
    for node in ["node-1", "node-3"] {
        world.agents.get_mut(node).expect("a started agent").jobs_folder = "shared".to_owned();
        world.report(node);
    }
    assert_eq!(world.places(&job_id), [("node-3", 0)]);
}

#[test]
fn a_node_that_is_not_there_cannot_be_cordoned() {
    let world = World::new(&[1]);
    let event = Event::CordonRequested { node_id: "node-9".into(), cordon: cordon(false) };
    let refusal = world.model.decide(world.now, &event).expect_err("there is none");
    assert_eq!(
        (refusal.reason, refusal.to_string().as_str()),
        (Reason::NodeNotFound, "there is no node node-9")
    );
}

#[test]
fn a_node_that_fails_again_and_again_is_left_alone_for_a_while() {
    let mut world = World::new(&[1, 1]);
    world.set_rules(|rules| rules.quarantine = QuarantineRule { after_faults: 2, within_s: 600, for_s: 300 });
    let mut job_id = world.submit(1);
    for n_faults in 1..=2 {
        world.obey_all();
        assert_eq!(world.places(&job_id), [("node-1", 0)]);
        world.train(&job_id, 1);
        world.fail(&job_id, 0, Reason::RankExited);
        world.obey_all();
        let node = world.model.state().node(&"node-1".into()).expect("it joined");
        assert_eq!(node.quarantine.is_some(), n_faults == 2);
    }
    assert_eq!(world.places(&job_id), [("node-2", 0)]);
    let waiting = world.submit(1);
    assert_eq!(
        world.job(&waiting).reason,
        "needs 1 cpu device, 0 free: node-1 is in quarantine: ended 2 generations within 600 s, job-1 runs on node-2"
    );
    world.advance(Duration::from_secs(301));
    assert_eq!(world.places(&waiting), [("node-1", 0)]);
    job_id = waiting;
    assert_eq!(world.state(&job_id), JobState::Starting);
}

#[test]
fn uncordoning_ends_a_quarantine() {
    let mut world = World::new(&[1]);
    world.set_rules(|rules| rules.quarantine.after_faults = 1);
    let job_id = world.submit(1);
    world.obey_all();
    world.train(&job_id, 1);
    world.fail(&job_id, 0, Reason::RankExited);
    world.obey_all();
    assert!(world.job(&job_id).reason.contains("is in quarantine"), "{}", world.job(&job_id).reason);
    world.cordon("node-1", None);
    assert_eq!(world.places(&job_id), [("node-1", 0)]);
}

#[test]
fn neither_a_user_nor_a_peer_nor_an_orderly_stop_puts_a_node_at_fault() {
    for reason in [Reason::PeerLost, Reason::DataInvalid, Reason::Internal] {
        let (mut world, job_id) = World::running(&[1], 1);
        world.fail(&job_id, 0, reason);
        world.pass(Duration::from_secs(2));
        let node = world.model.state().node(&"node-1".into()).expect("it joined");
        assert_eq!(node.faults, [], "{reason:?}");
    }
    let (mut world, _) = World::running(&[1], 1);
    let agent = world.agents.get_mut("node-1").expect("a started agent");
    (agent.leaving, agent.ranks) = (true, vec![]);
    world.report("node-1");
    assert_eq!(world.model.state().node(&"node-1".into()).expect("it joined").faults, []);
}
