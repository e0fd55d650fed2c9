//! What the coordinator's own log says of changes.

use tracing::{debug, info, warn};

use crate::model::{Change, JobChange, NodeChange, Outcome, access::AccessChange};

/// Logs a change that was stored.
pub(super) fn note(change: &Change) {
    match change {
        Change::Job { job_id, change, .. } => note_job(job_id.as_str(), change),
        Change::Node { node_id, change, .. } => note_node(node_id.as_str(), change),
        Change::Access { change, .. } => note_access(change),
    }
}

fn note_node(node_id: &str, change: &NodeChange) {
    match change {
        NodeChange::Described(node) => {
            info!(node_id, name = node.name, devices = node.devices.len(), "node described");
        }
        NodeChange::Forgotten => info!(node_id, "node forgotten"),
        NodeChange::Lost => info!(node_id, "node lost"),
        NodeChange::Returned => info!(node_id, "node returned"),
        NodeChange::Cordoned { reason, drains } => info!(node_id, reason, drains, "node cordoned"),
        NodeChange::Uncordoned => info!(node_id, "node uncordoned"),
        NodeChange::Faulted { job_id, generation } => {
            debug!(node_id, %job_id, generation = generation.0, "node at fault");
        }
        NodeChange::Quarantined { reason, .. } => warn!(node_id, reason, "node in quarantine"),
    }
}

fn note_access(change: &AccessChange) {
    match change {
        AccessChange::Created { id, token } => {
            info!(token_id = id, name = token.name, role = %token.role, project = token.project, "token created");
        }
        AccessChange::Revoked { id } => info!(token_id = id, "token revoked"),
        AccessChange::Invited { id, .. } => info!(token_id = id, "join token created"),
        AccessChange::Joined { id, node_id, .. } => info!(token_id = id, %node_id, "node joined"),
        AccessChange::Expelled { node_id } => info!(%node_id, "node expelled"),
    }
}

fn note_job(job_id: &str, change: &JobChange) {
    match change {
        JobChange::Accepted { submission, .. } => {
            info!(job_id, name = submission.name, world_size = submission.world_size.0, "job accepted");
        }
        JobChange::Waits { reason } => info!(job_id, reason, "job waits"),
        JobChange::Placed { generation, placements, .. } => {
            info!(job_id, generation = generation.0, world_size = placements.len(), "generation placed");
        }
        JobChange::Joins { generation, placements } => {
            info!(job_id, generation = generation.0, n_ranks = placements.len(), "more ranks start");
        }
        JobChange::JoinEnds { reason } => warn!(job_id, error = reason, "more ranks could not join"),
        JobChange::Began { generation, step } => {
            info!(job_id, generation = generation.0, step = step.0, "generation began");
        }
        JobChange::Runs => info!(job_id, "generation runs"),
        JobChange::RankEnded { rank, outcome } => note_end(job_id, rank.0, outcome),
        JobChange::CheckpointRecorded { checkpoint } => {
            info!(job_id, checkpoint_id = checkpoint.id, step = checkpoint.step, "checkpoint recorded");
        }
        JobChange::CheckpointPinned { checkpoint, is_pinned } => {
            info!(job_id, checkpoint_id = %checkpoint, is_pinned, "checkpoint pinned or let go");
        }
        JobChange::GenerationEnds { fault, reached, .. } => {
            warn!(job_id, step = reached.0, error = fault.message, "generation ends early");
        }
        JobChange::Sealed { generation, reached, .. } => {
            debug!(job_id, generation = generation.0, step = reached.0, "generation sealed");
        }
        JobChange::GivesWay { reason, .. } => info!(job_id, reason, "job gives way"),
        JobChange::GenerationOver => debug!(job_id, "generation is over"),
        JobChange::Updated { .. } => info!(job_id, "job updated"),
        JobChange::CancelRequested { reason } => info!(job_id, reason, "job cancelling"),
        JobChange::SuspendRequested { reason } => info!(job_id, reason, "job suspending"),
        JobChange::Suspended => info!(job_id, "job suspended"),
        JobChange::ResumeRequested => info!(job_id, "job resumed"),
        JobChange::Succeeded { .. } => info!(job_id, "job succeeded"),
        JobChange::Failed { failure } => warn!(job_id, error = failure.message, "job failed"),
        JobChange::Cancelled => info!(job_id, "job cancelled"),
        JobChange::Forgotten => info!(job_id, "job forgotten"),
    }
}

fn note_end(job_id: &str, rank: u32, outcome: &Outcome) {
    match outcome {
        Outcome::Finished { .. } => info!(job_id, rank, "rank finished"),
        Outcome::Stopped => info!(job_id, rank, "rank stopped"),
        Outcome::Failed { fault } => warn!(job_id, rank, error = fault.message, "rank failed"),
    }
}
