//! What the scheduler makes of one job, and what would help it: the same function, on a copy.

use kindred_proto::{
    ids::{JobId, WorldSize},
    job_spec::PRIORITIES,
    v1::{
        self, Explanation,
        explanation::{Blocker, Constraint, Preemption, Remedy, Verdict as Told},
    },
};

use super::{
    super::{Job, Model, Submission, Timestamp},
    Snapshot, Verdict, Wait, schedule, sentence,
    supply::{Supply, Want},
    tree::{Tree, kind_of},
};

/// Blockers that are told.
const MAX_BLOCKERS: usize = 16;

impl Model {
    /// What the next pass makes of a job, and what would help it.
    pub fn explain(&self, now: Timestamp, job: &Job) -> Explanation {
        if !job.wants_placement() {
            let reason = job.reason.clone();
            return Explanation { verdict: Told::Settled.into(), reason, ..Default::default() };
        }
        let explanation = self.tell(now, job);
        Explanation { remedies: self.remedies(now, job, &explanation), ..explanation }
    }

    /// What the next pass would make of a job that is not handed in.
    pub fn explain_submission(&self, now: Timestamp, submission: &Submission) -> Explanation {
        self.explain(now, &Job::new(self.state.next_job_id(), now, submission.clone()))
    }

    fn tell(&self, now: Timestamp, job: &Job) -> Explanation {
        let snapshot = self.snapshot(now).with_waiting(job, now, self.rules.hold_after_loss);
        let plan = schedule(&snapshot, now);
        let place = snapshot.waiting.iter().position(|waiting| waiting.job.id == job.id);
        let Some(place) = place else { return Explanation::default() };
        let told = match &plan.verdicts[place] {
            Verdict::Starts(devices) => Explanation {
                verdict: Told::Starts.into(),
                reason: "starts at the next pass".to_owned(),
                placements: places(&snapshot, devices),
                ..Default::default()
            },
            Verdict::Waits(wait) => Explanation {
                verdict: verdict_of(wait).into(),
                reason: wait.reason.clone(),
                constraint: wait.constraint.into(),
                blockers: blockers(&snapshot, job, wait),
                preemptions: preemptions(&snapshot, wait),
                ..Default::default()
            },
        };
        let n_before = plan.order.iter().take_while(|asked| **asked != place).count();
        Explanation { position: u32::try_from(n_before + 1).unwrap_or(u32::MAX), ..told }
    }

    /// What would make the verdict better.
    fn remedies(&self, now: Timestamp, job: &Job, told: &Explanation) -> Vec<Remedy> {
        if told.verdict() == Told::Starts {
            return vec![];
        }
        let changes = self.what_ifs(now, job, told.constraint());
        let is_better = |remedy: &Remedy| goodness(remedy.verdict()) > goodness(told.verdict());
        let judge = |(remedy, submission): (Remedy, Submission)| {
            let verdict = self.tell(now, &Job { submission, ..job.clone() }).verdict;
            Remedy { verdict, ..remedy }
        };
        changes.into_iter().map(judge).filter(is_better).collect()
    }

    /// What a user could ask for instead.
    fn what_ifs(&self, now: Timestamp, job: &Job, constraint: Constraint) -> Vec<(Remedy, Submission)> {
        let snapshot = self.snapshot(now);
        let mut changes = vec![];
        let mut add = |change: String, field: &str, value: String, edit: &dyn Fn(&mut Submission)| {
            let mut submission = job.submission.clone();
            edit(&mut submission);
            let remedy = Remedy { change, field: field.to_owned(), value, ..Default::default() };
            changes.push((remedy, submission));
        };
        let terms = &job.submission.scheduling;
        if let Some(fewer) = fewer_ranks(&snapshot, job) {
            add(format!("ask for {fewer} ranks"), "ranks", fewer.to_string(), &|submission| {
                submission.world_size = WorldSize(fewer);
                submission.world_sizes = vec![WorldSize(fewer)];
            });
        }
        if matches!(constraint, Constraint::Quota | Constraint::Queue | Constraint::Order) {
            for queue in snapshot.rules.leaves().filter(|queue| *queue != terms.queue).take(4) {
                let change = format!("use queue {queue}");
                add(change, "queue", queue.to_owned(), &|submission| {
                    submission.scheduling.queue = queue.to_owned();
                });
            }
        }
        if let Some(priority) = higher_priority(&snapshot, job) {
            let change = format!("raise its priority to {priority}");
            add(change, "priority", priority.to_string(), &|submission| {
                submission.scheduling.priority = priority;
            });
        }
        if !terms.node_selector.is_empty() {
            let change = "let it run on any node".to_owned();
            add(change, "node_selector", "{}".to_owned(), &|submission| {
                submission.scheduling.node_selector.clear();
            });
        }
        if terms.device_memory_bytes > 0 {
            let change = "let it run on devices of any memory".to_owned();
            add(change, "device_memory_bytes", "0".to_owned(), &|submission| {
                submission.scheduling.device_memory_bytes = 0;
            });
        }
        changes
    }
}

