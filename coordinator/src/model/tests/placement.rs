//! Who is placed where, and why others wait.

use super::*;

#[track_caller]
fn assert_waits(world: &World, job_id: &JobId, reason: &str) {
    assert!(world.job(job_id).live.is_none());
    assert_eq!(world.job(job_id).reason, reason);
}

#[test]
fn a_job_without_nodes_says_so() {
    let mut world = World::new(&[]);
    let job_id = world.submit(2);
    assert_waits(&world, &job_id, "needs 2 cpu devices, and no node that joined has any");
}

#[test]
fn a_job_too_large_for_all_nodes_says_so() {
    let mut world = World::new(&[2, 1]);
    let job_id = world.submit(4);
    assert_waits(&world, &job_id, "needs 4 cpu devices, and all nodes together have 3");
}

#[test]
fn the_fewest_nodes_are_taken() {
    for (devices, n_ranks, expected) in [
        (vec![1, 4, 2], 2, vec![("node-3", 0), ("node-3", 1)]),
        (vec![1, 2, 1], 3, vec![("node-2", 0), ("node-2", 1), ("node-1", 0)]),
        (vec![2, 2], 1, vec![("node-1", 0)]),
        (vec![2, 3, 1], 4, vec![("node-2", 0), ("node-2", 1), ("node-2", 2), ("node-3", 0)]),
    ] {
        let mut world = World::new(&devices);
        let job_id = world.submit(n_ranks);
        assert_eq!(world.places(&job_id), expected, "{devices:?}");
    }
}

#[test]
fn a_job_that_waits_is_placed_when_a_node_joins() {
    let mut world = World::new(&[1]);
    let job_id = world.submit(2);
    world.start_agent("node-2", 1);
    assert_eq!(world.state(&job_id), JobState::Starting);
    assert_eq!(world.job(&job_id).generation, Generation(1));
}

#[test]
fn a_waiting_job_names_those_that_hold_devices() {
    let mut world = World::new(&[2]);
    world.submit(1);
    let job_id = world.submit(2);
    assert_waits(&world, &job_id, "needs 2 cpu devices, 1 free: job-1 runs on node-1");
}

#[test]
fn what_is_not_told_is_counted() {
    let mut world = World::new(&[2, 1, 1, 1, 1, 1]);
    (0..7).for_each(|_| drop(world.submit(1)));
    let job_id = world.submit(1);
    let reason = &world.job(&job_id).reason;
    assert!(
        reason.starts_with("needs 1 cpu device, 0 free: ") && reason.ends_with(" and 3 more"),
        "{reason}"
    );
}

#[test]
fn a_waiting_job_names_nodes_that_take_nothing() {
    let mut world = World::new(&[2, 1, 1]);
    world.model.observe(world.now, Observation::Disconnected("node-2".into()));
    world.agents.get_mut("node-3").expect("a started agent").leaving = true;
    world.report("node-3");
    let job_id = world.submit(3);
    assert_waits(&world, &job_id, "needs 3 cpu devices, 2 free: node-2 is suspect, node-3 is leaving");
}

#[test]
fn a_job_that_will_fit_is_not_overtaken() {
    let mut world = World::new(&[2]);
    world.submit(1);
    world.submit(2);
    let small = world.submit(1);
    assert_waits(&world, &small, "waits behind job-2, which needs 2 cpu devices");
}

#[test]
fn a_job_that_cannot_fit_holds_nobody_up() {
    let mut world = World::new(&[2]);
    world.submit(3);
    let small = world.submit(1);
    assert_eq!(world.state(&small), JobState::Starting);
}

#[test]
fn a_node_is_waited_for_a_minute_after_its_loss() {
    let mut world = World::new(&[1, 1]);
    world.pass(LEASE + Duration::from_secs(1));
    world.report("node-1");
    world.submit(2);
    let small = world.submit(1);
    assert_waits(&world, &small, "waits behind job-1, which needs 2 cpu devices");
    world.pass(Duration::from_secs(60));
    world.report("node-1");
    assert_eq!(world.state(&small), JobState::Starting);
}

#[test]
fn devices_of_different_kinds_do_not_wait_for_each_other() {
    let mut world = World::new(&[2]);
    let gpu = Submission { needs_gpu: true, ..submission(1) };
    let gpu = world.try_submit("gpu", gpu).expect("a good job");
    let cpu = world.submit(1);
    assert_waits(&world, &gpu, "needs 1 cuda device, and no node that joined has any");
    assert_eq!(world.state(&cpu), JobState::Starting);
}

#[test]
fn devices_of_different_kinds_have_indices_of_their_own() {
    let mut world = World::new(&[1]);
    let kind = v1::DeviceKind::Cuda.into();
    let agent = world.agents.get_mut("node-1").expect("a started agent");
    agent.devices.push(v1::Device { kind, ..Default::default() });
    world.report("node-1");
    let cpu = world.submit(1);
    let gpu = Submission { needs_gpu: true, ..submission(1) };
    let gpu = world.try_submit("gpu", gpu).expect("a good job");
    assert_eq!(world.places(&cpu), [("node-1", 0)]);
    assert_eq!(world.places(&gpu), [("node-1", 0)]);
    let node = world.model.state().node(&"node-1".into()).expect("a node that joined");
    let holders: Vec<_> =
        world.model.node_view(world.now, node).devices.into_iter().map(|device| device.job_id).collect();
    assert_eq!(holders, [cpu.as_str(), gpu.as_str()]);
}

#[test]
fn a_node_that_still_runs_old_ranks_takes_no_new_ones() {
    let mut world = World::new(&[1]);
    let agent = world.agents.get_mut("node-1").expect("a started agent");
    let stray = v1::OrderedRank { job_id: "job-9".to_owned(), generation: 1, ..Default::default() };
    agent.ranks.push(started(&stray));
    world.report("node-1");
    let job_id = world.submit(1);
    assert_waits(&world, &job_id, "needs 1 cpu device, 0 free: node-1 still stops old ranks");
    world.obey("node-1");
    assert_eq!(world.state(&job_id), JobState::Starting);
}

#[test]
fn orders_name_what_a_rank_needs() {
    let mut world = World::new(&[1, 1]);
    let job_id = world.submit(2);
    let orders = world.orders("node-2");
    let [order] = orders.as_slice() else { panic!("one rank on node-2, not {orders:?}") };
    assert_eq!((order.job_id.as_str(), order.generation, order.rank), (job_id.as_str(), 1, 1));
    assert_eq!((order.world_size, order.device_index), (2, 0));
    assert_eq!(order.action(), v1::ordered_rank::Action::Run);
    assert_eq!(order.spec, Some(submission(2).spec.0));
    assert_eq!(order.resume_from, None);
}
