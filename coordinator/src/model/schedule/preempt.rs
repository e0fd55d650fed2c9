//! Which running jobs give way to one of higher priority.

use kindred_proto::ids::JobId;

use super::{
    super::{Job, Timestamp},
    Pass, Snapshot, queue_of,
    snapshot::Running,
    supply::Want,
};

/// A job that gives way, by its place among those that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) struct Yield {
    pub running: usize,
    /// True when it goes on with fewer ranks.
    pub shrinks: bool,
}

/// Running jobs, by whether their devices can be had.
pub(super) struct Candidates {
    /// Those that may give way: the lowest priority first, then those that took their devices last.
    may: Vec<usize>,
    /// Those that stop already, and what of their devices is for others.
    do_already: Vec<Yield>,
    /// Whether any of those that may could do with fewer ranks.
    can_shrink: bool,
}

/// What a job would give.
struct Offer {
    running: usize,
    n_devices: usize,
    n_quota: usize,
}

impl Candidates {
    pub fn new(snapshot: &Snapshot<'_>, now: Timestamp) -> Self {
        let (mut may, mut do_already) = (vec![], vec![]);
        for (place, running) in snapshot.running.iter().enumerate() {
            let job = running.job;
            let is_ending = job.live.as_ref().is_some_and(|live| live.ending_since.is_some());
            let shrinks = job.claim.as_ref().is_some_and(|claim| claim.after.is_some());
            if is_ending && (job.leaves_devices() || shrinks) {
                do_already.push(Yield { running: place, shrinks });
            }
            let has_run = now.since(job.runs_since) >= snapshot.rules.min_run();
            if !is_ending && has_run && job.submission.scheduling.preemptible && !job.state.is_terminal() {
                may.push(place);
            }
        }
        let job = |place: &usize| snapshot.running[*place].job;
        may.sort_by_key(|place| {
            let job = job(place);
            (job.submission.scheduling.priority, std::cmp::Reverse((job.runs_since, *place)))
        });
        let can_shrink = may.iter().any(|place| {
            let running = &snapshot.running[*place];
            running.n_ranks > running.job.submission.fewest()
        });
        Self { may, do_already, can_shrink }
    }

    /// Whether a running job stops, or will, for others.
    pub fn gives_way(&self, running: usize) -> bool {
        self.do_already.iter().any(|it| it.running == running)
    }
}

impl<'s> Pass<'s> {
    /// Lets jobs give way until a job has so many more devices, and its queue so much more room. Gives all whose devices it waits
    /// for, in order of submission, and those among them that are told now; nobody where that would not be enough.
    pub(super) fn make_room(
        &mut self,
        job: &'s Job,
        class: usize,
        n_devices: usize,
        n_quota: usize,
    ) -> (Vec<&'s JobId>, Vec<Yield>) {
        let already: Vec<Offer> =
            self.candidates.do_already.iter().map(|it| self.offer(job, class, *it)).collect();
        let coming = |offers: &[Offer]| {
            let n_devices: usize = offers.iter().map(|offer| offer.n_devices).sum();
            (n_devices, offers.iter().map(|offer| offer.n_quota).sum::<usize>())
        };
        let (devices_coming, quota_coming) = coming(&already);
        let (n_devices, n_quota) =
            (n_devices.saturating_sub(devices_coming), n_quota.saturating_sub(quota_coming));
        let told = match (n_devices, n_quota) {
            (0, 0) => vec![],
            _ => match self.victims(job, class, n_devices, n_quota) {
                Some(told) => told,
                None => return (vec![], vec![]),
            },
        };
        let of_use = already.iter().filter(|offer| offer.n_devices + offer.n_quota > 0);
        let mut places: Vec<usize> = of_use.map(|offer| offer.running).collect();
        places.extend(told.iter().map(|it| it.running));
        places.sort_unstable();
        self.candidates.may.retain(|place| !told.iter().any(|it| it.running == *place));
        self.candidates.do_already.extend(&told);
        (places.into_iter().map(|place| &self.snapshot.running[place].job.id).collect(), told)
    }

    /// Those that give way: with some of their ranks, if that is enough, else with all.
    fn victims(&self, job: &Job, class: usize, n_devices: usize, n_quota: usize) -> Option<Vec<Yield>> {
        let priority = job.submission.scheduling.priority;
        let is_lower =
            |place: &&usize| self.snapshot.running[**place].job.submission.scheduling.priority < priority;
        let lower: Vec<usize> = self.candidates.may.iter().take_while(is_lower).copied().collect();
        let ways: &[bool] = if self.candidates.can_shrink { &[true, false] } else { &[false] };
        ways.iter().copied().find_map(|shrinks| {
            let offer = |place: &usize| self.offer(job, class, Yield { running: *place, shrinks });
            let offers: Vec<Offer> = lower.iter().map(offer).collect();
            let chosen = fewest(&offers, n_devices, n_quota)?;
            Some(chosen.into_iter().map(|running| Yield { running, shrinks }).collect())
        })
    }

    fn offer(&self, job: &Job, class: usize, from: Yield) -> Offer {
        let running = &self.snapshot.running[from.running];
        let held = self.snapshot.held_by(running);
        let n_suitable = held.iter().filter(|device| self.supply.is_of(class, **device)).count();
        let n_most = if from.shrinks { spare(job, running) } else { running.n_ranks };
        let is_of_queue = queue_of(running.job) == queue_of(job);
        Offer {
            running: from.running,
            n_devices: n_suitable.min(n_most),
            n_quota: if is_of_queue { n_most } else { 0 },
        }
    }
}

/// Ranks that a job can do without. Only devices of the same want count: what is left of them must do for it.
fn spare(job: &Job, running: &Running<'_>) -> usize {
    let is_alike = Want::of(job) == Want::of(running.job);
    if is_alike { running.n_ranks.saturating_sub(running.job.submission.fewest()) } else { 0 }
}

/// The first offers that are enough, less those among them that are not needed; the last ones are spared first.
fn fewest(offers: &[Offer], n_devices: usize, n_quota: usize) -> Option<Vec<usize>> {
    let (mut devices, mut quota) = (0, 0);
    let mut chosen: Vec<&Offer> = vec![];
    for offer in offers {
        if devices >= n_devices && quota >= n_quota {
            break;
        }
        let is_of_use = devices < n_devices && offer.n_devices > 0 || quota < n_quota && offer.n_quota > 0;
        if is_of_use {
            (devices, quota) = (devices + offer.n_devices, quota + offer.n_quota);
            chosen.push(offer);
        }
    }
    if devices < n_devices || quota < n_quota {
        return None;
    }
    let mut needed = vec![];
    for offer in chosen.into_iter().rev() {
        let (without, quota_without) = (devices - offer.n_devices, quota - offer.n_quota);
        if without >= n_devices && quota_without >= n_quota {
            (devices, quota) = (without, quota_without);
        } else {
            needed.push(offer.running);
        }
    }
    needed.sort_unstable();
    Some(needed)
}
