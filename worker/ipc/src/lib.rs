//! The messages between an agent and one of its ranks, and their framing on a Unix socket.
//!
//! The agent listens on a socket in a folder of its own and names it in `KINDRED_AGENT_SOCKET`; the rank connects
//! and says [`FromRank::Hello`]; the agent answers with [`ToRank::Start`]. A frame is a big-endian `u32` length and
//! a postcard body. End of file on either side means that the other one is gone: the rank then exits at once.
//!
//! Non-goals: compatibility between versions (agent and rank are built and shipped together; `Hello` carries the
//! version, and a mismatch is refused), and anything about gRPC or tensors.

use std::{io, path::PathBuf};

use kindred_proto::ids::{CheckpointId, Generation, JobId, NodeId, Rank, Step, WorldSize};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

mod wire;

pub use wire::Wire;

/// Name of the environment variable that holds the path of the agent's socket.
pub const SOCKET_VARIABLE: &str = "KINDRED_AGENT_SOCKET";

/// The longest frame in bytes; a longer one is refused.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// What an agent tells its rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToRank {
    /// What to do; the first message, once.
    Start(Box<Start>),
    /// Stop at the next step boundary: write a checkpoint if asked to, say `Stopped`, exit.
    Stop {
        /// Whether a checkpoint is wanted.
        checkpoint: bool,
    },
    /// Meet the ranks of a newer generation and go on with the state that is there. The job is the same.
    Regroup(Box<Start>),
    /// The job's recorded checkpoints that stay; said whenever they change, to the rank that writes. What lies beside them
    /// and is not newer than the newest of them may go.
    Keep {
        /// Their ids.
        checkpoints: Vec<CheckpointId>,
    },
    /// Answer to [`FromRank::StoreCall`].
    StoreReply {
        /// The call that this answers.
        call: u64,
        /// What came of it.
        outcome: Result<StoreValue, StoreFault>,
    },
    /// Answer to [`FromRank::AskCommit`]; sent once the lease is valid, or the generation is known to be over.
    MayCommit {
        /// The checkpoint that was asked about.
        checkpoint: CheckpointId,
        /// Whether its manifest may be put in place.
        allowed: bool,
        /// For how long, in milliseconds from when this is read: a rank that is later asks again.
        for_ms: u64,
    },
}

/// Everything a rank needs to begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Version of the agent's build.
    pub version: String,
    /// The job.
    pub job_id: JobId,
    /// The set of ranks that this one belongs to.
    pub generation: Generation,
    /// Its number.
    pub rank: Rank,
    /// How many there are.
    pub world_size: WorldSize,
    /// The node.
    pub node_id: NodeId,
    /// Index of the device among those of its kind on the node.
    pub device_index: u32,
    /// What to train, every default filled in.
    pub spec: Wire<kindred_proto::v1::JobSpec>,
    /// Folder of the job on this node: `checkpoints/` and `encoder/` are below it.
    pub job_dir: PathBuf,
    /// Relative data paths are below this folder.
    pub data_root: PathBuf,
    /// IP address that the rank's process group listens on and tells the others.
    pub data_address: String,
    /// The checkpoint that the coordinator recorded last, if any.
    pub resume_from: Option<Wire<kindred_proto::v1::Checkpoint>>,
    /// How long the ranks may take to meet, in milliseconds.
    pub meeting_timeout_ms: u64,
    /// How long one collective operation may take, in milliseconds.
    pub collective_timeout_ms: u64,
    /// How long the rank keeps its state for the next generation once its peers are gone, in milliseconds.
    pub abort_grace_ms: u64,
    /// The rank says something at least this often, in milliseconds; [`FromRank::Alive`] when there is nothing else. 0: no
    /// matter.
    pub alive_interval_ms: u64,
    /// Losses that the job has met.
    pub n_losses: u32,
    /// For how long its earlier generations trained, in milliseconds.
    pub trained_ms: u64,
    /// When the coordinator took the job in, in milliseconds since the Unix epoch.
    pub created_unix_ms: i64,
    /// Where checkpoints go beside `job_dir`, if anywhere.
    pub checkpoint_store: Option<CheckpointStore>,
    /// Where shards of object stores are kept, if anywhere.
    pub shard_cache: Option<ShardCache>,
}

/// A folder for shards of object stores, which all ranks of a node share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardCache {
    /// The folder.
    pub folder: PathBuf,
    /// All shards in it together are no larger.
    pub max_bytes: u64,
}

/// An object store for checkpoints. Its credentials are in the environment that a rank inherits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointStore {
    /// `s3://BUCKET/PREFIX` or `file:///FOLDER`.
    pub url: String,
    /// How long each request may take, in milliseconds.
    pub patience_ms: u64,
    /// How long it is waited for once the rank is asked to stop, in milliseconds.
    pub stop_patience_ms: u64,
}

