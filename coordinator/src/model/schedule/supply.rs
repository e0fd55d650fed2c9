//! The devices that are free while a pass goes on, by what jobs ask of them, and the packing of ranks onto them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kindred_proto::v1;

use super::{
    super::Job,
    home::Home,
    snapshot::{Device, Snapshot},
};

/// What a job asks of each device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Want<'a> {
    pub kind: v1::DeviceKind,
    pub memory_bytes: u64,
    pub selector: &'a BTreeMap<String, String>,
}

/// The devices that are free while a pass goes on.
pub(super) struct Supply<'s> {
    pub snapshot: &'s Snapshot<'s>,
    /// By device.
    standing: Vec<Standing>,
    classes: Vec<Class<'s>>,
    by_want: BTreeMap<Want<'s>, usize>,
    /// Nodes by their jobs' folder; made when the first job asks for one.
    by_folder: Option<HashMap<&'s str, Vec<u32>>>,
    /// Nodes by label; made when the first job asks for one.
    by_label: Option<HashMap<(&'s str, &'s str), Vec<u32>>>,
}

/// Whether a device can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Free,
    Taken,
    /// For a job that waits, by its place among those that do.
    Kept(u32),
}

/// The devices that jobs with the same want may have.
pub(super) struct Class<'s> {
    pub want: Want<'s>,
    /// Nodes that carry the labels and have such a device, whether they take ranks or not.
    pub sites: Vec<u32>,
    /// By node: whether it is among them and takes ranks.
    takes_ranks: Vec<bool>,
    pub n_free: usize,
    /// Devices of nodes that take ranks, or will.
    pub n_possible: usize,
    /// The first job that some are kept for, by its place among those that wait.
    pub kept_for: Option<usize>,
    /// What is free by node, then by domain; made when the first job takes some.
    levels: Vec<Level>,
}

/// What is free in each domain of one kind.
struct Level {
    /// None for nodes themselves, else the kind of domain.
    domain: Option<usize>,
    n_free: Vec<u32>,
    by_n_free: BTreeSet<(u32, u32)>,
}

impl<'a> Want<'a> {
    pub fn of(job: &'a Job) -> Self {
        let terms = &job.submission.scheduling;
        Self {
            kind: job.submission.device_kind(),
            memory_bytes: terms.device_memory_bytes,
            selector: &terms.node_selector,
        }
    }

    pub fn suits(&self, device: &Device) -> bool {
        device.kind == self.kind && device.memory_bytes >= self.memory_bytes
    }
}

impl<'s> Supply<'s> {
    pub fn new(snapshot: &'s Snapshot<'s>) -> Self {
        let standing = |device: &Device| device.holder.map_or(Standing::Free, |_| Standing::Taken);
        let standing = snapshot.devices.iter().map(standing).collect();
        Self {
            snapshot,
            standing,
            classes: vec![],
            by_want: BTreeMap::new(),
            by_folder: None,
            by_label: None,
        }
    }

