//! Which running jobs give way: to one of higher priority, or to one whose queue lent them what they have.
//!
//! Between queues, devices that one is guaranteed are its own, whatever the priorities: others may have what it borrowed.

use kindred_proto::ids::JobId;

use super::{
    super::{Job, Timestamp},
    Pass, Snapshot,
    loans::{Due, Loans},
    snapshot::Running,
    supply::Want,
    tree::{Tree, kind_of},
};

/// A job that gives way, by its place among those that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) struct Yield {
    pub running: usize,
    /// True when it goes on with fewer ranks.
    pub shrinks: bool,
    /// True when its queue borrowed the devices from that of the job that gets them; else that has a higher priority.
    pub gives_back: bool,
}

/// Running jobs, by whether their devices can be had.
pub(super) struct Candidates {
    /// Those that may give way: the lowest priority first, then those that took their devices last.
    may: Vec<usize>,
    /// Those that stop already, and what of their devices is for others.
    do_already: Vec<Yield>,
    /// Whether any of those that may could do with fewer ranks.
    can_shrink: bool,
    /// What of it is borrowed; the youngest are those of them that may give way.
    loans: Loans,
}

/// What a job lacks: devices, and room in queues that use all that they may.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    pub n_devices: usize,
    /// Queues, each with how much less it has to use.
    pub rooms: Vec<(usize, usize)>,
}

/// What a job would give of that.
struct Offer {
    from: Yield,
    n_devices: usize,
    /// As many as `Needs::rooms`.
    rooms: Vec<usize>,
}

impl Candidates {
    pub fn new(snapshot: &Snapshot<'_>, tree: &Tree<'_>, now: Timestamp) -> Self {
        let (mut may, mut do_already, mut leaving) = (vec![], vec![], vec![]);
        for (place, running) in snapshot.running.iter().enumerate() {
            let job = running.job;
            let is_ending = job.live.as_ref().is_some_and(|live| live.ending_since.is_some());
            let shrinks = job.claim.as_ref().is_some_and(|claim| claim.after.is_some());
            if is_ending && (job.leaves_devices() || shrinks) {
                do_already.push(Yield { running: place, shrinks, gives_back: false });
                let n_kept = if shrinks { job.submission.fewest() } else { 0 };
                leaving.push((place, running.n_ranks.saturating_sub(n_kept)));
            }
            let has_run = now.since(job.runs_since) >= snapshot.rules.min_run();
            if !is_ending && has_run && job.submission.scheduling.preemptible && !job.state.is_terminal() {
                may.push(place);
            }
        }
        let mut loans = Loans::new(snapshot, tree, &leaving);
        // Both are in order of submission here.
        loans.youngest.retain(|place| may.binary_search(place).is_ok());
        let job = |place: &usize| snapshot.running[*place].job;
        may.sort_by_key(|place| {
            let job = job(place);
            (job.submission.scheduling.priority, std::cmp::Reverse((job.runs_since, *place)))
        });
        let can_shrink = may.iter().any(|place| {
            let running = &snapshot.running[*place];
            running.n_ranks > running.job.submission.fewest()
        });
        Self { may, do_already, can_shrink, loans }
    }

    /// Whether a running job stops, or will, for others.
    pub fn gives_way(&self, running: usize) -> bool {
        self.do_already.iter().any(|it| it.running == running)
    }
}

impl<'s> Pass<'s> {
    /// Lets jobs give way until a job has what it needs. Gives all whose devices it waits for, in order of submission, and those among
    /// them that are told now; nobody where that would not be enough.
    pub(super) fn make_room(
        &mut self,
        job: &'s Job,
        queue: usize,
        class: usize,
        needs: &Needs,
    ) -> (Vec<&'s JobId>, Vec<Yield>) {
        let already: Vec<Offer> =
            self.candidates.do_already.iter().map(|it| self.offer(job, class, needs, *it)).collect();
        let missing = already.iter().fold(needs.clone(), Needs::less);
        let told = match missing.are_met() {
            true => vec![],
            false => match self.victims(job, class, Due::new(&self.tree, queue, job), &missing) {
                Some(told) => told,
                None => return (vec![], vec![]),
            },
        };
        let of_use = already.iter().filter(|offer| offer.is_anything());
        let mut places: Vec<usize> = of_use.map(|offer| offer.from.running).collect();
        places.extend(told.iter().map(|it| it.running));
        places.sort_unstable();
        let stays = |place: &usize| !told.iter().any(|it| it.running == *place);
        self.candidates.may.retain(stays);
        self.candidates.loans.youngest.retain(stays);
        self.candidates.do_already.extend(&told);
        (places.into_iter().map(|place| &self.snapshot.running[place].job.id).collect(), told)
    }

