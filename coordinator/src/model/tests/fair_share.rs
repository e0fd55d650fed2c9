//! Queues that take turns by what they use, borrow what is idle, and give it back.

use super::*;

const LONG: Duration = Duration::from_secs(61);

/// A world with these queues, as an operator's file has them.
fn world_of(queues: &str, devices: &[u32]) -> World {
    let mut world = World::new(devices);
    let queues: BTreeMap<String, QueueRule> = serde_yaml_ng::from_str(queues).expect("well formed");
    world.set_rules(|rules| {
        rules.queues = queues;
        rules.check().expect("a tree");
    });
    world
}

fn of(queue: &'static str) -> impl Fn(&mut SchedulingTerms) {
    move |terms| terms.queue = queue.to_owned()
}

/// How many jobs of each of these queues start once a node joins that they wait for, in this order.
fn started(queues: &str, jobs: &[(&'static str, usize)], n_devices: u32) -> Vec<usize> {
    let mut world = world_of(queues, &[]);
    let mut submit = |&(queue, n_jobs): &(&'static str, usize)| {
        (0..n_jobs).map(|_| world.submit_with(1, of(queue))).collect::<Vec<JobId>>()
    };
    let submitted: Vec<Vec<JobId>> = jobs.iter().map(&mut submit).collect();
    world.start_agent("node-1", n_devices);
    let is_there = |job_id: &&JobId| world.job(job_id).live.is_some();
    submitted.iter().map(|jobs| jobs.iter().filter(is_there).count()).collect()
}

fn given_way(world: &World) -> Vec<&JobId> {
    let victim = |change: &'_ Change| match change {
        Change::Job { job_id, change: JobChange::GivesWay { to: Some(_), .. }, .. } => Some(job_id.clone()),
        _ => None,
    };
    let victims: Vec<JobId> = world.changes.iter().filter_map(victim).collect();
    let mut known: Vec<&JobId> = victims.iter().map(|job_id| &world.job(job_id).id).collect();
    known.sort();
    known
}

/// Two queues that are guaranteed two devices each, of which the first uses all four.
const HALVES: &str = "{default: {}, a: {guaranteed_cpu: 2}, b: {guaranteed_cpu: 2}}";

fn lent() -> (World, Vec<JobId>) {
    let mut world = world_of(HALVES, &[4]);
    let jobs: Vec<JobId> = (0..4).map(|_| world.submit_with(1, of("a"))).collect();
    world.catch_up();
    for job_id in &jobs {
        world.train(job_id, 1);
    }
    (world, jobs)
}

#[test]
fn queues_take_turns_by_their_weights() {
    let three_to_one = "{default: {}, a: {weight: 3}, b: {weight: 1}}";
    assert_eq!(started(three_to_one, &[("b", 10), ("a", 10)], 8), [2, 6]);
    assert_eq!(started(three_to_one, &[("b", 10), ("a", 3)], 8), [5, 3], "what nobody wants is for all");
    assert_eq!(started("{default: {}, a: {}, b: {}}", &[("b", 9), ("a", 9)], 8), [8, 0], "by date alone");
}

#[test]
fn what_a_queue_is_divided_into_shares_its_share() {
    let tree = "{default: {weight: 1}, research: {}, vision: {parent: research}, language: {parent: research, weight: 3}}";
    let jobs = [("vision", 10), ("language", 10), ("default", 10)];
    assert_eq!(started(tree, &jobs, 8), [1, 3, 4]);
}

#[test]
fn what_a_queue_is_guaranteed_comes_first() {
    let queues = "{default: {}, a: {guaranteed_cpu: 6}, b: {weight: 10}}";
    assert_eq!(started(queues, &[("b", 10), ("a", 10)], 6), [0, 6]);
    assert_eq!(started(queues, &[("b", 10), ("a", 10)], 16), [9, 7], "beyond that, ten to one");
}

#[test]
fn only_kinds_count_that_several_queues_wait_for() {
    let run = |b_wants_cuda: bool| {
        let mut world = world_of("{default: {}, a: {weight: 1}, b: {weight: 1}}", &[2]);
        let agent = world.agents.get_mut("node-1").expect("a started agent");
        let kind = v1::DeviceKind::Cuda.into();
        agent.devices.extend((0..2).map(|index| v1::Device { index, kind, ..Default::default() }));
        world.report("node-1");
        let submit = |world: &mut World, queue, needs_gpu| {
            let asked = Submission { needs_gpu, ..submission(1) };
            world.try_submit_with(asked, of(queue)).expect("a good job")
        };
        submit(&mut world, "a", true);
        submit(&mut world, "a", true);
        let done = submit(&mut world, "default", false);
        submit(&mut world, "b", false);
        submit(&mut world, "a", true);
        if b_wants_cuda {
            submit(&mut world, "b", true);
        }
        let (of_a, of_b) = (submit(&mut world, "a", false), submit(&mut world, "b", false));
        world.finish_all(&done);
        [of_a, of_b].map(|job_id| world.job(&job_id).live.is_some())
    };
    assert_eq!(run(false), [true, false], "a uses no CPU, and b one: its GPUs are nobody else's concern");
    assert_eq!(run(true), [false, true], "a has all GPUs, and b half of the CPUs");
}

#[test]
fn what_is_borrowed_is_given_back_by_those_who_took_it_last() {
    let (mut world, jobs) = lent();
    let back = world.submit_with(2, of("b"));
    assert_eq!(given_way(&world), [] as [&JobId; 0], "they have just begun");
    assert!(world.job(&back).reason.starts_with("needs 2 cpu devices, 0 free: job-1 runs on node-1"));
    world.advance(LONG);
    assert_eq!(given_way(&world), [&jobs[2], &jobs[3]]);
    assert_eq!(
        world.job(&jobs[3]).reason,
        "gives way to job-5 (queue a borrowed what b is guaranteed): writes a checkpoint and waits for its turn"
    );
    let told = world.model.explain(world.now, world.job(&back));
    assert_eq!(told.reason, "needs 2 cpu devices, 0 free: job-3, job-4 give way");
    world.catch_up();
    assert_eq!(world.state(&back), JobState::Starting);
    world.advance(LONG);
    world.catch_up();
    assert_eq!(given_way(&world).len(), 2, "what is left is a's own");
}

#[test]
fn an_explanation_says_what_would_be_given_back() {
    let (mut world, jobs) = lent();
    world.advance(LONG);
    let mut asked = submission(1);
    asked.scheduling.queue = "b".to_owned();
    let told = world.model.explain_submission(world.now, &asked);
    let preemptions: Vec<_> = told.preemptions.iter().map(|it| (it.job_id.as_str(), it.gives_back)).collect();
    assert_eq!(preemptions, [(jobs[3].as_str(), true)]);
}

#[test]
fn whatever_the_priorities_a_queue_keeps_what_is_its_own() {
    let (mut world, jobs) = lent();
    world.advance(LONG);
    let high = |terms: &mut SchedulingTerms| (terms.queue, terms.priority) = ("default".to_owned(), 100);
    world.submit_with(3, high);
    assert_eq!(given_way(&world), [] as [&JobId; 0], "two are to be had, and it needs three");
    world.cancel(&JobId::new("job-5")).expect("it waits");
    let two = world.submit_with(2, high);
    assert_eq!(given_way(&world), [&jobs[2], &jobs[3]], "what is borrowed goes by priority");
    world.catch_up();
    assert_eq!(world.state(&two), JobState::Starting);
}

#[test]
fn a_queue_above_its_guarantee_takes_nothing_back() {
    let (mut world, _) = lent();
    world.advance(LONG);
    world.submit_with(3, of("b"));
    assert_eq!(given_way(&world), [] as [&JobId; 0]);
}

#[test]
fn who_may_not_be_stopped_counts_as_the_queues_own_first() {
    let mut world = world_of(HALVES, &[4]);
    let mut submit = |preemptible| {
        world.submit_with(1, |terms| (terms.queue, terms.preemptible) = ("a".to_owned(), preemptible))
    };
    let jobs: Vec<JobId> = [true, true, false, false].into_iter().map(&mut submit).collect();
    world.catch_up();
    for job_id in &jobs {
        world.train(job_id, 1);
    }
    world.advance(LONG);
    world.submit_with(2, of("b"));
    assert_eq!(given_way(&world), [&jobs[0], &jobs[1]]);
}

#[test]
fn a_borrower_shrinks_where_that_is_enough() {
    let mut world = world_of(HALVES, &[4]);
    let mut elastic = Submission { world_sizes: [1, 2, 4].map(WorldSize).into(), ..submission(4) };
    elastic.scheduling.queue = "a".to_owned();
    let borrower = world.try_submit_with(elastic, |_| {}).expect("a good job");
    world.train_for(&borrower, LONG);
    let back = world.submit_with(2, of("b"));
    assert_eq!(
        world.job(&borrower).reason,
        "gives way to job-2 (queue a borrowed what b is guaranteed): writes a checkpoint and goes on with fewer ranks"
    );
    world.catch_up();
    assert_eq!((world.places(&back).len(), world.places(&borrower).len()), (2, 2));
}

#[test]
fn a_cousin_gives_back_before_a_sibling_within_its_own_does() {
    let tree = "{default: {}, research: {guaranteed_cpu: 4}, vision: {parent: research, guaranteed_cpu: 2},
        language: {parent: research, guaranteed_cpu: 2}, product: {guaranteed_cpu: 1}}";
    let mut world = world_of(tree, &[4]);
    let mut submit = |queue| world.submit_with(1, of(queue));
    let jobs: Vec<JobId> = ["product", "product", "language", "language"].map(&mut submit).into();
    world.catch_up();
    for job_id in &jobs {
        world.train(job_id, 1);
    }
    world.advance(LONG);
    world.submit_with(1, of("vision"));
    assert_eq!(given_way(&world), [&jobs[1]]);
}

