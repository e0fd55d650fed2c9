//! What the coordinator's own log says of changes.

use tracing::{debug, info, warn};

use crate::model::{Change, JobChange, NodeChange, Outcome};

/// Logs a change that was stored.
pub(super) fn note(change: &Change) {
    match change {
        Change::Job { job_id, change, .. } => note_job(job_id.as_str(), change),
        Change::Node { node_id, change: NodeChange::Described(node), .. } => {
            info!(%node_id, name = node.name, devices = node.devices.len(), "node described");
        }
        Change::Node { node_id, change: NodeChange::Forgotten, .. } => info!(%node_id, "node forgotten"),
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
        JobChange::GenerationOver => debug!(job_id, "generation is over"),
        JobChange::CancelRequested { reason } => info!(job_id, reason, "job cancelling"),
        JobChange::SuspendRequested { reason } => info!(job_id, reason, "job suspending"),
        JobChange::Suspended => info!(job_id, "job suspended"),
        JobChange::ResumeRequested => info!(job_id, "job resumed"),
        JobChange::Succeeded { .. } => info!(job_id, "job succeeded"),
        JobChange::Failed { failure } => warn!(job_id, error = failure.message, "job failed"),
        JobChange::Cancelled => info!(job_id, "job cancelled"),
    }
}

fn note_end(job_id: &str, rank: u32, outcome: &Outcome) {
    match outcome {
        Outcome::Finished { .. } => info!(job_id, rank, "rank finished"),
        Outcome::Stopped => info!(job_id, rank, "rank stopped"),
        Outcome::Failed { fault } => warn!(job_id, rank, error = fault.message, "rank failed"),
    }
}
