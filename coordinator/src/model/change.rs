//! Changes: what the journal holds, and nothing else changes the state.
//!
//! They are stored as JSON. A field may be added when it has `#[serde(default)]`; a variant or field that was ever
//! released keeps its name.

use kindred_proto::{
    ids::{CheckpointId, Generation, Incarnation, JobId, NodeId, Rank, Step, WorldSize},
    job_spec::{AnySpec, DeviceKind},
    v1,
};
use serde::{Deserialize, Serialize};

use super::{NodeDescription, SchedulingTerms, Timestamp, Wire, access::AccessChange};

/// Something that happened to one job or one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// About a job.
    Job {
        /// Which job.
        job_id: JobId,
        /// When it was decided.
        at: Timestamp,
        /// What happened.
        change: JobChange,
    },
    /// About a node.
    Node {
        /// Which node.
        node_id: NodeId,
        /// When it was decided.
        at: Timestamp,
        /// What happened.
        change: NodeChange,
    },
    /// About who may call.
    Access {
        /// When it was decided.
        at: Timestamp,
        /// What happened.
        change: AccessChange,
    },
}

impl Change {
    /// A change of a job.
    pub fn job(job_id: &JobId, at: Timestamp, change: JobChange) -> Self {
        Self::Job { job_id: job_id.clone(), at, change }
    }

    /// A change of a node.
    pub fn node(node_id: &NodeId, at: Timestamp, change: NodeChange) -> Self {
        Self::Node { node_id: node_id.clone(), at, change }
    }
}

/// What can happen to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum JobChange {
    /// A user submitted it.
    Accepted {
        /// The caller's id of the request; empty when there is none.
        request_id: String,
        /// What was asked for.
        submission: Box<Submission>,
    },
    /// It waits for devices, for another reason than before.
    Waits {
        /// The sentence that placement gave.
        reason: String,
    },
    /// A generation opened.
    Placed {
        /// Its number, greater than all before.
        generation: Generation,
        /// Where each rank runs, by rank.
        placements: Vec<Placement>,
        /// The checkpoint that it starts from.
        resume_from: Option<CheckpointId>,
    },
    /// More ranks start, for the next generation, while the live one goes on.
    Joins {
        /// That generation's number, greater than all before.
        generation: Generation,
        /// Where each of them runs, by rank from the size of the live generation on.
        placements: Vec<Placement>,
    },
    /// They do not come.
    JoinEnds {
        /// Why, in words.
        reason: String,
    },
    /// The ranks of the live generation have met: all later steps are its own.
    Began {
        /// Which generation.
        generation: Generation,
        /// Steps that had been taken.
        step: Step,
    },
    /// All ranks of the live generation train.
    Runs,
    /// A rank of the newest generation is gone.
    RankEnded {
        /// Which rank.
        rank: Rank,
        /// How it ended.
        outcome: Outcome,
    },
    /// A rank of the newest generation committed a checkpoint.
    CheckpointRecorded {
        /// The checkpoint.
        checkpoint: Wire<v1::Checkpoint>,
    },
    /// A user wants a checkpoint kept, or leaves it to the job's policy again.
    CheckpointPinned {
        /// Which one.
        checkpoint: CheckpointId,
        /// Whether it is kept.
        is_pinned: bool,
    },
    /// The live generation ends early; its ranks are ordered to stop.
    GenerationEnds {
        /// Why.
        fault: Wire<v1::Failure>,
        /// Which budget pays for it.
        charge: Charge,
        /// The last step that the generation is known to have taken.
        reached: Step,
    },
    /// The newest generation is over, or another takes its place: it can write nothing any more.
    Sealed {
        /// Which generation.
        generation: Generation,
        /// The last step that it is known to have taken.
        reached: Step,
        /// When that was heard of.
        heard_at: Timestamp,
    },
    /// All ranks of the ended generation are gone.
    GenerationOver,
    /// Its ranks write a checkpoint and stop, at the cost of no budget: its devices are for another job, or its node is drained.
    GivesWay {
        /// Why, in words.
        reason: String,
        /// The job of higher priority; none where a node is drained.
        to: Option<JobId>,
        /// True when it goes on at once with fewer ranks; else it waits for its turn again.
        shrinks: bool,
    },
    /// A user asked for its end.
    CancelRequested {
        /// The user's words; may be empty.
        reason: String,
    },
    /// A user asked for a pause: its ranks write a checkpoint and stop.
    SuspendRequested {
        /// The user's words; may be empty.
        reason: String,
    },
    /// All ranks are gone, until a user resumes it.
    Suspended,
    /// A user asked for it to go on.
    ResumeRequested,
    /// A user changed what may change of it.
    Updated {
        /// The caller's id of the request; empty when there is none.
        request_id: String,
        /// What the job is now.
        submission: Box<Submission>,
    },
    /// All ranks finished.
    Succeeded {
        /// What it leaves.
        result: Wire<v1::JobResult>,
    },
    /// A fault ended it.
    Failed {
        /// Why.
        failure: Wire<v1::Failure>,
    },
    /// All ranks are gone, as the user asked.
    Cancelled,
    /// It was over long ago: nothing of it is known any more.
    Forgotten,
}

