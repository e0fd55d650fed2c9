//! Whose turn is next.
//!
//! Where no queue has a weight or a guarantee, turns go by their dates alone. Else those with a claim go first, by date; then, level by
//! level, whoever stays within what his queue is guaranteed; then the queue with the least dominant share for its weight; within a queue,
//! and between equals, the date decides. Only kinds of devices count that more than one queue of a level has jobs waiting for: what
//! nobody else wants is used at nobody's cost.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
};

use super::{
    snapshot::{Snapshot, Turn},
    tree::{Share, Tree, kind_of},
};

/// The jobs of a pass that have not been asked yet, by their places among those that wait.
pub(super) struct Turns<'s> {
    snapshot: &'s Snapshot<'s>,
    /// Those whose turn is next, whatever their queues use.
    next: VecDeque<usize>,
    /// By queue, those whose turn depends on that: each with the ones that follow it.
    rows: Vec<VecDeque<Range<usize>>>,
    /// By queue, its rank among those with the same parent; none while it has nobody to ask.
    ranks: Vec<Option<Rank>>,
    /// The ranks of the children of each queue, and at last those of queues without a parent.
    levels: Vec<BTreeSet<Rank>>,
    /// Kinds of devices that more than one child waits for, by parent as in `levels`.
    contended: Vec<[bool; 2]>,
    /// Queues whose rank may be another one by now.
    touched: Vec<usize>,
}

/// What decides between queues with the same parent; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    borrows: bool,
    share: Share,
    turn: Turn,
    /// The job that it would have asked.
    place: usize,
    queue: usize,
}

impl<'s> Turns<'s> {
    pub fn new(snapshot: &'s Snapshot<'s>, tree: &Tree<'_>) -> Self {
        let n_queues = tree.queues.len();
        let mut turns = Self {
            snapshot,
            next: VecDeque::new(),
            rows: vec![VecDeque::new(); n_queues],
            ranks: vec![None; n_queues],
            levels: vec![BTreeSet::new(); n_queues + 1],
            contended: vec![[false; 2]; n_queues + 1],
            touched: vec![],
        };
        let n_waiting = snapshot.waiting.len();
        if snapshot.rules.has_shares() {
            turns.line_up(tree);
            turns.find_contended(tree);
            turns.touched.extend(0..n_queues);
        } else {
            turns.next.extend(0..n_waiting);
        }
        turns
    }

    /// Whose turn is next, as queues use devices now.
    pub fn next(&mut self, tree: &Tree<'_>) -> Option<usize> {
        if self.next.is_empty() {
            self.choose(tree);
        }
        let place = self.next.pop_front()?;
        self.touched.extend(tree.of(self.snapshot.waiting[place].job));
        Some(place)
    }

    /// Puts each job into the row of its queue, behind the one that it follows if it does.
    fn line_up(&mut self, tree: &Tree<'_>) {
        let waiting = &self.snapshot.waiting;
        let mut start = 0;
        while start < waiting.len() {
            let first = &waiting[start];
            let n_following =
                waiting[start + 1..].iter().take_while(|it| it.turn.follows(first.turn)).count();
            let end = start + 1 + n_following;
            match tree.leaf_of(first.job).filter(|_| !first.turn.has_claim()) {
                Some(queue) => self.rows[queue].push_back(start..end),
                None => self.next.extend(start..end),
            }
            start = end;
        }
    }

    fn find_contended(&mut self, tree: &Tree<'_>) {
        let n_queues = tree.queues.len();
        let mut waits = vec![[false; 2]; n_queues];
        for (queue, row) in self.rows.iter().enumerate() {
            for turn in row {
                waits[queue][kind_of(self.snapshot.waiting[turn.start].job)] = true;
            }
        }
        let mut n_waiting = vec![[0; 2]; n_queues + 1];
        // Children come after their parents.
        for queue in (0..n_queues).rev() {
            let parent = tree.queues[queue].parent;
            let own = waits[queue];
            for kind in (0..2).filter(|kind| own[*kind]) {
                n_waiting[parent.unwrap_or(n_queues)][kind] += 1;
                if let Some(parent) = parent {
                    waits[parent][kind] = true;
                }
            }
        }
        self.contended = n_waiting.into_iter().map(|of_level| of_level.map(|n| n > 1)).collect();
    }

    /// Takes the job of the first queue out of its row.
    fn choose(&mut self, tree: &Tree<'_>) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        // What changed of a queue changes those that it is in: children come after their parents, and so are first here.
        for queue in touched.into_iter().rev() {
            let line: Vec<usize> = tree.path(queue).collect();
            line.into_iter().for_each(|queue| self.rank(tree, queue));
        }
        let mut level = tree.queues.len();
        while let Some(first) = self.levels[level].first() {
            level = first.queue;
        }
        let Some(row) = self.rows.get_mut(level) else { return };
        self.next.extend(row.pop_front().into_iter().flatten());
    }

    /// Ranks a queue among those with the same parent.
    fn rank(&mut self, tree: &Tree<'_>, queue: usize) {
        let level = tree.queues[queue].parent.unwrap_or(tree.queues.len());
        let of_own = self.rows[queue].front().map(|turn| turn.start);
        let place = of_own.or_else(|| self.levels[queue].first().map(|first| first.place));
        let rank = place.map(|place| {
            let waiting = &self.snapshot.waiting[place];
            let (kind, n_ranks) = (kind_of(waiting.job), waiting.job.submission.fewest());
            Rank {
                borrows: !tree.queues[queue].is_within(kind, n_ranks),
                share: tree.share(queue, self.contended[level]),
                turn: waiting.turn,
                place,
                queue,
            }
        });
        if let Some(former) = std::mem::replace(&mut self.ranks[queue], rank) {
            self.levels[level].remove(&former);
        }
        self.levels[level].extend(rank);
    }
}