    /// Those that give way: with some of their ranks, if that is enough, else with all. Whoever gives back what is borrowed goes first.
    fn victims(&self, job: &Job, class: usize, due: Due, needs: &Needs) -> Option<Vec<Yield>> {
        let Candidates { may, loans, can_shrink, .. } = &self.candidates;
        let priority = job.submission.scheduling.priority;
        let job_at = |place: usize| (place, self.snapshot.running[place].job);
        let is_lower = |place: &&usize| job_at(**place).1.submission.scheduling.priority < priority;
        let is_owed = |place: &&usize| loans.is_owed(&self.tree, job_at(**place), due);
        let may_be_taken = |place: &&usize| loans.is_borrowed(&self.tree, job_at(**place), due.queue);
        let owed = loans.youngest.iter().filter(is_owed).map(|place| (*place, true));
        let lower = may.iter().take_while(is_lower).filter(may_be_taken).filter(|place| !is_owed(place));
        let places: Vec<(usize, bool)> = owed.chain(lower.map(|place| (*place, false))).collect();
        let ways: &[bool] = if *can_shrink { &[true, false] } else { &[false] };
        ways.iter().copied().find_map(|shrinks| {
            let offer = |(running, gives_back): &(usize, bool)| {
                let from = Yield { running: *running, shrinks, gives_back: *gives_back };
                self.offer(job, class, needs, from)
            };
            let offers: Vec<Offer> = places.iter().map(offer).collect();
            fewest(&offers, needs)
        })
    }

    fn offer(&self, job: &Job, class: usize, needs: &Needs, from: Yield) -> Offer {
        let running = &self.snapshot.running[from.running];
        let held = self.snapshot.held_by(running);
        let n_suitable = held.iter().filter(|device| self.supply.is_of(class, **device)).count();
        let n_most = if from.shrinks { spare(job, running) } else { running.n_ranks };
        let queue = self.tree.of(running.job).filter(|_| kind_of(running.job) == kind_of(job));
        let frees = |full: usize| queue.is_some_and(|queue| self.tree.is_in(queue, full));
        let rooms = needs.rooms.iter().map(|(full, _)| if frees(*full) { n_most } else { 0 });
        Offer { from, n_devices: n_suitable.min(n_most), rooms: rooms.collect() }
    }
}

impl Needs {
    fn are_met(&self) -> bool {
        self.n_devices == 0 && self.rooms.iter().all(|(_, n_ranks)| *n_ranks == 0)
    }

    /// What an offer leaves of them.
    fn less(mut self, offer: &Offer) -> Self {
        self.n_devices = self.n_devices.saturating_sub(offer.n_devices);
        for ((_, n_ranks), offered) in self.rooms.iter_mut().zip(&offer.rooms) {
            *n_ranks = n_ranks.saturating_sub(*offered);
        }
        self
    }

    /// Whether an offer meets some of them.
    fn want(&self, offer: &Offer) -> bool {
        let mut rooms = self.rooms.iter().zip(&offer.rooms);
        self.n_devices > 0 && offer.n_devices > 0
            || rooms.any(|((_, n_ranks), offered)| *n_ranks > 0 && *offered > 0)
    }
}

impl Offer {
    fn is_anything(&self) -> bool {
        self.n_devices > 0 || self.rooms.iter().any(|n_ranks| *n_ranks > 0)
    }
}

/// Ranks that a job can do without. Only devices of the same want count: what is left of them must do for it.
fn spare(job: &Job, running: &Running<'_>) -> usize {
    let is_alike = Want::of(job) == Want::of(running.job);
    if is_alike { running.n_ranks.saturating_sub(running.job.submission.fewest()) } else { 0 }
}

/// The first offers that are enough, less those among them that are not needed; the last ones are spared first.
fn fewest(offers: &[Offer], needs: &Needs) -> Option<Vec<Yield>> {
    let (mut missing, mut chosen, mut sum) = (needs.clone(), vec![], Sum::of_none(needs));
    for offer in offers {
        if missing.are_met() {
            break;
        }
        if missing.want(offer) {
            missing = missing.less(offer);
            sum.add(offer);
            chosen.push(offer);
        }
    }
    if !missing.are_met() {
        return None;
    }
    let mut needed = vec![];
    for offer in chosen.into_iter().rev() {
        if !sum.spares(offer, needs) {
            needed.push(offer.from);
        }
    }
    needed.sort_unstable_by_key(|it| it.running);
    Some(needed)
}

/// What several offers give.
struct Sum {
    n_devices: usize,
    rooms: Vec<usize>,
}

impl Sum {
    fn of_none(needs: &Needs) -> Self {
        Self { n_devices: 0, rooms: vec![0; needs.rooms.len()] }
    }

    fn add(&mut self, offer: &Offer) {
        self.n_devices += offer.n_devices;
        self.rooms.iter_mut().zip(&offer.rooms).for_each(|(sum, n_ranks)| *sum += n_ranks);
    }

    /// Takes an offer out of the sum, if the others meet the needs without it.
    fn spares(&mut self, offer: &Offer, needs: &Needs) -> bool {
        let mut rooms = self.rooms.iter().zip(&offer.rooms).zip(&needs.rooms);
        let is_spared = self.n_devices - offer.n_devices >= needs.n_devices
            && rooms.all(|((sum, n_ranks), (_, needed))| sum - n_ranks >= *needed);
        if is_spared {
            self.n_devices -= offer.n_devices;
            self.rooms.iter_mut().zip(&offer.rooms).for_each(|(sum, n_ranks)| *sum -= n_ranks);
        }
        is_spared
    }
}