/// What can happen to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NodeChange {
    /// It joined, or something about it changed.
    Described(NodeDescription),
    /// It was lost long ago and holds nothing.
    Forgotten,
    /// It has been silent for longer than its lease.
    Lost,
    /// It was lost, and reports again.
    Returned,
    /// An operator wants no new ranks on it.
    Cordoned {
        /// The operator's words; may be empty.
        reason: String,
        /// Whether those that it has go elsewhere.
        drains: bool,
    },
    /// It may have ranks again, whatever it did.
    Uncordoned,
    /// A rank on it ended by the fault of the node, as far as can be told.
    Faulted {
        /// The rank's job.
        job_id: JobId,
        /// The rank's generation.
        generation: Generation,
    },
    /// It had too many faults lately, and gets no new ranks for a while.
    Quarantined {
        /// Until when.
        until: Timestamp,
        /// What it did, in words.
        reason: String,
    },
}

/// Which retry budget pays for a generation that ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Charge {
    /// The user's own errors.
    User,
    /// Ranks, nodes and links that were lost.
    Infrastructure,
    /// None: a worker was asked to stop, as for an upgrade or when others take its node.
    Nobody,
}

/// A checked submission: what decisions read, and the spec as ranks get it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// A label for people.
    pub name: String,
    /// How many ranks.
    pub world_size: WorldSize,
    /// The numbers of ranks that it may run with, fewest first; empty in journals that are older than a choice.
    #[serde(default)]
    pub world_sizes: Vec<WorldSize>,
    /// Whether each rank needs a GPU.
    pub needs_gpu: bool,
    /// The user's own errors that are forgiven.
    pub user_failures: u32,
    /// Lost ranks, nodes and links that are forgiven.
    pub infrastructure_failures: u32,
    /// Generations in a row without a new step that are forgiven.
    pub no_progress: u32,
    /// The spec with every default filled in.
    pub spec: Wire<v1::JobSpec>,
    /// The checkpoint of another job that it starts from.
    #[serde(default)]
    pub fork_of: Option<Wire<v1::Checkpoint>>,
    /// What it asks of the scheduler.
    #[serde(default)]
    pub scheduling: SchedulingTerms,
}

impl Submission {
    /// Takes over a checked spec.
    pub fn new(spec: &AnySpec) -> Self {
        let terms = spec.terms();
        Self {
            name: terms.name.clone(),
            world_size: terms.ranks,
            world_sizes: spec.world_sizes(),
            needs_gpu: terms.device == DeviceKind::Cuda,
            user_failures: terms.retry.user_failures,
            infrastructure_failures: terms.retry.infrastructure_failures,
            no_progress: terms.retry.no_progress,
            spec: Wire(spec.to_wire()),
            fork_of: None,
            scheduling: SchedulingTerms::from(&terms.scheduling),
        }
    }

    /// The numbers of ranks that it may run with, most first.
    pub fn sizes(&self) -> impl Iterator<Item = usize> + Clone {
        let only = self.world_sizes.is_empty().then_some(self.world_size);
        self.world_sizes.iter().rev().copied().chain(only).map(|size| size.0 as usize)
    }

    /// Fewest ranks that it goes on with.
    pub fn fewest(&self) -> usize {
        self.sizes().last().unwrap_or(1)
    }

    /// The kind of device that each rank needs, as on the wire.
    pub fn device_kind(&self) -> v1::DeviceKind {
        if self.needs_gpu { v1::DeviceKind::Cuda } else { v1::DeviceKind::Cpu }
    }
}

/// One rank's place: a device of one life of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The node.
    pub node_id: NodeId,
    /// The life of its agent; ranks of another life are gone.
    pub incarnation: Incarnation,
    /// The node's name, for people.
    pub node_name: String,
    /// The device on that node.
    pub device_index: u32,
}

/// How a rank ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It did all steps and wrote everything.
    Finished {
        /// What the job leaves; from rank 0 only.
        result: Option<Wire<v1::JobResult>>,
    },
    /// It stopped as it was ordered to.
    Stopped,
    /// It met a fault, or nobody knows what became of it.
    Failed {
        /// Why.
        fault: Wire<v1::Failure>,
    },
}
