//! The command line of `kindred up`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args as ClapArgs;

/// `kindred up`.
#[derive(Debug, ClapArgs)]
pub struct Up {
    /// How many workers to run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// Devices that each worker offers; left out: what it finds
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub devices_per_worker: Option<u32>,
    /// Folder that keeps jobs, checkpoints and the journal
    #[arg(long, default_value = ".kindred", value_name = "DIR")]
    pub state: PathBuf,
    /// Folder that data sources are below; left out: `data` in the state folder
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,
    /// Where the coordinator listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7460", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where the dashboard listens, or `none` [default: this machine only, the port after the coordinator's]
    #[arg(long, env = "KINDRED_WEB", value_name = "ADDRESS")]
    pub web: Option<String>,
    /// Listen beyond this machine all the same: whoever reaches the port may do everything
    #[arg(long)]
    pub allow_insecure: bool,
    /// How long a worker may be silent before it is lost, such as 10s or 500ms [default: the coordinator's]
    #[arg(long, value_name = "TIME")]
    pub detection_budget: Option<String>,
    /// Where checkpoints go beside the state folder: s3://BUCKET/PREFIX or file:///FOLDER, as `kindred-worker` takes it
    #[arg(long, env = "KINDRED_CHECKPOINT_STORE", value_name = "URL")]
    pub checkpoint_store: Option<String>,
}
