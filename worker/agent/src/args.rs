//! The command line of `kindred-worker`, and the checked configuration that it becomes.

use std::{collections::BTreeMap, env, fs, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use kindred_ipc::{CheckpointStore, ShardCache};
use kindred_proto::recipe::{stays_in_place, store_url};
use kindred_store::Store;

use crate::{
    Config, address, credentials::Ticket, devices, link::Coordinators, pack::Pack, roots::Roots, views::Views,
};

/// Runs the ranks that the coordinator places on this node.
#[derive(Clone, Debug, Parser)]
#[command(name = "kindred-worker", version, subcommand_negates_reqs = true)]
pub struct Args {
    /// What to do instead.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where the coordinator listens, or several of which one leads: a:7460,b:7460 [default: where this node joined].
    #[arg(long, value_name = "HOST:PORT,…", env = "KINDRED_COORDINATOR")]
    pub coordinator: Option<Coordinators>,
    /// What `kindred nodes join-token` prints: the node joins with it, once, and speaks TLS from then on.
    #[arg(long, value_name = "TEXT", env = "KINDRED_JOIN", hide_env_values = true)]
    pub join: Option<Ticket>,
    /// A folder, or a place in an object store such as s3://BUCKET/PREFIX, that jobs may read beside the data root and the jobs' own; may
    /// be repeated.
    #[arg(long = "allow-root", value_name = "DIR|URL")]
    allowed_roots: Vec<PathBuf>,
    /// Name of the node for people [default: the host's name].
    #[arg(long)]
    name: Option<String>,
    /// Folder for the node's id; one agent per folder [default: kindred below $XDG_STATE_HOME or ~/.local/state].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Relative data paths of recipes are below this folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_root: PathBuf,
    /// Folder that holds one folder per job, with its checkpoints and encoder [default: STATE/jobs].
    #[arg(long, value_name = "DIR")]
    jobs_dir: Option<PathBuf>,
    /// Where ranks listen for the ranks of other nodes [default: the local address of the route to the coordinator].
    #[arg(long, value_name = "IP|INTERFACE", value_parser = address::parse)]
    data_address: Option<IpAddr>,
    /// Ranks that may compute on the processor at a time [default: 1, on a node with GPUs 0].
    #[arg(long, value_name = "N")]
    devices: Option<u32>,
    /// GPUs to offer: a number, or those that are found.
    #[arg(long, value_name = "N|auto", default_value = "auto", value_parser = cuda_count)]
    cuda_devices: CudaCount,
    /// Memory of each GPU in GiB, for jobs that ask for so much; left out: unknown, which is none.
    #[arg(long, value_name = "GIB", default_value = "0", hide_default_value = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_GPU_GIB))]
    cuda_memory: u64,
    /// A label of this node, such as rack=r1; may be repeated. Jobs choose nodes by labels, and `host`, `nvlink` and `rack` say which
    /// nodes are near one another.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The program of a rank [default: kindred-rank beside this one].
    #[arg(long, value_name = "PATH")]
    rank_binary: Option<PathBuf>,
    /// How long a rank may take to stop before it is killed.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    grace: Duration,
    /// Where checkpoints go beside the jobs' folders, so that a job outlives its nodes: s3://BUCKET/PREFIX, with credentials and
    /// endpoint from AWS_* variables, or file:///FOLDER.
    #[arg(long, value_name = "URL", env = "KINDRED_CHECKPOINT_STORE")]
    checkpoint_store: Option<String>,
    /// How long the checkpoint store may take to answer before a checkpoint stays on this node only.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    checkpoint_store_timeout: Duration,
    /// Where shards of object stores are kept, for jobs whose data are `webdataset: {train: s3://…}` [default: STATE/shards].
    #[arg(long, value_name = "DIR")]
    shard_cache: Option<PathBuf>,
    /// Room for them in GiB; 0: none are kept, and each image comes over the network in every epoch.
    #[arg(long, value_name = "GIB", default_value = "50", value_parser = clap::value_parser!(u64).range(..=MAX_CACHE_GIB))]
    shard_cache_gib: u64,
    /// Stop when the process that started this one ends.
    #[arg(long, hide = true)]
    pub stop_with_parent: bool,
}

/// What this program does beside running ranks.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Draw what a job's network sees of its first images.
    Views(Views),
    /// Write shards from an image folder.
    Pack(Pack),
}

