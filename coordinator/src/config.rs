//! What the coordinator is told at its start.

use std::{path::PathBuf, time::Duration};

use crate::timing::Timing;

/// Settings of one coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folder of the journal and the telemetry.
    pub state_dir: PathBuf,
    /// When faults are noticed.
    pub timing: Timing,
    /// Log lines kept of each job; older ones are dropped and counted.
    pub log_lines_per_job: u64,
}

impl Config {
    /// The defaults, with the state below `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            timing: Timing::new(Duration::from_secs(10)),
            log_lines_per_job: 100_000,
        }
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
