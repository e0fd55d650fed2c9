//! A coordinator with TLS beside Slurm, and `kindred` as its users run it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kindred_tests::{logs, program};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{recipes, server::Slurm};

const POLL: Duration = Duration::from_millis(100);

/// Slurm, a coordinator, and the folder that nodes share. Dropping it ends all of it.
pub struct Service {
    pub slurm: Slurm,
    folder: TempDir,
    coordinator: Child,
}

impl Service {
    pub async fn start() -> Result<Self> {
        let slurm = Slurm::start().await?;
        let folder = TempDir::with_prefix("kindred-slurm-shared-")?;
        recipes::link_fashion_mnist(&folder.path().join("data"))?;
        let log = File::create(folder.path().join("coordinator.log"))?;
        let coordinator = Command::new(program("kindred-coordinator"))
            .args(["--listen", "127.0.0.1:0", "--tls", "auto", "--state"])
            .arg(folder.path().join("coordinator"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let service = Self { slurm, folder, coordinator };
        let token = service.path("coordinator/admin-token");
        service.until("the coordinator starts", Duration::from_secs(20), || Ok(token.exists())).await?;
        Ok(service)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command of the CLI and gives what it prints.
    pub fn kindred(&self, arguments: &[&str]) -> Result<String> {
        let address = fs::read_to_string(self.path("coordinator/address"))?;
        let output = Command::new(program("kindred"))
            .args(arguments)
            .env("KINDRED_COORDINATOR", address.trim())
            .env("KINDRED_TLS_CA", self.path("coordinator/tls/ca.pem"))
            .env("KINDRED_TOKEN_FILE", self.path("coordinator/admin-token"))
            .env("SLURM_CONF", self.slurm.configuration())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kindred {arguments:?}: {said}\n{}", self.logs());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// A job on two ranks, of so many steps.
    pub fn submit(&self, name: &str, n_steps: u64) -> Result<String> {
        let file = self.path(&format!("{name}.yaml"));
        fs::write(&file, recipes::fashion_mnist(name, 2, &format!("epochs: 500, max_steps: {n_steps}")))?;
        self.kindred(&["submit", text(&file)])
    }

    /// Two nodes of the partition `low`, until a job is over.
    pub fn allocate(&self, job: &str) -> Result<String> {
        let (state, data) = (self.path("state"), self.path("data"));
        let folders = ["--state", text(&state), "--data-root", text(&data)];
        let slurm = ["slurm", "--nodes", "2", "--partition", "low", "--time", "30", "--until", job];
        self.kindred(&[&slurm[..], &folders].concat())
    }

    /// The job as the API shows it.
    pub fn job(&self, job: &str) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.kindred(&["get", job, "-o", "json"])?)?)
    }

    /// What a job left: the tensors of its last checkpoint, and its encoder.
    pub fn left(&self, job: &str) -> Result<[Vec<u8>; 2]> {
        let folder = self.path("state/jobs").join(job);
        let checkpoints = fs::read_dir(folder.join("checkpoints"))?;
        let paths = checkpoints.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let newest = paths.into_iter().filter(|path| path.join("manifest.json").is_file()).max();
        let newest = newest.with_context(|| format!("{job} has no checkpoint"))?;
        Ok([
            fs::read(newest.join("state.safetensors"))?,
            fs::read(folder.join("encoder/encoder.safetensors"))?,
        ])
    }

    /// Waits for what is so at some time.
    pub async fn until(&self, what: &str, limit: Duration, is_so: impl Fn() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !is_so()? {
            if Instant::now() > deadline {
                bail!("not within {limit:?}: {what}\n{}", self.logs());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Ends the test: fails on any WARN or ERROR of the coordinator or the workers, but for workers that leave.
    pub fn finish(self) -> Result<()> {
        for folder in [self.folder.path(), &self.path("state")] {
            let unexpected = logs::unexpected(folder, &["whose agent leaves"])?;
            ensure!(unexpected.is_empty(), "lines that nobody expects:\n{}", unexpected.join("\n"));
        }
        Ok(())
    }

    fn logs(&self) -> String {
        let shared = [self.folder.path(), &self.path("state")].map(logs::tails);
        format!("{}{}", shared.concat(), self.slurm.logs())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.coordinator.kill();
        let _ = self.coordinator.wait();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