/// What a rank tells its agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromRank {
    /// First message.
    Hello {
        /// Version of the rank's build.
        version: String,
        /// Process id.
        pid: u32,
    },
    /// It has nothing to say.
    Alive,
    /// The rank meets the others.
    Meeting,
    /// The ranks have met and state is equal; steps follow.
    Training {
        /// The generation that has met.
        generation: Generation,
        /// Steps taken before; an evaluation always begins at 0.
        began_at: Step,
    },
    /// A peer is lost. The rank keeps its state and waits for [`ToRank::Regroup`], but not for long.
    Parted(Wire<kindred_proto::v1::Failure>),
    /// It is much longer in a part of a step than its steps take; said again while that lasts, and empty once it is over.
    Stalled(Option<Wire<kindred_proto::v1::Stall>>),
    /// Newest progress.
    Progress(Wire<kindred_proto::v1::Progress>),
    /// Points of series.
    Points(Vec<Wire<kindred_proto::v1::MetricPoint>>),
    /// One line of log.
    Line(Wire<kindred_proto::v1::LogLine>),
    /// One operation of the store through which the ranks meet.
    StoreCall {
        /// Chosen by the rank; the reply carries it.
        call: u64,
        /// The generation whose keys it is about.
        generation: Generation,
        /// What to do.
        operation: StoreOperation,
    },
    /// May the manifest of this checkpoint be put in place? Answered by [`ToRank::MayCommit`].
    AskCommit {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// A checkpoint's manifest is in place.
    Committed(Wire<kindred_proto::v1::Checkpoint>),
    /// All steps are done and everything is written. Only rank 0's result is filled in. The rank exits next.
    Finished(Wire<kindred_proto::v1::JobResult>),
    /// Stopped as asked. The rank exits next.
    Stopped,
    /// The rank cannot go on. It exits next.
    Failed(Wire<kindred_proto::v1::Failure>),
}

/// One operation of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreOperation {
    /// Puts a value.
    Set {
        /// Key.
        key: String,
        /// Value.
        value: Vec<u8>,
    },
    /// Waits for a key, then reads it.
    Get {
        /// Key.
        key: String,
        /// Longest wait in milliseconds.
        timeout_ms: u32,
    },
    /// Adds to a number (absent: 0).
    Add {
        /// Key.
        key: String,
        /// What is added.
        amount: i64,
    },
    /// Puts `desired` where the value equals `expected` (absent counts as empty).
    CompareSet {
        /// Key.
        key: String,
        /// Value that must be there.
        expected: Vec<u8>,
        /// Value to put.
        desired: Vec<u8>,
    },
    /// Waits for all keys.
    Wait {
        /// Keys.
        keys: Vec<String>,
        /// Longest wait in milliseconds.
        timeout_ms: u32,
    },
    /// Do all keys exist?
    Check {
        /// Keys.
        keys: Vec<String>,
    },
    /// Removes a key.
    Delete {
        /// Key.
        key: String,
    },
    /// How many keys there are.
    CountKeys,
    /// Appends to a value (absent: empty).
    Append {
        /// Key.
        key: String,
        /// What is appended.
        value: Vec<u8>,
    },
}

/// What a store operation gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreValue {
    /// Value of Get; value after CompareSet.
    pub value: Vec<u8>,
    /// Sum after Add; number of CountKeys.
    pub number: i64,
    /// Check: all exist. Delete: one was there.
    pub found: bool,
}

/// Why a store operation gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StoreFault {
    /// The wait was over before the key was there.
    #[error("timed out waiting for {0}")]
    Timeout(String),
    /// The generation is over.
    #[error("generation is over: {0}")]
    Superseded(String),
    /// The coordinator cannot be reached.
    #[error("coordinator unreachable: {0}")]
    Unreachable(String),
}

/// What can go wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The body.
    #[error("frame does not decode: {0}")]
    Decode(#[from] postcard::Error),
    /// The body goes on after the message.
    #[error("{0} bytes follow the message in its frame")]
    Trailing(usize),
    /// The length.
    #[error("frame of {0} bytes is longer than {MAX_FRAME_BYTES}")]
    TooLong(usize),
}

/// The body of a frame, without its length.
///
/// # Errors
/// When the message is longer than [`MAX_FRAME_BYTES`].
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, Error> {
    let body = postcard::to_stdvec(message)?;
    if body.len() > MAX_FRAME_BYTES {
        return Err(Error::TooLong(body.len()));
    }
    Ok(body)
}

/// The message in a frame's body.
///
/// # Errors
/// When the body is not such a message.
pub fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, Error> {
    match postcard::take_from_bytes(body)? {
        (message, []) => Ok(message),
        (_, rest) => Err(Error::Trailing(rest.len())),
    }
}

/// Writes one frame.
///
/// # Errors
/// When the socket fails or the message is too long.
pub fn write<M: Serialize>(writer: &mut impl io::Write, message: &M) -> Result<(), Error> {
    let body = encode(message)?;
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    writer.write_all(&frame)?;
    writer.flush()?;
    Ok(())
}

/// Reads one frame; `None` at the end of the stream.
///
/// # Errors
/// When the socket fails, the stream ends inside a frame, or the body does not decode.
pub fn read<M: DeserializeOwned>(reader: &mut impl io::Read) -> Result<Option<M>, Error> {
    let mut length = [0; 4];
    if !begins(reader, &mut length[..1])? {
        return Ok(None);
    }
    reader.read_exact(&mut length[1..])?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(Error::TooLong(length));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(decode(&body)?))
}

/// Reads the first byte of a frame; false at the end of the stream.
fn begins(reader: &mut impl io::Read, byte: &mut [u8]) -> io::Result<bool> {
    loop {
        match reader.read(byte) {
            Ok(n_read) => return Ok(n_read > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
