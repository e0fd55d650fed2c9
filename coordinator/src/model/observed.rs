//! What agents last said. Not journaled: a restart begins without it.

use std::{collections::BTreeMap, time::Duration};

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
    contacts: BTreeMap<NodeId, Contact>,
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

#[derive(Clone, Debug)]
struct JobProgress {
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
                let incarnation = Incarnation::new(report.incarnation.as_str());
                for rank in report.ranks.iter().filter(|rank| member(state, &incarnation, rank).is_some()) {
                    self.note_progress(now, rank);
                }
                let node_id = NodeId::new(report.node_id.as_str());
                let contact = Contact { last_report: now, is_connected: true, report: *report };
                self.contacts.insert(node_id, contact);
            }
            Observation::Disconnected(node_id) => {
                if let Some(contact) = self.contacts.get_mut(&node_id) {
                    contact.is_connected = false;
                }
            }
            Observation::HeldUp(duration) => {
                self.since = self.since.plus(duration);
                for contact in self.contacts.values_mut() {
                    contact.last_report = contact.last_report.plus(duration);
                }
            }
        }
    }

    pub(super) fn forget(&mut self, node_id: &NodeId) {
        self.contacts.remove(node_id);
    }

    pub(super) fn contact(&self, node_id: &NodeId) -> Option<&Contact> {
        self.contacts.get(node_id)
    }

    pub(super) fn contacts(&self) -> impl Iterator<Item = (&NodeId, &Contact)> {
        self.contacts.iter()
    }

    /// How long the node has been silent.
    pub(super) fn silence(&self, now: Timestamp, node_id: &NodeId) -> Duration {
        now.since(self.contact(node_id).map_or(self.since, |contact| contact.last_report))
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
        let (job_id, generation) = (JobId::new(rank.job_id.as_str()), Generation(rank.generation));
        let heard = Reached { step: Step(said.step), at: now };
        let known = self.reached(&job_id, generation);
        let reached = known.filter(|known| known.step >= heard.step).unwrap_or(heard);
        let newest = match self.progress.remove(&job_id) {
            Some(older) if rank.rank != 0 => older.newest,
            _ => said.clone(),
        };
        self.progress.insert(job_id, JobProgress { generation, reached, newest });
    }
}

impl Contact {
    /// The life of the agent that reported.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation::new(self.report.incarnation.as_str())
    }

    /// What it says of itself.
    pub fn description(&self) -> NodeDescription {
        NodeDescription {
            incarnation: self.incarnation(),
            name: self.report.node_name.clone(),
            agent_version: self.report.agent_version.clone(),
            data_address: self.report.data_address.clone(),
            devices: self.report.devices.iter().cloned().map(Wire).collect(),
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
    pub(super) fn has_stray_rank(&self, node_id: &NodeId) -> bool {
        let Some(contact) = self.observed.contact(node_id) else { return false };
        contact
            .report
            .ranks
            .iter()
            .filter(|rank| is_running(rank))
            .any(|rank| !self.is_expected(contact, rank))
    }

    fn is_expected(&self, contact: &Contact, rank: &v1::ObservedRank) -> bool {
        let job = self.state.job(&rank.job_id.as_str().into());
        if job.is_some_and(|job| is_joiner(job, contact, rank)) {
            return true;
        }
        member(&self.state, &contact.incarnation(), rank).is_some_and(|member| member.ended.is_none())
    }
}

/// The rank of a job's newest generation that an agent speaks of; none where it has no such rank, in this life.
fn member<'a>(state: &'a State, incarnation: &Incarnation, rank: &v1::ObservedRank) -> Option<&'a Member> {
    let live = state.job(&rank.job_id.as_str().into())?.live.as_ref()?;
    let member = live.members.get(rank.rank as usize)?;
    let is_own = live.generation.0 == rank.generation && member.placement.incarnation == *incarnation;
    is_own.then_some(member)
}

fn is_joiner(job: &Job, contact: &Contact, rank: &v1::ObservedRank) -> bool {
    let is_of_it = job.joining.as_ref().is_some_and(|joining| joining.generation.0 == rank.generation);
    is_of_it
        && job.joiners().any(|(number, it)| number.0 == rank.rank && it.incarnation == contact.incarnation())
}

fn is_running(rank: &v1::ObservedRank) -> bool {
    use v1::RankState::{Meeting, Parted, Starting, Stopping, Training};
    matches!(rank.state(), Starting | Meeting | Training | Stopping | Parted)
}
