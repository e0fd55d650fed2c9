//! `kindred chaos` on `kindred up`: a job that is met by random faults ends with the bits of one that is not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kindred_tests::{logs, program};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::recipes;

const LIMIT: Duration = Duration::from_secs(60);

fn from_environment(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// `kindred up`, which starts again what dies.
struct Up {
    folder: TempDir,
    process: Child,
}

impl Up {
    async fn start(n_workers: u32) -> Result<Self> {
        let folder = TempDir::with_prefix("kindred-chaos-")?;
        recipes::link_fashion_mnist(&folder.path().join("data"))?;
        let log = fs::File::create(folder.path().join("up.log"))?;
        let process = Command::new(program("kindred"))
            .args(["up", "--listen", "127.0.0.1:0", "--detection-budget", "3s", "--devices-per-worker", "1"])
            .args(["--workers", &n_workers.to_string()])
            .arg("--state")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let up = Self { folder, process };
        up.wait_for("ready: coordinator").await?;
        Ok(up)
    }

    async fn wait_for(&self, words: &str) -> Result<()> {
        let since = Instant::now();
        while !fs::read_to_string(self.folder.path().join("up.log"))?.contains(words) {
            ensure!(since.elapsed() < LIMIT, "never said {words:?}:\n{}", logs::tails(self.folder.path()));
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Runs a command of the CLI and gives what it prints.
    fn kindred(&self, arguments: &[&str]) -> Result<String> {
        let address = fs::read_to_string(self.folder.path().join("coordinator/address"))?;
        let output = Command::new(program("kindred"))
            .args(arguments)
            .args(["--connect-timeout", "30"])
            .env("KINDRED_COORDINATOR", address.trim())
            .output()?;
        if !output.status.success() {
            let (why, tails) = (String::from_utf8_lossy(&output.stderr), logs::tails(self.folder.path()));
            bail!("kindred {arguments:?} ended with {}:\n{why}\n{tails}", output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A job on four ranks; `training` holds further keys of that section.
    fn submit(&self, name: &str, training: &str) -> Result<String> {
        let file = self.folder.path().join(format!("{name}.yaml"));
        let job = recipes::fashion_mnist(name, 4, training)
            .replace("width: 8", "width: 4")
            .replace("every_steps: 20", "every_steps: 20, keep_last: 9999");
        let budgets = "retry: {infrastructure_failures: 1000, no_progress: 100}";
        fs::write(&file, format!("{job}\n{budgets}\n"))?;
        Ok(self.kindred(&["submit", &file.display().to_string()])?.trim().to_owned())
    }

    /// The step of a job's newest checkpoint.
    fn newest(&self, job_id: &str) -> Result<u64> {
        let job: serde_json::Value = serde_json::from_str(&self.kindred(&["get", job_id, "-o", "json"])?)?;
        let step = &job["newest_checkpoint"]["step"];
        let step = step.as_u64().or_else(|| step.as_str()?.parse().ok());
        step.with_context(|| format!("no checkpoint: {job}"))
    }

    /// The tensors that a job had after a step: weights, buffers, queue, and what the optimiser keeps.
    fn state(&self, job_id: &str, step: u64) -> Result<Vec<u8>> {
        let checkpoints = self.folder.path().join("jobs").join(job_id).join("checkpoints");
        let is_it = |path: &PathBuf| name_of(path).starts_with(&format!("step-{step:012}-"));
        let folders =
            fs::read_dir(&checkpoints)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let found =
            folders.into_iter().find(is_it).with_context(|| format!("no checkpoint of step {step}"))?;
        Ok(fs::read(found.join("state.safetensors"))?)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).ok();
        }
        self.process.wait().ok();
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Three faults; KINDRED_CHAOS_FAULTS and KINDRED_CHAOS_SEED say otherwise (`make chaos`). The job that meets them goes on until there
/// were enough, so that it is its last checkpoint that says how long the other one is.
#[tokio::test]
async fn random_faults_do_not_change_a_bit() -> Result<()> {
    let (n_faults, seed) =
        (from_environment("KINDRED_CHAOS_FAULTS", 3), from_environment("KINDRED_CHAOS_SEED", 1));
    let up = Up::start(4).await?;
    let met = up.submit("met-by-faults", "epochs: 500")?;
    let (faults, seed) = (n_faults.to_string(), seed.to_string());
    let options = ["--faults", &faults, "--seed", &seed, "--every", "2", "--hold", "8", "-o", "json"];
    let scenarios = ["--scenario", "kill,hang,partition,slow,coordinator"];
    let done = up.kindred(&[["chaos", &met].as_slice(), &options, &scenarios].concat())?;
    println!("{done}");
    let n_done = serde_json::from_str::<Vec<serde_json::Value>>(&done)?.len() as u64;
    ensure!(n_done == n_faults, "{n_done} faults of {n_faults}");
    let (last, since) = (up.newest(&met)?, Instant::now());
    while up.newest(&met)? == last {
        ensure!(
            since.elapsed() < LIMIT,
            "no checkpoint after the last fault:\n{}",
            logs::tails(up.folder.path())
        );
        sleep(Duration::from_millis(200)).await;
    }
    let n_steps = up.newest(&met)?;
    up.kindred(&["cancel", &met])?;
    let straight = up.submit("straight", &format!("epochs: 500, max_steps: {n_steps}"))?;
    up.kindred(&["watch", &straight])?;
    let (expected, state) = (up.state(&straight, n_steps)?, up.state(&met, n_steps)?);
    ensure!(expected == state, "the faults changed what was trained by step {n_steps}: see seed {seed}");
    println!("the same bits after {n_steps} steps and {n_faults} faults, seed {seed}");
    Ok(())
}
