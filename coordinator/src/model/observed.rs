//! What agents last said. Not journaled: a restart begins without it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kindred_proto::{
    ids::{Generation, Incarnation, JobId, NodeId, Rank, Step},
    v1,
};

use super::{Job, Member, Model, NodeDescription, Observation, Reached, State, Timestamp, Wire};

/// The newest report of each node, and what is left of older ones.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Since when this coordinator listens: nobody is lost before one lease from then.
    since: Timestamp,
    /// Shared, so that a copy is cheap.
    contacts: BTreeMap<NodeId, Arc<Contact>>,
    progress: BTreeMap<JobId, JobProgress>,
}

/// One agent as last heard.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    /// When it last reported.
    pub last_report: Timestamp,
    /// True while its stream is open.
    pub is_connected: bool,
    /// Its last report, without telemetry.
    pub report: v1::AgentReport,
}

/// How far a job is.
#[derive(Clone, Debug)]
pub(super) struct JobProgress {
    generation: Generation,
    reached: Reached,
    newest: v1::Progress,
}

impl Observed {
    pub(super) fn new(since: Timestamp) -> Self {
        Self { since, contacts: BTreeMap::new(), progress: BTreeMap::new() }
    }

    pub(super) fn observe(&mut self, now: Timestamp, observation: Observation, state: &State) {
        match observation {
            Observation::Reported(report) => {
                let said = |rank: &&v1::ObservedRank| {
                    rank.progress.is_some() && member(state, &report.incarnation, rank).is_some()
                };
                for rank in report.ranks.iter().filter(said) {
                    self.note_progress(now, rank);
                }
                let node_id = NodeId::new(report.node_id.as_str());
                let contact = Contact { last_report: now, is_connected: true, report: *report };
                self.contacts.insert(node_id, Arc::new(contact));
            }
            Observation::Disconnected(node_id) => {
                if let Some(contact) = self.contacts.get_mut(&node_id) {
                    Arc::make_mut(contact).is_connected = false;
                }
            }
            Observation::HeldUp(duration) => {
                self.since = self.since.plus(duration);
                for contact in self.contacts.values_mut() {
                    let contact = Arc::make_mut(contact);
                    contact.last_report = contact.last_report.plus(duration);
                }
            }
        }
    }

    /// Whether an observation says anything that scheduling reads: who is there, and which ranks are in which state.
    pub(super) fn is_news(&self, now: Timestamp, observation: &Observation, lease: Duration) -> bool {
        let Observation::Reported(report) = observation else { return true };
        let known = self.contact(&NodeId::new(report.node_id.as_str()));
        known.is_none_or(|known| {
            !known.is_connected || now.since(known.last_report) > lease || !are_alike(&known.report, report)
        })
    }

    pub(super) fn forget(&mut self, node_id: &NodeId) -> Option<Arc<Contact>> {
        self.contacts.remove(node_id)
    }

    pub(super) fn forget_job(&mut self, job_id: &JobId) -> Option<JobProgress> {
        self.progress.remove(job_id)
    }

    /// What was forgotten is known again.
    pub(super) fn recall(&mut self, node: Option<(NodeId, Arc<Contact>)>, job: Option<(JobId, JobProgress)>) {
        self.contacts.extend(node);
        self.progress.extend(job);
    }

    /// Since when this coordinator listens.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    pub(super) fn contact(&self, node_id: &NodeId) -> Option<&Contact> {
        self.contacts.get(node_id).map(Arc::as_ref)
    }

    pub(super) fn contacts(&self) -> impl Iterator<Item = (&NodeId, &Contact)> {
        self.contacts.iter().map(|(node_id, contact)| (node_id, contact.as_ref()))
    }

    /// How long the node has been silent.
    pub(super) fn silence(&self, now: Timestamp, node_id: &NodeId) -> Duration {
        self.silence_of(now, self.contact(node_id))
    }

    /// The same, of a node that was last heard so.
    pub(super) fn silence_of(&self, now: Timestamp, contact: Option<&Contact>) -> Duration {
        now.since(contact.map_or(self.since, |contact| contact.last_report))
    }

    /// The newest that the ranks of a job said.
    pub(super) fn progress(&self, job_id: &JobId) -> Option<&v1::Progress> {
        self.progress.get(job_id).map(|progress| &progress.newest)
    }

    /// How far a generation is known to have come, and when that was heard; none before it was heard of.
    pub(super) fn reached(&self, job_id: &JobId, generation: Generation) -> Option<Reached> {
        let progress = self.progress.get(job_id).filter(|progress| progress.generation == generation);
        progress.map(|progress| progress.reached)
    }

    /// Keeps rank 0's words, and the highest step of any rank, of a job's newest generation.
    fn note_progress(&mut self, now: Timestamp, rank: &v1::ObservedRank) {
        let Some(said) = &rank.progress else { return };
        let generation = Generation(rank.generation);
        let heard = Reached { step: Step(said.step), at: now };
        let job_id = JobId::new(rank.job_id.as_str());
        let Some(known) = self.progress.get_mut(&job_id) else {
            self.progress.insert(job_id, JobProgress { generation, reached: heard, newest: said.clone() });
            return;
        };
        if known.generation != generation || heard.step > known.reached.step {
            (known.generation, known.reached) = (generation, heard);
        }
        if rank.rank == 0 {
            known.newest = said.clone();
        }
    }
}