fn verdict_of(wait: &Wait) -> Told {
    match (wait.is_possible, wait.yields.is_empty()) {
        (false, _) => Told::Cannot,
        (true, false) => Told::Preempts,
        (true, true) => Told::Waits,
    }
}

fn goodness(verdict: Told) -> u32 {
    match verdict {
        Told::Unspecified | Told::Cannot => 0,
        Told::Waits => 1,
        Told::Preempts => 2,
        Told::Starts | Told::Settled => 3,
    }
}

fn places(snapshot: &Snapshot<'_>, devices: &[u32]) -> Vec<v1::Placement> {
    let place = |(rank, device): (u32, &u32)| {
        let placement = snapshot.placement(*device);
        v1::Placement {
            rank,
            node_id: placement.node_id.to_string(),
            node_name: placement.node_name,
            device_index: placement.device_index,
        }
    };
    (0..).zip(devices).map(place).collect()
}

fn preemptions(snapshot: &Snapshot<'_>, wait: &Wait) -> Vec<Preemption> {
    let preemption = |it: &super::Yield| {
        let job = snapshot.running[it.running].job;
        Preemption {
            job_id: job.id.to_string(),
            shrinks: it.shrinks,
            priority: job.submission.scheduling.priority,
            gives_back: it.gives_back,
        }
    };
    wait.yields.iter().map(preemption).collect()
}

/// Who holds a job up.
fn blockers(snapshot: &Snapshot<'_>, job: &Job, wait: &Wait) -> Vec<Blocker> {
    let of_job =
        |job_id: &JobId, why: String| Blocker { job_id: job_id.to_string(), why, ..Default::default() };
    match wait.constraint {
        Constraint::Order => {
            let first = wait.behind.map(|place| snapshot.waiting[place].job);
            first.into_iter().map(|first| of_job(&first.id, sentence::behind(first))).collect()
        }
        Constraint::Quota => {
            let tree = Tree::new(snapshot);
            let is_of_queue = |other: &Job| {
                let inner = tree.of(other).filter(|_| kind_of(other) == kind_of(job));
                inner.zip(wait.full).is_some_and(|(inner, full)| tree.is_in(inner, full))
            };
            let of_queue = snapshot.running.iter().filter(|it| is_of_queue(it.job));
            let why = |n_ranks: usize| format!("uses {n_ranks} of the queue's devices");
            of_queue.take(MAX_BLOCKERS).map(|it| of_job(&it.job.id, why(it.n_ranks))).collect()
        }
        Constraint::Devices | Constraint::Cluster => {
            let mut supply = Supply::new(snapshot);
            let class = supply.class_of(Want::of(job));
            let all = sentence::blockers(snapshot, supply.class(class)).take(MAX_BLOCKERS);
            all.map(|(site, holder)| Blocker {
                job_id: holder.map_or(String::new(), |it| snapshot.running[it as usize].job.id.to_string()),
                node_id: snapshot.sites[site as usize].node.id.to_string(),
                why: sentence::why(snapshot, (site, holder)),
            })
            .collect()
        }
        Constraint::Queue | Constraint::Unspecified => vec![],
    }
}

/// As many ranks as there are devices for now, in a number that shares the batch; none where that is not fewer.
fn fewer_ranks(snapshot: &Snapshot<'_>, job: &Job) -> Option<u32> {
    let mut supply = Supply::new(snapshot);
    let class = supply.class_of(Want::of(job));
    let tree = Tree::new(snapshot);
    let room = tree.leaf_of(job).map_or(0, |queue| tree.room(queue, kind_of(job)));
    let most = supply.class(class).n_free.min(room).min(job.submission.fewest().saturating_sub(1));
    let training = job.submission.spec.0.recipe.as_ref().and_then(|recipe| recipe.training);
    let batch = training.and_then(|training| training.global_batch);
    let shares = |n_ranks: &u32| batch.is_none_or(|batch| batch.is_multiple_of(*n_ranks));
    (1..=u32::try_from(most).unwrap_or(u32::MAX)).rev().find(shares)
}

/// One more than any job has that runs or waits; none where that is not more than its own.
fn higher_priority(snapshot: &Snapshot<'_>, job: &Job) -> Option<i32> {
    let others = snapshot.running.iter().map(|it| it.job).chain(snapshot.waiting.iter().map(|it| it.job));
    let priority = |other: &Job| other.submission.scheduling.priority;
    let highest = others.filter(|other| other.id != job.id).map(priority).max()?;
    let enough = highest.saturating_add(1).min(*PRIORITIES.end());
    (enough > priority(job)).then_some(enough)
}
