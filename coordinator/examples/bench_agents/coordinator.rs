//! The coordinator's process, and what it costs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running coordinator.
pub struct Coordinator {
    pub address: String,
    child: Child,
    pid: i32,
    log: PathBuf,
}

/// What a process used from its start until then, or between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub at: Instant,
    pub elapsed: Duration,
    pub on_core: Duration,
    pub resident_bytes: u64,
    /// Length of its log.
    log_len: usize,
}

/// What the coordinator says of its own work in a few seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    pub n_turns: f64,
    pub turn_median_us: f64,
    pub turn_most_us: f64,
    pub turns_total_ms: f64,
    pub elapsed_ms: f64,
    pub pass_median_us: f64,
    pub pass_most_us: f64,
}

impl Coordinator {
    pub async fn start(program: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let log = folder.join("log");
        let child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--state"])
            .arg(folder)
            .env("KINDRED_LOG", "warn,kindred_coordinator::engine::load=debug")
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let pid = i32::try_from(child.id().context("it runs")?)?;
        let started = Instant::now();
        let address = loop {
            match fs::read_to_string(folder.join("address")) {
                Ok(address) if !address.trim().is_empty() => break address.trim().to_owned(),
                _ if started.elapsed() > PATIENCE => {
                    bail!("the coordinator does not come up: {}", log.display())
                }
                _ => sleep(Duration::from_millis(50)).await,
            }
        };
        Ok(Self { address, child, pid, log })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn usage(&self) -> Result<Usage> {
        Ok(Usage { log_len: fs::read(&self.log)?.len(), ..Usage::of(self.pid)? })
    }

    /// What it said of its work since then.
    pub fn loads(&self, since: &Usage) -> Result<Vec<Load>> {
        let text = fs::read(&self.log)?;
        let text = String::from_utf8_lossy(&text[since.log_len..]).into_owned();
        let warnings = text.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
        for warning in warnings.take(5) {
            crate::say(&format!("the coordinator says: {warning}"));
        }
        Ok(text.lines().filter(|line| line.contains("engine::load: load")).map(Load::parse).collect())
    }

    pub async fn stop(mut self) -> Result<()> {
        if let Some(pid) = Pid::from_raw(self.pid) {
            kill_process(pid, Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}

impl Usage {
    /// What a process used from its start until now.
    pub fn of(pid: i32) -> Result<Self> {
        let stat = Process::new(pid)?.stat()?;
        let ticks = (stat.utime + stat.stime) as f64;
        Ok(Self {
            at: Instant::now(),
            elapsed: Duration::ZERO,
            on_core: Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64),
            resident_bytes: stat.rss * procfs::page_size(),
            log_len: 0,
        })
    }

    pub fn since(self, before: &Self) -> Self {
        Self { elapsed: self.at - before.at, on_core: self.on_core.saturating_sub(before.on_core), ..self }
    }

    /// Of one core.
    pub fn share(&self) -> f64 {
        self.on_core.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

impl Load {
    fn parse(line: &str) -> Self {
        let value = |name: &str| {
            let found = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
        };
        Self {
            n_turns: value("n_turns"),
            turn_median_us: value("turn_median_us"),
            turn_most_us: value("turn_most_us"),
            turns_total_ms: value("turns_total_ms"),
            elapsed_ms: value("elapsed_ms"),
            pass_median_us: value("pass_median_us"),
            pass_most_us: value("pass_most_us"),
        }
    }
}
