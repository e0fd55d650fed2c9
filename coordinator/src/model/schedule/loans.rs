//! What queues have borrowed of one another, and who may take it.
//!
//! What a queue is guaranteed is its own, and counts first for those of its jobs that nobody may stop, then for those that have had
//! their devices longest. What it uses beside that is borrowed: from its siblings, as far as what they are in is within its own
//! guarantee, else from further away. Each job of a queue that borrows has so many levels on which it does.

use super::{
    super::Job,
    Snapshot,
    tree::{Tree, kind_of},
};

/// What running jobs have borrowed.
pub(super) struct Loans {
    /// By running job: on how many levels, from its queue upwards, its devices are borrowed. None where nothing is guaranteed, and so
    /// everything is.
    n_levels: Option<Vec<usize>>,
    /// Jobs with borrowed devices: those that took them last first.
    pub youngest: Vec<usize>,
}

/// What a job is to get, as far as its queue's guarantee goes.
#[derive(Clone, Copy)]
pub(super) struct Due {
    pub queue: usize,
    /// On how many levels, from its queue upwards, it stays within what is guaranteed.
    n_levels: usize,
}

impl Loans {
    /// What is borrowed, given how many devices running jobs give up already, in the order of those.
    pub fn new(snapshot: &Snapshot<'_>, tree: &Tree<'_>, leaving: &[(usize, usize)]) -> Self {
        if !tree.has_guarantees() {
            return Self { n_levels: None, youngest: vec![] };
        }
        let mut borrowed: Vec<[usize; 2]> =
            tree.queues.iter().map(|queue| [0, 1].map(|kind| queue.borrowed(kind))).collect();
        let mut give_back = |queue: usize, kind: usize, n_devices: usize| {
            let left = &mut borrowed[queue][kind];
            let is_any = *left > 0;
            *left = left.saturating_sub(n_devices);
            is_any
        };
        for (place, n_devices) in leaving {
            let job = snapshot.running[*place].job;
            for queue in tree.of(job).into_iter().flat_map(|queue| tree.path(queue)) {
                give_back(queue, kind_of(job), *n_devices);
            }
        }
        let may_be_stopped = |place: &usize| {
            let job = snapshot.running[*place].job;
            job.submission.scheduling.preemptible && leaving.binary_search_by_key(place, |it| it.0).is_err()
        };
        let mut youngest: Vec<usize> = (0..snapshot.running.len()).filter(may_be_stopped).collect();
        youngest.sort_by_key(|place| std::cmp::Reverse((snapshot.running[*place].job.runs_since, *place)));
        let mut n_levels = vec![0; snapshot.running.len()];
        for place in &youngest {
            let running = &snapshot.running[*place];
            n_levels[*place] = tree.of(running.job).map_or(usize::MAX, |queue| {
                let mut line = tree.path(queue);
                let kind = kind_of(running.job);
                std::iter::from_fn(|| line.next().filter(|queue| give_back(*queue, kind, running.n_ranks)))
                    .count()
            });
        }
        youngest.retain(|place| n_levels[*place] > 0);
        Self { n_levels: Some(n_levels), youngest }
    }

    /// Whether a running job's devices are borrowed from this queue, or from one that the two have in common with others.
    pub fn is_borrowed(&self, tree: &Tree<'_>, running: (usize, &Job), from: usize) -> bool {
        let Some(n_levels) = &self.n_levels else { return true };
        let Some(queue) = tree.of(running.1) else { return true };
        n_levels[running.0] >= tree.n_levels_apart(queue, from)
    }

    /// Whether a job may have the devices of a running one whatever their priorities, since its queue lent them.
    pub fn is_owed(&self, tree: &Tree<'_>, running: (usize, &Job), due: Due) -> bool {
        let Some(queue) = tree.of(running.1) else { return false };
        let n_apart = tree.n_levels_apart(due.queue, queue);
        (1..=due.n_levels).contains(&n_apart) && self.is_borrowed(tree, running, due.queue)
    }
}

impl Due {
    /// What a job is due that asks for so many devices.
    pub fn new(tree: &Tree<'_>, queue: usize, job: &Job) -> Self {
        let n_levels = tree.n_levels_within(queue, kind_of(job), job.submission.fewest());
        Self { queue, n_levels }
    }
}