impl Contact {
    /// The life of the agent that reported.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation::new(self.report.incarnation.as_str())
    }

    /// Whether it is of this life.
    pub fn is_of(&self, incarnation: &Incarnation) -> bool {
        self.report.incarnation == incarnation.as_str()
    }

    /// What it says of itself.
    pub fn description(&self) -> NodeDescription {
        NodeDescription {
            incarnation: self.incarnation(),
            name: self.report.node_name.clone(),
            agent_version: self.report.agent_version.clone(),
            data_address: self.report.data_address.clone(),
            devices: self.report.devices.iter().cloned().map(Wire).collect(),
            labels: self.report.labels.clone().into_iter().collect(),
            jobs_folder: self.report.jobs_folder.clone(),
        }
    }

    /// What it says of one rank.
    pub fn rank(&self, job_id: &JobId, generation: Generation, rank: Rank) -> Option<&v1::ObservedRank> {
        self.report.ranks.iter().find(|seen| {
            seen.rank == rank.0 && seen.generation == generation.0 && seen.job_id == job_id.as_str()
        })
    }
}

impl Model {
    /// True when a node still runs a rank that no generation expects there.
    pub(super) fn has_stray_rank(&self, contact: &Contact) -> bool {
        contact
            .report
            .ranks
            .iter()
            .filter(|rank| is_running(rank))
            .any(|rank| !self.is_expected(contact, rank))
    }

    fn is_expected(&self, contact: &Contact, rank: &v1::ObservedRank) -> bool {
        let job = self.state.job_named(&rank.job_id);
        if job.is_some_and(|job| is_joiner(job, contact, rank)) {
            return true;
        }
        member(&self.state, &contact.report.incarnation, rank).is_some_and(|member| member.ended.is_none())
    }
}

/// The rank of a job's newest generation that an agent speaks of; none where it has no such rank, in this life.
fn member<'a>(state: &'a State, incarnation: &str, rank: &v1::ObservedRank) -> Option<&'a Member> {
    let live = state.job_named(&rank.job_id)?.live.as_ref()?;
    let member = live.members.get(rank.rank as usize)?;
    let is_own = live.generation.0 == rank.generation && member.placement.incarnation.as_str() == incarnation;
    is_own.then_some(member)
}

fn is_joiner(job: &Job, contact: &Contact, rank: &v1::ObservedRank) -> bool {
    let is_of_it = job.joining.as_ref().is_some_and(|joining| joining.generation.0 == rank.generation);
    is_of_it && job.joiners().any(|(number, it)| number.0 == rank.rank && contact.is_of(&it.incarnation))
}

fn is_running(rank: &v1::ObservedRank) -> bool {
    use v1::RankState::{Meeting, Parted, Starting, Stopping, Training};
    matches!(rank.state(), Starting | Meeting | Training | Stopping | Parted)
}

/// Whether two reports say the same of the node, and of which ranks there are in which state.
fn are_alike(older: &v1::AgentReport, newer: &v1::AgentReport) -> bool {
    let is_same_rank = |(older, newer): (&v1::ObservedRank, &v1::ObservedRank)| {
        (older.state, older.rank, older.generation, &older.job_id)
            == (newer.state, newer.rank, newer.generation, &newer.job_id)
    };
    (older.leaving, &older.incarnation) == (newer.leaving, &newer.incarnation)
        && older.ranks.len() == newer.ranks.len()
        && older.ranks.iter().zip(&newer.ranks).all(is_same_rank)
}