const GIBIBYTE: u64 = 1 << 30;
const MAX_GPU_GIB: u64 = 4096;
const MAX_LABELS: usize = 64;
const MAX_CACHE_GIB: u64 = 1 << 20;

/// How many GPUs to offer; `None` for those that are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CudaCount(Option<u32>);

impl Args {
    /// The state folder.
    ///
    /// # Errors
    /// When it is not given, and there is no home to put it in.
    pub fn state_dir(&self) -> anyhow::Result<PathBuf> {
        let state_dir = match &self.state {
            Some(folder) => folder.clone(),
            None => default_state_dir().context("neither HOME nor XDG_STATE_HOME is set; give --state")?,
        };
        std::path::absolute(state_dir).context("make --state absolute")
    }

    /// Where jobs may read, once the rest is settled.
    ///
    /// # Errors
    /// When a folder cannot be made absolute.
    pub fn roots(&self, config: &Config) -> anyhow::Result<Roots> {
        let mut folders = vec![config.data_root.clone(), config.jobs_dir.clone()];
        for folder in &self.allowed_roots {
            let url = store_url(folder);
            let is_plain = url.is_none_or(stays_in_place);
            anyhow::ensure!(
                is_plain,
                "--allow-root {}: a URL here has no `..`, `%`, `\\` or blanks",
                folder.display()
            );
            let absolute = || std::path::absolute(folder).context("make --allow-root absolute");
            folders.push(if url.is_some() { folder.clone() } else { absolute()? });
        }
        Ok(Roots::new(folders))
    }

    /// Fills in what was left out and makes paths absolute.
    ///
    /// # Errors
    /// When a default cannot be told, or the rank's program is not there.
    pub fn into_config(self) -> anyhow::Result<Config> {
        let state_dir = self.state_dir()?;
        let jobs_dir = self.jobs_dir.unwrap_or_else(|| state_dir.join("jobs"));
        let rank_program = match self.rank_binary {
            Some(path) => path,
            None => env::current_exe().context("find this program")?.with_file_name("kindred-rank"),
        };
        let labels: BTreeMap<String, String> = self.labels.iter().cloned().collect();
        anyhow::ensure!(labels.len() == self.labels.len(), "two --label options have the same key");
        anyhow::ensure!(labels.len() <= MAX_LABELS, "there are more than {MAX_LABELS} --label options");
        anyhow::ensure!(
            rank_program.is_file(),
            "no rank program at {}; give --rank-binary",
            rank_program.display()
        );
        let checkpoint_store = match self.checkpoint_store.filter(|url| !url.is_empty()) {
            Some(url) => Some(checkpoint_store(url, self.checkpoint_store_timeout, self.grace)?),
            None => None,
        };
        let shard_cache = self.shard_cache.unwrap_or_else(|| state_dir.join("shards"));
        let folder = std::path::absolute(shard_cache).context("make --shard-cache absolute")?;
        let max_bytes = self.shard_cache_gib * GIBIBYTE;
        Ok(Config {
            coordinators: self
                .coordinator
                .context("give --coordinator, or --join with what `kindred nodes join-token` prints")?,
            node_name: self.name.unwrap_or_else(host_name),
            data_root: std::path::absolute(self.data_root).context("make --data-root absolute")?,
            jobs_dir: std::path::absolute(jobs_dir).context("make --jobs-dir absolute")?,
            rank_program: std::path::absolute(rank_program).context("make --rank-binary absolute")?,
            state_dir,
            data_address: self.data_address,
            devices: devices::devices(self.devices, self.cuda_devices.0, self.cuda_memory * GIBIBYTE),
            labels,
            grace: self.grace,
            checkpoint_store,
            shard_cache: (max_bytes > 0).then_some(ShardCache { folder, max_bytes }),
        })
    }
}

/// Refuses what no rank could open. A rank that is asked to stop waits for the store for two fifths of the grace: then there is
/// time left to commit what it has.
fn checkpoint_store(url: String, patience: Duration, grace: Duration) -> anyhow::Result<CheckpointStore> {
    let shortest = Duration::from_secs(1);
    anyhow::ensure!(
        patience >= shortest,
        "--checkpoint-store-timeout: {patience:?} is too short, give 1s or more"
    );
    Store::open(&url, patience).context("--checkpoint-store")?;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(CheckpointStore { url, patience_ms: millis(patience), stop_patience_ms: millis(grace * 2 / 5) })
}

