//! What can end a rank's work, and the failure that each of them is to the job.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kindred_bridge::ErrorKind;
use kindred_proto::{
    failure::{Failure, Reason},
    ids::{CheckpointId, NodeId, Step},
};

use crate::{checkpoint, eval, export, methods};

/// Why a rank cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spec that came with the order.
    #[error(transparent)]
    Spec(#[from] kindred_proto::job_spec::SpecError),
    /// Agent and rank were not built together.
    #[error("the agent is version {agent}, this rank is {rank}")]
    Version {
        /// The agent's.
        agent: String,
        /// This program's.
        rank: &'static str,
    },
    /// The device.
    #[error("{0}")]
    Device(String),
    /// The images.
    #[error(transparent)]
    Data(#[from] kindred_data::Error),
    /// The networks.
    #[error(transparent)]
    Method(#[from] methods::Error),
    /// The ranks did not come together.
    #[error("ranks did not meet: {0}")]
    Meeting(kindred_bridge::Error),
    /// The other ranks, while training.
    #[error(transparent)]
    Peers(#[from] kindred_bridge::Error),
    /// Two nodes hold different data under the same path.
    #[error("data differ between nodes {first} and {second}: {difference}")]
    DataDiffers {
        /// A node.
        first: NodeId,
        /// The other one.
        second: NodeId,
        /// What it is, with the name of the first such file.
        difference: String,
        /// That file.
        file: String,
    },
    /// Ranks that must agree do not.
    #[error("ranks 0 and {rank} differ in {what} after step {step}")]
    StateDiffers {
        /// The first rank that differs from rank 0.
        rank: u32,
        /// The first tensor that differs, or `recipe`.
        what: String,
        /// Steps taken.
        step: Step,
    },
    /// This rank holds another state than most of its peers.
    #[error(
        "rank {rank} holds another {what} than {n_peers} of {world_size} ranks after step {step}: its device or its memory fails"
    )]
    StateCorrupt {
        /// This rank.
        rank: u32,
        /// The first tensor that differs.
        what: String,
        /// Steps taken.
        step: Step,
        /// How many ranks hold the same as one another.
        n_peers: usize,
        /// All ranks.
        world_size: usize,
    },
    /// The job was here before, and nothing of it is left.
    #[error(
        "checkpoint {id} of the job cannot be read on any of its nodes{}; it was written to {path} on node {node_id}",
        url.as_ref().map(|url| format!(" nor at {url}")).unwrap_or_default()
    )]
    NothingToResume {
        /// The newest checkpoint that was recorded.
        id: CheckpointId,
        /// Its folder.
        path: String,
        /// The node that wrote it.
        node_id: String,
        /// Where it was in an object store, if it was in one.
        url: Option<String>,
    },
    /// A process of the first generation finds that a newer one has been here.
    #[error("checkpoint {id} of the job is here already: its first generation is over")]
    Superseded {
        /// The newest one.
        id: CheckpointId,
    },
    /// The loss is no number any more.
    #[error("loss is {loss} at step {step} with learning rate {lr}")]
    NotFinite {
        /// The first such step, counted from 1.
        step: Step,
        /// The learning rate of that step.
        lr: f64,
        /// The loss.
        loss: f64,
    },
    /// A step left something that no further step can start from.
    #[error("tensor {name} holds a value that is not finite after step {step}")]
    StateNotFinite {
        /// The first such tensor.
        name: String,
        /// Steps taken.
        step: Step,
    },
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// A measurement.
    #[error(transparent)]
    Eval(#[from] eval::Error),
    /// The encoder's files.
    #[error(transparent)]
    Export(#[from] export::Error),
    /// The files of an encoder that is measured.
    #[error(transparent)]
    Encoder(#[from] export::ReadError),
    /// The system gives no thread to write checkpoints on.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A tensor operation.
    #[error(transparent)]
    Tensor(#[from] tch::TchError),
    /// A panic: libtorch's words when it came out of tensor algebra, a fault of Kindred otherwise.
    #[error("{0}")]
    Panicked(String),
}

/// Runs a rank's work; a panic in it is an error like the others.
///
/// # Errors
/// What `work` gives.
pub fn catch<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Error::Panicked(text.unwrap_or_else(|| "a panic without words".into())))
    })
}

impl Error {
    /// Whether it only says that other ranks are gone: this rank's own state is that of a step boundary.
    pub fn is_about_peers(&self) -> bool {
        matches!(self, Self::Peers(_) | Self::Meeting(_) | Self::Eval(eval::Error::Collective(_)))
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let failure = Self::new(reason(error), error.to_string());
        match subject(error) {
            Some(subject) => failure.about(subject),
            None => failure,
        }
    }
}

