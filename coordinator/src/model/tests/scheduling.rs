//! Whose turn it is, on which devices, and what a queue may use.

use super::*;

fn quota(world: &mut World, queue: &str, max_cpu: u32) {
    let quota = QueueRule { max_cpu: Some(max_cpu), ..QueueRule::default() };
    world.set_rules(|rules| {
        rules.queues.insert(queue.to_owned(), quota);
    });
}

#[test]
fn a_higher_priority_goes_first() {
    let mut world = World::new(&[1]);
    let running = world.submit_with(1, |terms| terms.priority = 100);
    let low = world.submit(1);
    let high = world.submit_with(1, |terms| terms.priority = 1);
    assert_eq!(world.job(&low).reason, "waits behind job-3, which needs 1 cpu device");
    assert_eq!(world.job(&high).reason, "needs 1 cpu device, 0 free: job-1 runs on node-1");
    world.finish_all(&running);
    assert_eq!((world.state(&low), world.state(&high)), (JobState::Pending, JobState::Starting));
}

#[test]
fn ten_minutes_of_waiting_are_worth_a_point_of_priority() {
    for (waited_s, first) in [(599, 3), (601, 2)] {
        let mut world = World::new(&[1]);
        let running = world.submit_with(1, |terms| terms.preemptible = false);
        world.submit(1);
        world.advance(Duration::from_secs(waited_s));
        world.submit_with(1, |terms| terms.priority = 1);
        world.finish_all(&running);
        let first = JobId::new(format!("job-{first}"));
        assert_eq!(world.state(&first), JobState::Starting, "after {waited_s} s");
    }
}

#[test]
fn a_queue_that_is_not_there_is_refused_with_those_that_are() {
    let mut world = World::new(&[1]);
    quota(&mut world, "research", 4);
    let refusal = world.try_submit_with(submission(1), |terms| terms.queue = "reserch".to_owned());
    let refusal = refusal.expect_err("there is none");
    assert_eq!(
        refusal.to_string(),
        "queue: there is no queue \"reserch\": this coordinator has default, research"
    );
    assert_eq!((refusal.reason, refusal.subject.as_str()), (Reason::SpecInvalid, "queue"));
}

#[test]
fn a_queue_uses_no_more_than_its_quota_and_holds_no_other_up() {
    let mut world = World::new(&[4]);
    quota(&mut world, "small", 2);
    let of_small = |terms: &mut SchedulingTerms| terms.queue = "small".to_owned();
    world.submit_with(1, of_small);
    let over = world.submit_with(2, of_small);
    let behind = world.submit_with(1, of_small);
    let too_large = world.submit_with(3, of_small);
    let other = world.submit(2);
    assert_eq!(
        world.job(&over).reason,
        "needs 2 cpu devices, and queue small has 1 left of the 2 that it may use"
    );
    assert_eq!(world.job(&behind).reason, "waits behind job-2, which needs 2 cpu devices");
    assert_eq!(world.job(&too_large).reason, "needs 3 cpu devices, and queue small may use 2");
    assert_eq!(world.state(&other), JobState::Starting);
}

#[test]
fn an_elastic_job_takes_what_its_queue_may_use() {
    let mut world = World::new(&[4]);
    quota(&mut world, "default", 3);
    let job_id = world.submit_elastic(&[1, 2, 4]);
    assert_eq!(world.places(&job_id).len(), 2);
}

#[test]
fn nodes_are_chosen_by_their_labels() {
    let mut world = World::new(&[2, 2]);
    world.set_label("node-2", "zone", "b");
    let select = |value: &'static str| {
        move |terms: &mut SchedulingTerms| {
            terms.node_selector.insert("zone".to_owned(), value.to_owned());
        }
    };
    let job_id = world.submit_with(1, select("b"));
    assert_eq!(world.places(&job_id), [("node-2", 0)]);
    let nowhere = world.submit_with(1, select("c"));
    assert_eq!(
        world.job(&nowhere).reason,
        "needs 1 cpu device on nodes with zone=c, and no node that joined has any"
    );
}

