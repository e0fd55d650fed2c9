//! The queues as users see them.

use kindred_proto::v1;

use super::{
    super::{Job, Model, Timestamp},
    tree::{Amounts, KINDS, Tree, kind_of},
};

impl Model {
    /// All queues, each before those that it is divided into; siblings by name.
    pub fn queues(&self, now: Timestamp) -> Vec<v1::Queue> {
        let snapshot = self.snapshot(now);
        let tree = Tree::new(&snapshot);
        let waiting = count(&tree, snapshot.waiting.iter().map(|waiting| waiting.job));
        let running = count(&tree, snapshot.running.iter().map(|running| running.job));
        let mut order: Vec<usize> = (0..tree.queues.len()).collect();
        order.sort_by_cached_key(|queue| {
            let mut line: Vec<&str> = tree.path(*queue).map(|queue| tree.queues[queue].name).collect();
            line.reverse();
            line
        });
        order.into_iter().map(|queue| view(&tree, queue, waiting[queue], running[queue])).collect()
    }
}

/// How many of these jobs each queue has, by kind of device.
fn count<'a>(tree: &Tree<'_>, jobs: impl Iterator<Item = &'a Job>) -> Vec<Amounts> {
    let mut counts = vec![[0; 2]; tree.queues.len()];
    for job in jobs {
        for queue in tree.of(job).into_iter().flat_map(|queue| tree.path(queue)) {
            counts[queue][kind_of(job)] += 1;
        }
    }
    counts
}

fn view(tree: &Tree<'_>, place: usize, waiting: Amounts, running: Amounts) -> v1::Queue {
    let queue = &tree.queues[place];
    let devices = KINDS.into_iter().enumerate().filter_map(|(slot, kind)| {
        let max = queue.rule.max(kind);
        let is_concerned = tree.has_any(slot)
            || max.is_some()
            || [queue.guaranteed[slot], queue.used[slot], waiting[slot]].iter().any(|number| *number > 0);
        let borrowed = if tree.has_guarantees() { queue.borrowed(slot) } else { 0 };
        is_concerned.then(|| v1::queue::Devices {
            kind: kind.into(),
            guaranteed: number(queue.guaranteed[slot]),
            max,
            used: number(queue.used[slot]),
            borrowed: number(borrowed),
            waiting_jobs: number(waiting[slot]),
            running_jobs: number(running[slot]),
        })
    });
    v1::Queue {
        name: queue.name.to_owned(),
        parent: queue.rule.parent.clone().unwrap_or_default(),
        weight: queue.rule.weight.unwrap_or(1),
        borrows: queue.rule.borrow,
        takes_jobs: !queue.has_children,
        devices: devices.collect(),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