fn reason(error: &Error) -> Reason {
    match error {
        Error::Spec(_) => Reason::SpecInvalid,
        Error::Version { .. } => Reason::ProtocolVersionUnsupported,
        Error::Device(_) | Error::Method(methods::Error::Device { .. }) => Reason::DeviceUnavailable,
        Error::Method(methods::Error::Unlabelled(_)) => Reason::DataInvalid,
        Error::Data(error) | Error::Eval(eval::Error::Data(error)) => data_reason(error),
        Error::Meeting(error) => meeting_reason(error.kind),
        Error::Peers(error) | Error::Eval(eval::Error::Collective(error)) => peers_reason(error.kind),
        Error::DataDiffers { .. } => Reason::DataDiffers,
        Error::StateDiffers { .. } => Reason::StateDiffers,
        Error::StateCorrupt { .. } => Reason::StateCorrupt,
        Error::NothingToResume { .. } => Reason::CheckpointUnreadable,
        Error::Superseded { .. } => Reason::StaleGeneration,
        Error::NotFinite { .. } | Error::StateNotFinite { .. } => Reason::NotFinite,
        Error::Checkpoint(error) | Error::Export(export::Error(error)) => checkpoint_reason(error),
        Error::Encoder(export::ReadError::NotFound { .. }) => Reason::DataNotFound,
        Error::Encoder(export::ReadError::Invalid { .. }) => Reason::DataInvalid,
        Error::Tensor(error) => text_reason(&error.to_string()),
        Error::Panicked(text) => text_reason(text),
        Error::Eval(eval::Error::Unfit(_)) => Reason::SpecInvalid,
        Error::Eval(eval::Error::Stopped) => Reason::Cancelled,
        Error::Eval(eval::Error::Solver(_)) | Error::Thread(_) => Reason::Internal,
    }
}

fn data_reason(error: &kindred_data::Error) -> Reason {
    match error {
        kindred_data::Error::NotFound { .. } => Reason::DataNotFound,
        kindred_data::Error::Invalid { .. } | kindred_data::Error::Io { .. } => Reason::DataInvalid,
        kindred_data::Error::Store(error) => store_reason(error),
        kindred_data::Error::Config(_) => Reason::SpecInvalid,
        kindred_data::Error::Panicked { .. } | kindred_data::Error::Closed => Reason::Internal,
    }
}

/// What is away may come back; the rest is for a user.
fn store_reason(error: &kindred_store::Error) -> Reason {
    use kindred_store::Error;
    match error {
        Error::Away { .. } => Reason::Unreachable,
        Error::Missing { .. } | Error::Denied { .. } | Error::Url { .. } => Reason::DataNotFound,
        Error::Taken { .. } | Error::Damaged { .. } | Error::File { .. } => Reason::DataInvalid,
    }
}

fn meeting_reason(kind: ErrorKind) -> Reason {
    match kind {
        ErrorKind::Timeout => Reason::MeetingTimeout,
        ErrorKind::Other => Reason::Unreachable,
        kind => peers_reason(kind),
    }
}

fn peers_reason(kind: ErrorKind) -> Reason {
    match kind {
        ErrorKind::Timeout | ErrorKind::PeerLost => Reason::PeerLost,
        ErrorKind::OutOfMemory => Reason::OutOfMemory,
        ErrorKind::Unavailable => Reason::DeviceUnavailable,
        ErrorKind::Other => Reason::Internal,
    }
}

fn checkpoint_reason(error: &checkpoint::Error) -> Reason {
    match error {
        checkpoint::Error::DiskFull { .. } => Reason::DiskFull,
        checkpoint::Error::Foreign { .. } | checkpoint::Error::Unreadable { .. } => {
            Reason::CheckpointUnreadable
        }
        checkpoint::Error::Io { .. } | checkpoint::Error::Tensor { .. } => Reason::Internal,
        checkpoint::Error::Store(error) if error.is_away() => Reason::Unreachable,
        checkpoint::Error::Store(_) => Reason::CheckpointUnreadable,
    }
}

/// libtorch has one error for everything, so its words decide.
fn text_reason(text: &str) -> Reason {
    let text = text.to_lowercase();
    if text.contains("out of memory") || text.contains("can't allocate memory") {
        Reason::OutOfMemory
    } else {
        Reason::Internal
    }
}

/// The field or the file that must change.
fn subject(error: &Error) -> Option<String> {
    let path = match error {
        Error::Spec(error) => return error.violations.first().map(|violation| violation.field.clone()),
        Error::NotFinite { .. } | Error::StateNotFinite { .. } => {
            return Some("recipe.optimizer".into());
        }
        Error::DataDiffers { file, .. } => return Some(file.clone()),
        Error::NothingToResume { path, url, .. } => return Some(url.as_ref().unwrap_or(path).clone()),
        Error::Data(error) | Error::Eval(eval::Error::Data(error)) => error.path(),
        Error::Checkpoint(error) | Error::Export(export::Error(error)) => error.path(),
        Error::Encoder(error) => Some(error.path()),
        _ => None,
    };
    path.map(|path| path.display().to_string())
}
