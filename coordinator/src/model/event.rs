//! What reaches the model: wishes of users, words of agents, the passing of time.

use std::time::Duration;

use kindred_proto::{
    ids::{CheckpointId, JobId, NodeId},
    v1,
};

use super::{Change, Cordon, Submission, Update, access::AccessEvent};

/// Something that [`super::Model::decide`] answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A user submits a job.
    Submitted {
        /// Makes a repeated call safe; empty for none.
        request_id: String,
        /// The checked spec.
        submission: Box<Submission>,
        /// The checkpoint of another job to start from.
        fork: Option<Fork>,
    },
    /// A user cancels a job.
    CancelRequested {
        /// Which job.
        job_id: JobId,
        /// The user's words; may be empty.
        reason: String,
    },
    /// A user pauses a job.
    SuspendRequested {
        /// Which job.
        job_id: JobId,
        /// The user's words; may be empty.
        reason: String,
    },
    /// A user lets a suspended job go on.
    ResumeRequested {
        /// Which job.
        job_id: JobId,
    },
    /// A user changes a job.
    UpdateRequested(Update),
    /// A user wants a checkpoint kept, or leaves it to the job's policy again.
    PinRequested {
        /// Which job's.
        job_id: JobId,
        /// Which one.
        checkpoint: CheckpointId,
        /// Whether it is kept.
        is_pinned: bool,
    },
    /// An operator wants no new ranks on a node, or ranks again.
    CordonRequested {
        /// Which node.
        node_id: NodeId,
        /// How; none: it takes ranks again, whatever it did.
        cordon: Option<Cordon>,
    },
    /// A wish about who may call.
    Access(AccessEvent),
    /// Time passed, or something new was observed.
    Tick,
}

/// Where a job starts that does not start anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The other job.
    pub job_id: JobId,
    /// Which of its checkpoints; left out: the newest.
    pub checkpoint: Option<CheckpointId>,
}

/// What [`super::Model::decide`] answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What changes, in order; empty when all is as it should be.
    pub changes: Vec<Change>,
    /// The job that a user's event is about.
    pub job_id: Option<JobId>,
    /// Whether a tick asked who gets devices; it does so only when all else is decided.
    pub has_passed: bool,
}

/// What is heard of an agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// A report, without its telemetry.
    Reported(Box<v1::AgentReport>),
    /// The agent's stream is gone.
    Disconnected(NodeId),
    /// The coordinator itself was held up for so long: nobody's silence counts meanwhile.
    HeldUp(Duration),
}
