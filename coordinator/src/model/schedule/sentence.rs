//! Why a job waits, in words: the same in the job's reason, its explanation and the log.

use kindred_proto::ids::JobId;

use super::{
    super::Job,
    Snapshot,
    home::Home,
    snapshot::Device,
    supply::Class,
    tree::{Tree, kind_of},
};

/// Excuses that are told; the rest is counted.
const MAX_EXCUSES: usize = 4;

/// What a job needs.
pub(super) fn needs(job: &Job) -> String {
    let n_ranks = job.submission.fewest();
    let least = if job.submission.sizes().count() > 1 { "at least " } else { "" };
    let kind = if job.submission.needs_gpu { "cuda" } else { "cpu" };
    let plural = if n_ranks == 1 { "" } else { "s" };
    let terms = &job.submission.scheduling;
    let memory = match terms.device_memory_bytes {
        0 => String::new(),
        bytes => format!(" of {} or more", gibibytes(bytes)),
    };
    let labels: Vec<String> =
        terms.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let place =
        if labels.is_empty() { String::new() } else { format!(" on nodes with {}", labels.join(", ")) };
    format!("needs {least}{n_ranks} {kind} device{plural}{memory}{place}")
}

/// That devices are missing, and why.
pub(super) fn short_of_devices(job: &Job, class: &Class<'_>, excuses: &str) -> String {
    let (needs, n_free) = (needs(job), class.n_free);
    match (excuses.is_empty(), class.sites.is_empty()) {
        (true, true) => format!("{needs}, and no node that joined has any"),
        (true, false) => format!("{needs}, and all nodes together have {n_free}"),
        (false, _) => format!("{needs}, {n_free} free: {excuses}"),
    }
}

/// That devices are missing where the job's checkpoint lies.
pub(super) fn far_from_home(snapshot: &Snapshot<'_>, job: &Job, home: &Home) -> String {
    let sites = home.sites.iter().map(|number| (*number, &snapshot.sites[*number as usize]));
    let (mut names, mut why_not) = (vec![], vec![]);
    for (number, site) in sites {
        names.push(site.node.name().to_owned());
        let mut holders: Vec<_> =
            snapshot.devices[site.devices.clone()].iter().filter_map(|device| device.holder).collect();
        holders.dedup();
        match site.bar {
            Some(_) => why_not.push(why(snapshot, (number, None))),
            None => why_not.extend(holders.into_iter().map(|holder| why(snapshot, (number, Some(holder))))),
        }
    }
    let short = |mut all: Vec<String>| {
        let n_more = all.len().saturating_sub(MAX_EXCUSES);
        all.truncate(MAX_EXCUSES);
        listed(&all, n_more)
    };
    let which = if job.submission.fewest() == 1 { "" } else { "one of them " };
    format!("{}, {which}on {}, where its checkpoint lies: {}", needs(job), short(names), short(why_not))
}

/// That others give way.
pub(super) fn given_way(job: &Job, n_free: usize, coming: &[&JobId]) -> String {
    let verb = if coming.len() == 1 { "gives way" } else { "give way" };
    let told: Vec<String> = coming.iter().take(MAX_EXCUSES).map(ToString::to_string).collect();
    let names = listed(&told, coming.len() - told.len());
    format!("{}, {n_free} free: {names} {verb}", needs(job))
}

/// That a job's queue may never use so much.
pub(super) fn too_narrow(job: &Job, tree: &Tree<'_>, queue: usize, full: usize) -> String {
    let limit = tree.queues[full].limit(kind_of(job));
    format!("{}, and queue {} may use {limit}", needs(job), placed(tree, queue, full))
}