    pub fn class(&self, class: usize) -> &Class<'s> {
        &self.classes[class]
    }

    /// The class of a want.
    pub fn class_of(&mut self, want: Want<'s>) -> usize {
        if let Some(known) = self.by_want.get(&want) {
            return *known;
        }
        let class = self.new_class(want);
        self.classes.push(class);
        self.by_want.insert(want, self.classes.len() - 1);
        self.classes.len() - 1
    }

    /// Whether a device is of a class, and its node takes ranks.
    pub fn is_of(&self, class: usize, device: u32) -> bool {
        let Class { want, takes_ranks, .. } = &self.classes[class];
        let device = &self.snapshot.devices[device as usize];
        takes_ranks[device.site as usize] && want.suits(device)
    }

    /// Takes so many devices, all or none: where the job's checkpoint lies first; the rest in the narrowest domain that
    /// holds all of it, and among those in the fullest; where none does, what the emptiest of the widest has, and so on.
    pub fn take(&mut self, class: usize, n_ranks: usize, home: Option<&Home>) -> Option<Vec<u32>> {
        if self.classes[class].n_free < n_ranks {
            return None;
        }
        self.add_levels(class);
        let mut taken = Vec::with_capacity(n_ranks);
        if let Some(home) = home {
            let n_free = |site: &u32| self.classes[class].levels[0].n_free[*site as usize] as usize;
            // The fullest that holds all ranks, else the emptiest.
            let fit = |n_free: usize| if n_free < n_ranks { (1, usize::MAX - n_free) } else { (0, n_free) };
            let best = home.sites.iter().copied().filter(|site| n_free(site) > 0);
            match best.min_by_key(|site| fit(n_free(site))) {
                Some(site) => self.take_at(class, site, n_ranks, &mut taken),
                None if home.is_needed => return None,
                None => {}
            }
        }
        while taken.len() < n_ranks {
            let n_rest = n_ranks - taken.len();
            let (domain, group) = self.classes[class].tightest(n_rest)?;
            match domain {
                None => self.take_at(class, group, n_rest, &mut taken),
                Some(kind) => self.take_in(class, kind, group, n_ranks, &mut taken),
            }
        }
        Some(taken)
    }

    /// Keeps all that is free of a class for a job, so that none whose turn comes later has it.
    pub fn keep(&mut self, class: usize, waiting: usize) {
        if self.classes[class].n_free > 0 {
            for place in 0..self.classes[class].sites.len() {
                let site = self.classes[class].sites[place];
                let devices = self.free_at(class, site);
                self.remove(site, &devices, Some(waiting));
            }
        }
        self.classes[class].kept_for.get_or_insert(waiting);
    }

    /// Takes up to so many in a domain, from the fullest node that holds all of the rest, else from the emptiest.
    fn take_in(&mut self, class: usize, domain: usize, group: u32, n_ranks: usize, taken: &mut Vec<u32>) {
        let Some(groups) = &self.snapshot.domains[domain] else { return };
        while taken.len() < n_ranks {
            let n_rest = n_ranks - taken.len();
            let n_free = |site: u32| self.classes[class].levels[0].n_free[site as usize] as usize;
            let sites = groups[group as usize].iter().copied().filter(|site| n_free(*site) > 0);
            let best = sites.min_by_key(|site| {
                let n_free = n_free(*site);
                (n_free < n_rest, if n_free < n_rest { usize::MAX - n_free } else { n_free })
            });
            let Some(site) = best else { return };
            self.take_at(class, site, n_rest, taken);
        }
    }

    fn take_at(&mut self, class: usize, site: u32, n_most: usize, taken: &mut Vec<u32>) {
        let mut devices = self.free_at(class, site);
        devices.truncate(n_most);
        self.remove(site, &devices, None);
        taken.extend(devices);
    }

    /// What is free of a class at a node, by index.
    fn free_at(&self, class: usize, site: u32) -> Vec<u32> {
        let Class { want, takes_ranks, .. } = &self.classes[class];
        if !takes_ranks[site as usize] {
            return vec![];
        }
        let range = self.snapshot.sites[site as usize].devices.clone();
        let free = range.filter(|place| {
            self.standing[*place] == Standing::Free && want.suits(&self.snapshot.devices[*place])
        });
        free.map(number).collect()
    }

    /// These devices of a node are free no more: they are taken, or kept for a job that waits.
    fn remove(&mut self, site: u32, devices: &[u32], keeper: Option<usize>) {
        let standing = keeper.map_or(Standing::Taken, |keeper| Standing::Kept(number(keeper)));
        for device in devices {
            self.standing[*device as usize] = standing;
        }
        let domains = &self.snapshot.sites[site as usize].domains;
        for class in &mut self.classes {
            if !class.takes_ranks[site as usize] {
                continue;
            }
            let suits = |device: &&u32| class.want.suits(&self.snapshot.devices[**device as usize]);
            let n_gone = devices.iter().filter(suits).count();
            if n_gone > 0 {
                class.subtract(site, domains, n_gone);
                class.kept_for = class.kept_for.or(keeper);
            }
        }
    }

    fn new_class(&mut self, want: Want<'s>) -> Class<'s> {
        let snapshot = self.snapshot;
        let mut class = Class {
            want,
            sites: vec![],
            takes_ranks: vec![false; snapshot.sites.len()],
            n_free: 0,
            n_possible: 0,
            kept_for: None,
            levels: vec![],
        };
        for number in self.labelled(want.selector) {
            let site = &snapshot.sites[number as usize];
            let takes_ranks = site.bar.is_none();
            let mut n_all = 0;
            for place in site.devices.clone().filter(|place| want.suits(&snapshot.devices[*place])) {
                n_all += 1;
                if takes_ranks {
                    class.count(self.standing[place]);
                }
            }
            if n_all > 0 {
                class.sites.push(number);
                class.takes_ranks[number as usize] = takes_ranks;
                class.n_possible += if site.is_possible { n_all } else { 0 };
            }
        }
        class
    }

    /// Nodes with this folder of jobs.
    pub fn with_folder(&mut self, folder: &str) -> Vec<u32> {
        let snapshot: &'s Snapshot<'s> = self.snapshot;
        let by_folder = self.by_folder.get_or_insert_with(|| {
            let mut by_folder: HashMap<_, Vec<u32>> = HashMap::new();
            for (number, site) in (0..).zip(&snapshot.sites) {
                by_folder.entry(site.node.description.jobs_folder.as_str()).or_default().push(number);
            }
            by_folder
        });
        by_folder.get(folder).cloned().unwrap_or_default()
    }

    /// Nodes that carry all of these labels.
    fn labelled(&mut self, selector: &BTreeMap<String, String>) -> Vec<u32> {
        let snapshot: &'s Snapshot<'s> = self.snapshot;
        let sites = &snapshot.sites;
        if selector.is_empty() {
            return (0..sites.len()).map(number).collect();
        }
        let by_label = self.by_label.get_or_insert_with(|| {
            let mut by_label: HashMap<_, Vec<u32>> = HashMap::new();
            for (number, site) in (0..).zip(sites) {
                for (key, value) in &site.node.description.labels {
                    by_label.entry((key.as_str(), value.as_str())).or_default().push(number);
                }
            }
            by_label
        });
        let lists = selector.iter().map(|(key, value)| by_label.get(&(key.as_str(), value.as_str())));
        let Some(fewest) = lists.min_by_key(|list| list.map_or(0, Vec::len)).flatten() else { return vec![] };
        let carries_all = |site: &&u32| {
            let labels = &sites[**site as usize].node.description.labels;
            selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        fewest.iter().filter(carries_all).copied().collect()
    }

    fn add_levels(&mut self, class: usize) {
        if !self.classes[class].levels.is_empty() {
            return;
        }
        let shared = (0..3).filter(|domain| self.snapshot.domains[*domain].is_some());
        let domains: Vec<_> = std::iter::once(None).chain(shared.map(Some)).collect();
        let n_sites = self.snapshot.sites.len();
        let mut n_free = vec![vec![0_u32; n_sites]; domains.len()];
        for site in &self.classes[class].sites {
            let n_here = number(self.free_at(class, *site).len());
            for (level, domain) in domains.iter().enumerate() {
                let at = &self.snapshot.sites[*site as usize].domains;
                n_free[level][domain.map_or(*site, |domain| at[domain]) as usize] += n_here;
            }
        }
        let level = |(domain, n_free): (Option<usize>, Vec<u32>)| {
            let by_n_free = n_free.iter().zip(0..).filter(|(n_free, _)| **n_free > 0);
            Level { domain, by_n_free: by_n_free.map(|(n_free, group)| (*n_free, group)).collect(), n_free }
        };
        self.classes[class].levels = domains.into_iter().zip(n_free).map(level).collect();
    }
}

impl Class<'_> {
    /// The fullest of the narrowest domains that hold so many, or the emptiest of the widest; by kind and number.
    fn tightest(&self, n_ranks: usize) -> Option<(Option<usize>, u32)> {
        let least = (number(n_ranks), 0);
        let holds_all = self
            .levels
            .iter()
            .find_map(|level| level.by_n_free.range(least..).next().map(|(_, group)| (level.domain, *group)));
        let emptiest = || {
            let widest = self.levels.last()?;
            let (most, _) = widest.by_n_free.last()?;
            widest.by_n_free.range((*most, 0)..).next().map(|(_, group)| (widest.domain, *group))
        };
        holds_all.or_else(emptiest)
    }

    /// Takes in one of its devices.
    fn count(&mut self, standing: Standing) {
        match standing {
            Standing::Free => self.n_free += 1,
            Standing::Taken => {}
            Standing::Kept(keeper) => {
                let keeper = keeper as usize;
                self.kept_for = Some(self.kept_for.map_or(keeper, |first| first.min(keeper)));
            }
        }
    }

    fn subtract(&mut self, site: u32, domains: &[u32; 3], n_gone: usize) {
        self.n_free -= n_gone;
        for level in &mut self.levels {
            let group = level.domain.map_or(site, |domain| domains[domain]);
            let n_free = &mut level.n_free[group as usize];
            level.by_n_free.remove(&(*n_free, group));
            *n_free -= number(n_gone);
            if *n_free > 0 {
                level.by_n_free.insert((*n_free, group));
            }
        }
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("fewer devices than four billion")
}
