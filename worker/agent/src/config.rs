//! What an agent needs to know before it starts, and every time limit in one place.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use kindred_ipc::{CheckpointStore, ShardCache};
use kindred_proto::v1;

use crate::link::Coordinators;

/// How long a rank may take from its start to its first word; loading libtorch from a cold disk is slow.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a rank may take from its last word to its end, and its pipes from its end to theirs.
pub const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Reports about changes are at least this far apart.
pub const REPORT_SPACING: Duration = Duration::from_millis(100);

/// Reports that carry nothing but progress and telemetry are at least this far apart.
pub const TELEMETRY_SPACING: Duration = Duration::from_millis(500);

/// Reports are at most this far apart until the coordinator says how far.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A stream without an answer for so long is given up, until the coordinator says how long a lease is.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Telemetry that is not acknowledged for so long is sent again on the same stream.
pub const RESEND_AFTER: Duration = Duration::from_secs(5);

/// How long a leaving agent waits for the answer to its last report.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one operation of the store may take beyond the time that it waits for keys.
pub const STORE_MARGIN: Duration = Duration::from_secs(5);

/// Everything that an agent is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the coordinator listens, or several of which one leads.
    pub coordinators: Coordinators,
    /// The node's name for people.
    pub node_name: String,
    /// Holds the node's id and the lock.
    pub state_dir: PathBuf,
    /// Relative data paths of recipes are below this folder.
    pub data_root: PathBuf,
    /// Each job has a folder below this one.
    pub jobs_dir: PathBuf,
    /// Where ranks listen for each other; without it, the local address of the route to the coordinator.
    pub data_address: Option<IpAddr>,
    /// What ranks may compute on.
    pub devices: Vec<v1::Device>,
    /// What jobs choose nodes by, and where this one stands.
    pub labels: BTreeMap<String, String>,
    /// The program of a rank.
    pub rank_program: PathBuf,
    /// How long a rank may take to stop before it is killed.
    pub grace: Duration,
    /// Where checkpoints go beside the jobs' folders, if anywhere.
    pub checkpoint_store: Option<CheckpointStore>,
    /// Where shards of object stores are kept, if anywhere.
    pub shard_cache: Option<ShardCache>,
}