#[test]
fn a_device_has_the_memory_that_a_job_asks_for() {
    let mut world = World::new(&[1, 1]);
    let agent = world.agents.get_mut("node-2").expect("a started agent");
    agent.devices[0].memory_bytes = 8 << 30;
    world.report("node-2");
    let ask = |terms: &mut SchedulingTerms| terms.device_memory_bytes = 8 << 30;
    let job_id = world.submit_with(1, ask);
    assert_eq!(world.places(&job_id), [("node-2", 0)]);
    let larger = world.submit_with(2, ask);
    assert_eq!(
        world.job(&larger).reason,
        "needs 2 cpu devices of 8 GiB or more, 0 free: job-1 runs on node-2"
    );
}

#[test]
fn ranks_are_packed_into_the_narrowest_domain_that_holds_them() {
    let mut world = World::new(&[1, 1, 1, 1, 1, 1]);
    for (node, rack) in [(1, "a"), (2, "b"), (3, "b"), (4, "c"), (5, "c"), (6, "c")] {
        world.set_label(&format!("node-{node}"), "rack", rack);
    }
    for (node, host) in [(5, "x"), (6, "x")] {
        world.set_label(&format!("node-{node}"), "host", host);
    }
    let of_host = world.submit(2);
    assert_eq!(world.places(&of_host), [("node-5", 0), ("node-6", 0)], "one host");
    let of_rack = world.submit(2);
    assert_eq!(world.places(&of_rack), [("node-2", 0), ("node-3", 0)], "one rack");
    world.cancel(&of_host).expect("it runs");
    world.obey_all();
    world.obey_all();
    let of_two = world.submit(4);
    let mut nodes: Vec<_> = world.places(&of_two).into_iter().map(|(node, _)| node.to_owned()).collect();
    nodes.sort();
    assert_eq!(nodes, ["node-1", "node-4", "node-5", "node-6"], "all of one rack, and one more");
}

#[test]
fn a_job_behind_runs_on_what_the_one_before_it_cannot_use() {
    let mut world = World::new(&[2, 2]);
    world.set_label("node-1", "zone", "a");
    let in_a = |terms: &mut SchedulingTerms| {
        terms.node_selector.insert("zone".to_owned(), "a".to_owned());
    };
    world.submit_with(1, in_a);
    let head = world.submit_with(2, in_a);
    let behind = world.submit(2);
    let further_behind = world.submit(1);
    assert!(world.job(&head).reason.ends_with("1 free: job-1 runs on node-1"));
    assert_eq!(world.places(&behind), [("node-2", 0), ("node-2", 1)]);
    assert_eq!(
        world.job(&further_behind).reason,
        "waits behind job-2, which needs 2 cpu devices on nodes with zone=a",
        "what is left is what the head waits for"
    );
}

#[test]
fn of_thousands_that_wait_only_the_first_are_told_behind_whom() {
    let mut world = World::new(&[1]);
    world.submit(1);
    let waiting: Vec<JobId> = (0..20).map(|_| world.submit(1)).collect();
    assert_eq!(world.job(&waiting[16]).reason, "waits behind job-2, which needs 1 cpu device");
    assert_eq!(world.job(&waiting[17]).reason, "waits behind more than 16 jobs");
}

#[test]
fn a_gang_that_lost_a_rank_goes_first_for_a_while_whatever_its_priority() {
    let mut world = World::new(&[1, 1]);
    let gang = world.submit_with(2, |terms| terms.priority = -1);
    world.train_for(&gang, Duration::from_secs(1));
    world.now = world.now.plus(LEASE + Duration::from_secs(1));
    world.report("node-1");
    world.obey("node-1");
    assert_eq!(world.state(&gang), JobState::Recovering);
    let high = world.submit_with(1, |terms| terms.priority = 10);
    world.report("node-1");
    assert!(world.job(&high).reason.starts_with("waits behind job-1"), "{}", world.job(&high).reason);
    world.now = world.now.plus(Duration::from_secs(61));
    world.report("node-1");
    assert_eq!(world.state(&high), JobState::Starting);
}
