//! The command line of `kindred-worker`, and the checked configuration that it becomes.

use std::{env, fs, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::{Config, address, devices, link::Coordinator, views::Views};

/// Runs the ranks that the coordinator places on this node.
#[derive(Debug, Parser)]
#[command(name = "kindred-worker", version, subcommand_negates_reqs = true)]
pub struct Args {
    /// What to do instead.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where the coordinator listens.
    #[arg(long, value_name = "HOST:PORT", env = "KINDRED_COORDINATOR", required = true)]
    coordinator: Option<Coordinator>,
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
    /// The program of a rank [default: kindred-rank beside this one].
    #[arg(long, value_name = "PATH")]
    rank_binary: Option<PathBuf>,
    /// How long a rank may take to stop before it is killed.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    grace: Duration,
    /// Stop when the process that started this one ends.
    #[arg(long, hide = true)]
    pub stop_with_parent: bool,
}

/// What this program does beside running ranks.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draw what a job's network sees of its first images.
    Views(Views),
}

/// How many GPUs to offer; `None` for those that are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CudaCount(Option<u32>);

impl Args {
    /// Fills in what was left out and makes paths absolute.
    ///
    /// # Errors
    /// When a default cannot be told, or the rank's program is not there.
    pub fn into_config(self) -> anyhow::Result<Config> {
        let state_dir = match self.state {
            Some(folder) => folder,
            None => default_state_dir().context("neither HOME nor XDG_STATE_HOME is set; give --state")?,
        };
        let state_dir = std::path::absolute(state_dir).context("make --state absolute")?;
        let jobs_dir = self.jobs_dir.unwrap_or_else(|| state_dir.join("jobs"));
        let rank_program = match self.rank_binary {
            Some(path) => path,
            None => env::current_exe().context("find this program")?.with_file_name("kindred-rank"),
        };
        anyhow::ensure!(
            rank_program.is_file(),
            "no rank program at {}; give --rank-binary",
            rank_program.display()
        );
        Ok(Config {
            coordinator: self.coordinator.context("give --coordinator")?,
            node_name: self.name.unwrap_or_else(host_name),
            data_root: std::path::absolute(self.data_root).context("make --data-root absolute")?,
            jobs_dir: std::path::absolute(jobs_dir).context("make --jobs-dir absolute")?,
            rank_program: std::path::absolute(rank_program).context("make --rank-binary absolute")?,
            state_dir,
            data_address: self.data_address,
            devices: devices::devices(self.devices, self.cuda_devices.0),
            grace: self.grace,
        })
    }
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
    fn a_rank_program_that_is_not_there_is_named() {
        let args = parse(&["--state", "x", "--rank-binary", "/nowhere/kindred-rank"]).expect("parses");
        assert!(args.into_config().expect_err("is not there").to_string().contains("/nowhere/kindred-rank"));
    }

    #[test]
    fn bad_values_are_refused_in_words() {
        for (args, word) in [
            (["--grace", "20"], "unit"),
            (["--grace", "soon"], "20s"),
            (["--cuda-devices", "many"], "auto"),
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
