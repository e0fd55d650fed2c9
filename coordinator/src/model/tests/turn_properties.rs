//! When a turn comes, whatever else is asked for.

use proptest::{collection::vec, prelude::*};

use super::{
    queue_trees::{Queues, flat, leaves, trees},
    scheduling_properties::{Wish, ZONES, cluster, submission_of, wish},
    *,
};

impl World {
    /// Jobs that have devices, in order of submission.
    fn live_or_placed(&self) -> Vec<JobId> {
        let jobs = self.model.state().active_jobs().filter(|job| job.live.is_some());
        jobs.map(|job| job.id.clone()).collect()
    }
}

/// After each end of a running job, whether the first that waits has started.
fn starts_of_head(
    world: &World,
    (running, ends): (&[Wish], &[usize]),
    head: Wish,
    behind: &[Wish],
) -> Vec<bool> {
    let mut world = world.clone();
    world.set_rules(|rules| rules.min_run_s = 1_000_000);
    let queues = world.queues().clone();
    let submit = |world: &mut World, wish: Wish| {
        world.try_submit_with(submission_of(wish, &queues), |_| {}).expect("a good job")
    };
    let first: Vec<JobId> =
        running.iter().map(|wish| submit(&mut world, Wish { n_more: 0, ..*wish })).collect();
    // What waits already is done away with: the head is the first that waits.
    for job_id in &first {
        if world.job(job_id).live.is_none() {
            world.cancel(job_id).expect("it waits");
        }
    }
    let head = submit(&mut world, head);
    for wish in behind {
        let priority = wish.priority.min(world.job(&head).submission.scheduling.priority);
        submit(&mut world, Wish { priority, ..*wish });
    }
    let mut started = vec![world.job(&head).live.is_some()];
    for nth in ends {
        let job_id = &first[nth % first.len()];
        if world.job(job_id).live_generation().is_some() {
            world.finish_all(job_id);
        }
        started.push(world.job(&head).placed_at.is_some());
    }
    started
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whoever comes later, a job starts no later than without them.
    #[test]
    fn jobs_behind_never_delay_the_one_before_them(
        n_devices in vec(1..4_u32, 2..5),
        running in vec(wish(), 1..8),
        head in wish(),
        behind in vec(wish(), 1..8),
        ends in vec(0..8_usize, 1..12),
    ) {
        // One that waits for its own queue's quota keeps nothing from other queues: its turn comes with its quota.
        let head = Wish { queue: 0, ..head };
        let run = |behind: &[Wish]| starts_of_head(&cluster(&n_devices, &flat()), (&running, &ends), head, behind);
        prop_assert_eq!(run(&[]), run(&behind));
    }

    /// The same within a queue of a tree, among those who ask for the same; between queues, turns change with what they use.
    #[test]
    fn jobs_behind_in_its_queue_never_delay_the_one_before_them(
        queues in trees(),
        n_devices in vec(1..4_u32, 2..5),
        running in vec(wish(), 1..8),
        head in wish(),
        behind in vec(wish(), 1..8),
        ends in vec(0..8_usize, 1..12),
    ) {
        let alike = |wish: &Wish| Wish { queue: head.queue, zone: ZONES.len(), ..*wish };
        let (head, behind) = (alike(&head), behind.iter().map(alike).collect::<Vec<_>>());
        let run = |behind: &[Wish]| starts_of_head(&cluster(&n_devices, &queues), (&running, &ends), head, behind);
        prop_assert_eq!(run(&[]), run(&behind));
    }

    /// However many of higher priority come, a job starts once it has waited for what their priority is worth.
    #[test]
    fn nobody_starves(seed_priorities in vec(-100..=100_i32, 40..41), n_ranks in 1..3_u32) {
        let mut world = World::new(&[2]);
        world.set_rules(|rules| (rules.ageing_s, rules.min_run_s) = (1, 1_000_000));
        let low = world.submit_with(n_ranks, |terms| terms.priority = -100);
        world.cancel(&low).expect("it was only there to take a number");
        let mut first: Vec<JobId> = (0..2).map(|_| world.submit(1)).collect();
        let low = world.submit_with(n_ranks, |terms| terms.priority = -100);
        let mut n_waits = 0;
        for priority in seed_priorities {
            world.submit_with(1, |terms| terms.priority = priority);
            world.advance(Duration::from_secs(10));
            let done = first.remove(0);
            world.finish_all(&done);
            first = world.live_jobs();
            if world.job(&low).placed_at.is_some() {
                break;
            }
            n_waits += 1;
        }
        // 200 points at 1 s each are 20 jobs; those before it then end one by one.
        prop_assert!(world.job(&low).placed_at.is_some(), "still waits after {} jobs", n_waits);
    }
}

// Each case is a long one.
proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// The same between queues, whatever their weights: each gets its turn, however much the others ask for.
    #[test]
    fn nobody_starves_whoever_else_asks(
        weights in vec(1..4_u32, 4),
        own in 0..4_usize,
        n_ranks in 1..3_u32,
        priorities in vec(-2..=2_i32, 150..151),
    ) {
        let rule = |weight: u32| QueueRule { weight: Some(weight), ..QueueRule::default() };
        let within = |weight| QueueRule { parent: Some("research".to_owned()), ..rule(weight) };
        let queues: Queues = [
            ("default", rule(weights[0])),
            ("research", rule(1)),
            ("language", within(weights[1])),
            ("vision", within(weights[2])),
            ("small", rule(weights[3])),
        ].map(|(name, rule)| (name.to_owned(), rule)).into();
        let mut world = World::new(&[2]);
        world.set_rules(|rules| (rules.queues, rules.ageing_s, rules.min_run_s) = (queues.clone(), 10, 1_000_000));
        let leaves = leaves(&queues);
        let ask = |world: &mut World, queue: &str, n_ranks, priority| world.submit_with(n_ranks, |terms| {
            (terms.queue, terms.priority) = (queue.to_owned(), priority);
        });
        leaves.iter().for_each(|queue| _ = ask(&mut world, queue, 1, 2));
        let low = ask(&mut world, leaves[own], n_ranks, -2);
        let mut n_waits = 0;
        for priority in priorities {
            for queue in &leaves {
                let waiting = world.model.state().active_jobs().filter(|job| job.wants_placement());
                if waiting.filter(|job| job.submission.scheduling.queue == **queue).count() < 3 {
                    ask(&mut world, queue, 1, priority);
                }
            }
            world.advance(Duration::from_secs(10));
            if let Some(done) = world.live_or_placed().first() {
                world.finish_all(done);
            }
            if world.job(&low).placed_at.is_some() {
                break;
            }
            n_waits += 1;
        }
        prop_assert!(world.job(&low).placed_at.is_some(), "still waits after {} jobs", n_waits);
    }
}