#[test]
fn a_queue_that_may_borrow_none_says_why() {
    let tree = "{default: {weight: 1}, research: {guaranteed_cpu: 3, borrow: false}, vision: {parent: research, guaranteed_cpu: 2},
        language: {parent: research, guaranteed_cpu: 1}, small: {guaranteed_cpu: 1, borrow: false}, top: {max_cpu: 1}, low: {parent: top}}";
    let mut world = world_of(tree, &[8]);
    let (_, language) = (world.submit_with(2, of("vision")), world.submit_with(1, of("language")));
    let over = world.submit_with(1, of("vision"));
    let behind = world.submit_with(1, of("language"));
    let wide = world.submit_with(4, of("language"));
    world.submit_with(1, of("small"));
    let small = world.submit_with(1, of("small"));
    world.submit_with(1, of("low"));
    let low = world.submit_with(1, of("low"));
    let reason = |job_id: &JobId| world.job(job_id).reason.clone();
    assert_eq!(
        reason(&over),
        "needs 1 cpu device, queue vision has used its 2 and may borrow none: research has no idle ones"
    );
    assert_eq!(reason(&behind), "waits behind job-3, which needs 1 cpu device");
    assert_eq!(reason(&wide), "needs 4 cpu devices, and queue research, which language is in, may use 3");
    assert_eq!(reason(&small), "needs 1 cpu device, and queue small has used its 1 and borrows none");
    assert_eq!(
        reason(&low),
        "needs 1 cpu device, and queue top, which low is in, has 0 left of the 1 that it may use"
    );
    world.finish_all(&language);
    assert_eq!(world.state(&over), JobState::Pending, "what language is guaranteed goes to its own job");
    assert_eq!(world.state(&behind), JobState::Starting);
}

