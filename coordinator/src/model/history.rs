//! What people are told of changes: one event of each that they want to know of.
//!
//! That a job waits, and why, is no event: it changes whenever the cluster does, and `ExplainJob` says it at any time. Ranks that
//! finish or stop as they were told to are none either: the job's own end is.

use kindred_proto::{
    ids::{JobId, NodeId},
    v1::{self, EventKind},
};

use super::{
    Change, Former, Job, JobChange, Model, Node, NodeChange, NodeDescription, Outcome, Submission, Timestamp,
    view::timestamp,
};

/// Nodes that a sentence names.
const MAX_NAMED: usize = 4;

impl Model {
    /// As [`Model::evolve`], and tells of the change: with neither its number nor who wished for it.
    pub fn evolve_and_tell(&mut self, change: &Change) -> (Former, Option<v1::Event>) {
        let told = match change {
            Change::Node { node_id, at, change } => {
                Some(tell_node(self.state().node(node_id), node_id, *at, change))
            }
            _ => None,
        };
        let former = self.evolve(change);
        let told = match change {
            Change::Job { job_id, at, change } => {
                self.job(job_id).ok().and_then(|job| tell_job(job, job_id, *at, change))
            }
            _ => told,
        };
        (former, told)
    }
}

/// Tells of a job as it is after the change.
fn tell_job(job: &Job, job_id: &JobId, at: Timestamp, change: &JobChange) -> Option<v1::Event> {
    let mut node_id = String::new();
    let (kind, message) = match change {
        JobChange::Accepted { submission, .. } => {
            (EventKind::JobSubmitted, format!("submitted: {}, {}", submission.name, terms(submission)))
        }
        JobChange::Placed { generation, placements, resume_from } => {
            let from = resume_from.as_ref().map(|id| format!(", from {id}")).unwrap_or_default();
            let mut names: Vec<&str> = placements.iter().map(|place| place.node_name.as_str()).collect();
            names.dedup();
            let n_more = names.len().saturating_sub(MAX_NAMED);
            names.truncate(MAX_NAMED);
            let more = if n_more > 0 { format!(" and {n_more} more") } else { String::new() };
            let (n_ranks, names) = (placements.len(), names.join(", "));
            let ranks = if n_ranks == 1 { "1 rank" } else { &format!("{n_ranks} ranks") };
            (EventKind::JobPlaced, format!("generation {generation} placed: {ranks} on {names}{more}{from}"))
        }
        JobChange::Runs => (EventKind::JobRuns, job.reason.clone()),
        JobChange::RankEnded { rank, outcome: Outcome::Failed { fault } } => {
            let member = job.live.as_ref().and_then(|live| live.members.get(rank.0 as usize));
            let place = member.map(|member| &member.placement);
            node_id = place.map(|place| place.node_id.to_string()).unwrap_or_default();
            let name = place.map(|place| format!(" on {}", place.node_name)).unwrap_or_default();
            (EventKind::RankFailed, format!("rank {rank}{name} failed: {}", fault.message))
        }
        JobChange::GenerationEnds { fault, reached, .. } => {
            let generation = job.generation;
            let message = format!("generation {generation} ends after step {reached}: {}", fault.message);
            (EventKind::GenerationEnded, message)
        }
        JobChange::GivesWay { reason, .. } => (EventKind::JobGivesWay, reason.clone()),
        JobChange::Joins { generation, placements } => {
            let message = format!("{} more start, for generation {generation}", placements.len());
            (EventKind::JobGrows, message)
        }
        JobChange::JoinEnds { reason } => {
            (EventKind::JobGrowthFailed, format!("more ranks could not join: {reason}"))
        }
        JobChange::CheckpointRecorded { checkpoint } => {
            node_id.clone_from(&checkpoint.node_id);
            (EventKind::CheckpointRecorded, format!("checkpoint {} recorded", checkpoint.id))
        }
        JobChange::CheckpointPinned { checkpoint, is_pinned: true } => {
            (EventKind::CheckpointPinned, format!("checkpoint {checkpoint} pinned"))
        }
        JobChange::CheckpointPinned { checkpoint, is_pinned: false } => {
            (EventKind::CheckpointUnpinned, format!("checkpoint {checkpoint} left to the job's policy"))
        }
        JobChange::Updated { submission, .. } => {
            (EventKind::JobUpdated, format!("updated: {}", terms(submission)))
        }
        JobChange::SuspendRequested { .. } => (EventKind::JobSuspending, job.reason.clone()),
        JobChange::Suspended => (EventKind::JobSuspended, "suspended: all ranks are gone".to_owned()),
        JobChange::ResumeRequested => (EventKind::JobResumed, job.reason.clone()),
        JobChange::CancelRequested { .. } => (EventKind::JobCancelling, job.reason.clone()),
        JobChange::Cancelled => (EventKind::JobCancelled, "cancelled: all ranks are gone".to_owned()),
        JobChange::Succeeded { .. } => (EventKind::JobSucceeded, job.reason.clone()),
        JobChange::Failed { failure } => (EventKind::JobFailed, format!("failed: {}", failure.message)),
        JobChange::Waits { .. }
        | JobChange::Began { .. }
        | JobChange::Sealed { .. }
        | JobChange::GenerationOver
        | JobChange::RankEnded { .. }
        | JobChange::Forgotten => return None,
    };
    Some(v1::Event {
        time: Some(timestamp(at)),
        job_id: job_id.to_string(),
        node_id,
        generation: job.generation.0,
        kind: kind.into(),
        message,
        project: job.project().to_owned(),
        ..Default::default()
    })
}

