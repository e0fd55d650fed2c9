//! The command line of `kindred slurm`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::access::ttl;

/// `kindred slurm`.
#[derive(Debug, ClapArgs)]
pub struct Slurm {
    /// How many nodes to ask for; each runs one worker
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub nodes: u32,
    /// GPUs of each node; left out: ranks compute on the processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub gpus_per_node: Option<u32>,
    /// Processor cores of each node; left out: whole nodes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub cpus_per_node: Option<u32>,
    /// Ranks that may compute on the processor of a node at a time [default: 1, with GPUs 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpu_ranks: Option<u32>,
    /// The partition; left out: Slurm's default
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// How long the nodes may be held at a time, as Slurm writes it, such as 12:00:00; left out: the partition's limit
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// Name of the Slurm job
    #[arg(long, value_name = "NAME", default_value = "kindred")]
    pub job_name: String,
    /// Folder that all nodes share, for jobs, checkpoints and what workers keep
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Folder that data sources are below, on every node
    #[arg(long, value_name = "DIR")]
    pub data_root: PathBuf,
    /// Folder of Kindred's programs on every node [default: this program's]
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Where checkpoints go beside the state folder, as `kindred-worker` takes it
    #[arg(long, env = "KINDRED_CHECKPOINT_STORE", value_name = "URL")]
    pub checkpoint_store: Option<String>,
    /// Give the nodes back when this job is over; may be repeated. Left out: when the Slurm job is cancelled
    #[arg(long, value_name = "JOB")]
    pub until: Vec<String>,
    /// So many seconds before the time is over jobs write a checkpoint and leave
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    #[arg(value_parser = clap::value_parser!(u32).range(30..=65535))]
    pub notice: u32,
    /// How long a rank may take to stop, such as 60s [default: the worker's]
    #[arg(long, value_name = "TIME")]
    pub grace: Option<String>,
    /// Do not ask Slurm for nodes again when the time is over or others took them
    #[arg(long)]
    pub no_requeue: bool,
    /// With TLS: how long the Slurm job may wait for its nodes, such as 12h; then its join tokens are not good any more
    #[arg(long, default_value = "7d", value_parser = ttl, value_name = "TIME")]
    pub join_ttl: u64,
    /// With TLS: where the workers find the coordinator; left out: where that listens
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// Print the script, and submit nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Further options of sbatch, such as -- --account=vision --qos=long
    #[arg(last = true, value_name = "OPTION")]
    pub sbatch: Vec<String>,
}