#[test]
fn queues_are_listed_with_what_they_use_and_who_waits() {
    let tree =
        "{default: {weight: 2}, research: {max_cpu: 3}, vision: {parent: research, guaranteed_cpu: 1}}";
    let mut world = world_of(tree, &[4]);
    for n_ranks in [2, 2] {
        world.submit_with(n_ranks, of("vision"));
    }
    let listed: Vec<_> = world
        .model
        .queues(world.now)
        .into_iter()
        .map(|queue| {
            let it = queue.devices[0];
            assert_eq!((queue.devices.len(), it.kind()), (1, v1::DeviceKind::Cpu));
            let numbers = [it.guaranteed, it.used, it.borrowed, it.running_jobs, it.waiting_jobs];
            (queue.name, queue.parent, queue.weight, queue.takes_jobs, it.max, numbers)
        })
        .collect();
    let row = |name: &str, parent: &str, weight, takes_jobs, max, numbers| {
        (name.to_owned(), parent.to_owned(), weight, takes_jobs, max, numbers)
    };
    assert_eq!(
        listed,
        [
            row("default", "", 2, true, None, [0, 0, 0, 0, 0]),
            row("research", "", 1, false, Some(3), [1, 2, 1, 1, 1]),
            row("vision", "research", 1, true, None, [1, 2, 1, 1, 1]),
        ]
    );
}