/// Tells of a node as it was before the change.
fn tell_node(known: Option<&Node>, node_id: &NodeId, at: Timestamp, change: &NodeChange) -> v1::Event {
    let name = known.map_or(node_id.as_str(), Node::name);
    let mut generation = 0;
    let (kind, message) = match change {
        NodeChange::Described(description) => described(known, node_id, description),
        NodeChange::Lost => (EventKind::NodeLost, format!("{name} is lost: it sends no reports")),
        NodeChange::Returned => (EventKind::NodeReturned, format!("{name} is back")),
        NodeChange::Forgotten => {
            (EventKind::NodeForgotten, format!("{name} is forgotten: it was lost long ago"))
        }
        NodeChange::Cordoned { reason, drains } => {
            let (kind, what) = match drains {
                true => (EventKind::NodeDrained, "is drained"),
                false => (EventKind::NodeCordoned, "is cordoned"),
            };
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            (kind, format!("{name} {what}{why}"))
        }
        NodeChange::Uncordoned => (EventKind::NodeUncordoned, format!("{name} may have ranks again")),
        NodeChange::Faulted { job_id, generation: ended } => {
            generation = ended.0;
            (EventKind::NodeFaulted, format!("{name} ended generation {ended} of {job_id}"))
        }
        NodeChange::Quarantined { reason, .. } => {
            (EventKind::NodeQuarantined, format!("{name} is in quarantine: {reason}"))
        }
    };
    v1::Event {
        time: Some(timestamp(at)),
        // Also where a job is named: who may see all jobs of a node's may see it.
        node_id: node_id.to_string(),
        generation,
        kind: kind.into(),
        message,
        ..Default::default()
    }
}

fn described(known: Option<&Node>, node_id: &NodeId, description: &NodeDescription) -> (EventKind, String) {
    let name = if description.name.is_empty() { node_id.as_str() } else { &description.name };
    match known {
        None => (EventKind::NodeJoined, format!("{name} joined with {} devices", description.devices.len())),
        Some(known) if known.description.incarnation != description.incarnation => {
            (EventKind::NodeChanged, format!("the agent of {name} started anew"))
        }
        Some(_) => {
            let n_devices = description.devices.len();
            (EventKind::NodeChanged, format!("{name} says something else of itself: {n_devices} devices"))
        }
    }
}

/// What users may change of a job.
fn terms(submission: &Submission) -> String {
    let (least, most) = (submission.fewest(), submission.sizes().next().unwrap_or(1));
    let ranks = match (least, most) {
        (1, 1) => "1 rank".to_owned(),
        (least, most) if least == most => format!("{most} ranks"),
        (least, most) => format!("{least} to {most} ranks"),
    };
    let (queue, priority) = (&submission.scheduling.queue, submission.scheduling.priority);
    format!("{ranks}, queue {queue}, priority {priority}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Rules, State};

    #[test]
    fn a_node_is_told_of_as_it_was() {
        let rules = Rules::new(std::time::Duration::from_secs(10));
        let mut model = Model::new(State::default(), rules, Timestamp(0));
        let description = NodeDescription {
            incarnation: "life-1".into(),
            name: "gpu-7".to_owned(),
            agent_version: String::new(),
            data_address: String::new(),
            devices: vec![],
            labels: Default::default(),
            jobs_folder: String::new(),
        };
        let again = NodeDescription { incarnation: "life-2".into(), ..description.clone() };
        for (change, kind, message) in [
            (NodeChange::Described(description), EventKind::NodeJoined, "gpu-7 joined with 0 devices"),
            (NodeChange::Described(again), EventKind::NodeChanged, "the agent of gpu-7 started anew"),
            (
                NodeChange::Cordoned { reason: "new fan".to_owned(), drains: true },
                EventKind::NodeDrained,
                "gpu-7 is drained: new fan",
            ),
            (NodeChange::Lost, EventKind::NodeLost, "gpu-7 is lost: it sends no reports"),
            (NodeChange::Forgotten, EventKind::NodeForgotten, "gpu-7 is forgotten: it was lost long ago"),
        ] {
            let change = Change::node(&"node-7".into(), Timestamp(1_500), change);
            let event = model.evolve_and_tell(&change).1.expect("people want to know it");
            assert_eq!((event.kind(), event.message.as_str()), (kind, message));
            assert_eq!(event.time, Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }));
        }
    }
}