/// That a job's queue, or one that it is in, uses all that it may.
pub(super) fn over_quota(job: &Job, tree: &Tree<'_>, queue: usize, full: usize) -> String {
    let (kind, needs) = (kind_of(job), needs(job));
    let (own, full_queue) = (&tree.queues[queue], &tree.queues[full]);
    let (limit, room) = (full_queue.limit(kind), full_queue.room(kind));
    if full_queue.rule.borrow || limit < full_queue.guaranteed[kind] {
        let full = placed(tree, queue, full);
        return format!("{needs}, and queue {full} has {room} left of the {limit} that it may use");
    }
    let (name, used, guaranteed) = (own.name, own.used[kind], own.guaranteed[kind]);
    if full == queue {
        return match room {
            0 => format!("{needs}, and queue {name} has used its {limit} and borrows none"),
            _ => format!("{needs}, and queue {name} has {room} left of its {limit} and borrows none"),
        };
    }
    let idle = match room {
        0 => format!("{} has no idle ones", full_queue.name),
        _ => format!("{} has {room} idle", full_queue.name),
    };
    let own = match guaranteed {
        0 => format!("queue {name} is guaranteed none"),
        _ if used >= guaranteed => format!("queue {name} has used its {guaranteed}"),
        _ => format!("queue {name} uses {used} of its {guaranteed}"),
    };
    format!("{needs}, {own} and may borrow none: {idle}")
}

/// The name of a queue that another one is in, with that.
fn placed(tree: &Tree<'_>, queue: usize, outer: usize) -> String {
    let (name, outer_name) = (tree.queues[queue].name, tree.queues[outer].name);
    if queue == outer { name.to_owned() } else { format!("{outer_name}, which {name} is in,") }
}

/// That another job comes first.
pub(super) fn behind(first: &Job) -> String {
    format!("waits behind {}, which {}", first.id, needs(first))
}

/// Why devices of a class are not free: by node, who is there or why it takes no rank.
pub(super) fn excuses(snapshot: &Snapshot<'_>, class: &Class<'_>) -> String {
    let told: Vec<_> = blockers(snapshot, class).take(MAX_EXCUSES).collect();
    // There may be thousands: those that are not told are counted where they are.
    let n_all: usize = class.sites.iter().map(|site| n_blockers(snapshot, class, *site)).sum();
    let n_more = n_all - told.len();
    let told: Vec<String> = told.into_iter().map(|blocker| why(snapshot, blocker)).collect();
    listed(&told, n_more)
}

/// How many have devices of a class on a node; one for a node that takes no ranks.
fn n_blockers(snapshot: &Snapshot<'_>, class: &Class<'_>, site: u32) -> usize {
    let site = &snapshot.sites[site as usize];
    if site.bar.is_some() {
        return 1;
    }
    let devices = &snapshot.devices[site.devices.clone()];
    let holds = |device: &Device| device.holder.filter(|_| class.want.suits(device));
    let is_new = |place: &usize| {
        let holder = holds(&devices[*place]);
        holder.is_some() && !devices[..*place].iter().any(|other| holds(other) == holder)
    };
    (0..devices.len()).filter(is_new).count()
}

/// Who has devices of a class, by node and place among those that run; nodes alone that take no ranks.
pub(super) fn blockers<'s>(
    snapshot: &'s Snapshot<'s>,
    class: &'s Class<'s>,
) -> impl Iterator<Item = (u32, Option<u32>)> + 's {
    class.sites.iter().flat_map(move |number| {
        let site = &snapshot.sites[*number as usize];
        if site.bar.is_some() {
            return vec![(*number, None)];
        }
        let devices = snapshot.devices[site.devices.clone()].iter();
        let mut holders: Vec<u32> =
            devices.filter(|it| class.want.suits(it)).filter_map(|it| it.holder).collect();
        holders.sort_unstable();
        holders.dedup();
        holders.into_iter().map(|holder| (*number, Some(holder))).collect()
    })
}

/// What is to be said of one of them.
pub(super) fn why(snapshot: &Snapshot<'_>, (site, holder): (u32, Option<u32>)) -> String {
    let site = &snapshot.sites[site as usize];
    match holder.map(|holder| &snapshot.running[holder as usize].job.id) {
        Some(job_id) => format!("{job_id} runs on {}", site.node.name()),
        None => site.bar.clone().unwrap_or_default(),
    }
}

/// The first few, and how many more there are.
fn listed(told: &[String], n_more: usize) -> String {
    let more = if n_more == 0 { String::new() } else { format!(" and {n_more} more") };
    told.join(", ") + &more
}

fn gibibytes(bytes: u64) -> String {
    const GIBIBYTE: u64 = 1 << 30;
    if bytes.is_multiple_of(GIBIBYTE) {
        format!("{} GiB", bytes / GIBIBYTE)
    } else {
        format!("{bytes} bytes")
    }
}