fn default_state_dir() -> Option<PathBuf> {
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("kindred"))
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "unnamed".to_owned() } else { name.trim().to_owned() }
}

fn cuda_count(text: &str) -> Result<CudaCount, String> {
    if text == "auto" {
        return Ok(CudaCount(None));
    }
    text.parse().map(|count| CudaCount(Some(count))).map_err(|_| "neither a number nor `auto`".to_owned())
}

/// Reads `rack=r1`, within the bounds of a job's `node_selector`.
fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE, such as rack=r1")?;
    if key.is_empty() || key.len() > 63 || value.len() > 256 {
        return Err("a key has 1 to 63 bytes, a value at most 256".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads `20s`, `500ms` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "not a time such as 20s, 500ms or 2m".to_owned())?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(|| "too long".to_owned()),
        unit => Err(format!("unknown unit {unit:?}; use ms, s or m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, String> {
        let head = ["kindred-worker", "--coordinator", "localhost:7700"];
        Args::try_parse_from(head.iter().chain(args)).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_filled_in_and_paths_are_absolute() {
        let args = parse(&[
            "--state",
            "somewhere",
            "--rank-binary",
            "/bin/sh",
            "--name",
            "node-a",
            "--cuda-devices",
            "0",
        ]);
        let config = args.expect("parses").into_config().expect("is complete");
        assert!(config.state_dir.is_absolute() && config.data_root.is_absolute());
        assert_eq!(config.jobs_dir, config.state_dir.join("jobs"));
        assert_eq!(config.grace, Duration::from_secs(20));
        assert_eq!(config.node_name, "node-a");
        assert_eq!(config.devices.len(), 1);
    }

    #[test]
    fn labels_have_a_key_each() {
        let parse = |labels: [&str; 2]| {
            let args =
                ["--rank-binary", "/bin/sh", "--state", "x", "--label", labels[0], "--label", labels[1]];
            parse(&args).expect("parses").into_config()
        };
        let config = parse(["rack=r1", "host=h=2"]).expect("is complete");
        assert_eq!(config.labels, BTreeMap::from([("rack", "r1"), ("host", "h=2")].map(owned)));
        let error = parse(["rack=r1", "rack=r2"]).expect_err("is said twice");
        assert!(error.to_string().contains("same key"), "{error}");
    }

    fn owned((key, value): (&str, &str)) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_rank_program_that_is_not_there_is_named() {
        let args = parse(&["--state", "x", "--rank-binary", "/nowhere/kindred-rank"]).expect("parses");
        assert!(args.into_config().expect_err("is not there").to_string().contains("/nowhere/kindred-rank"));
    }

    #[test]
    fn a_checkpoint_store_that_no_rank_could_open_is_refused_by_the_flags_name() {
        let config = |url: &str, timeout: &str| {
            let args = [
                "--rank-binary",
                "/bin/sh",
                "--checkpoint-store",
                url,
                "--checkpoint-store-timeout",
                timeout,
            ];
            parse(&args).expect("parses").into_config().map_err(|error| format!("{error:#}"))
        };
        let store = config("s3://bucket/kindred", "30s").expect("a sound URL").checkpoint_store;
        let store = store.expect("it was given");
        assert_eq!((store.patience_ms, store.stop_patience_ms), (30_000, 8_000));
        for url in ["bucket", "gs://bucket", "s3:///prefix", "file:///nowhere/at/all"] {
            let error = config(url, "30s").expect_err("is refused");
            assert!(error.starts_with("--checkpoint-store: ") && error.contains(url), "{error}");
        }
        let error = config("s3://bucket/kindred", "10ms").expect_err("is refused");
        assert!(error.contains("--checkpoint-store-timeout"), "{error}");
    }

    #[test]
    fn bad_values_are_refused_in_words() {
        for (args, word) in [
            (["--grace", "20"], "unit"),
            (["--grace", "soon"], "20s"),
            (["--cuda-devices", "many"], "auto"),
            (["--label", "rack"], "KEY=VALUE"),
            (["--data-address", "no-such-interface"], "interface"),
        ] {
            let text = parse(&args).expect_err("is refused");
            assert!(text.contains(word), "{args:?}: {text}");
        }
        let text =
            Args::try_parse_from(["kindred-worker", "--coordinator", "localhost"]).expect_err("no port");
        assert!(text.to_string().contains("host:port"), "{text}");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
    }
}
