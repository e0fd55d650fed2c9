//! What the coordinator is told at its start.

use std::{path::PathBuf, time::Duration};

/// Settings of one coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folder of the journal and the telemetry.
    pub state_dir: PathBuf,
    /// How long a node may be silent before it is lost; every other time of the control plane follows from it.
    pub detection_budget: Duration,
    /// Log lines kept of each job; older ones are dropped and counted.
    pub log_lines_per_job: u64,
}

impl Config {
    /// The defaults, with the state below `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            detection_budget: Duration::from_secs(10),
            log_lines_per_job: 100_000,
        }
    }

    /// How long an agent may count on its last answered report. It is over well before the node is taken for lost: a rank
    /// that was allowed to commit has the rest of the time to do so.
    pub fn lease(&self) -> Duration {
        self.detection_budget * 4 / 5
    }

    /// How often an agent reports at least.
    pub fn report_interval(&self) -> Duration {
        self.detection_budget / 5
    }

    /// The file that holds the journal.
    pub fn journal_file(&self) -> PathBuf {
        self.state_dir.join("journal.sqlite")
    }

    /// The file that holds metrics and log lines.
    pub fn telemetry_file(&self) -> PathBuf {
        self.state_dir.join("telemetry.sqlite")
    }
}
