//! Options of `kindred chaos`.

use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};

use super::seconds;

/// `kindred chaos`.
#[derive(Debug, ClapArgs)]
pub struct Chaos {
    /// The job that is watched, and whose ranks are met
    pub job: String,
    /// Chooses the faults: the same seed makes the same choices
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Which faults, such as kill,hang
    #[arg(long, value_enum, value_delimiter = ',', default_value = "kill,hang,coordinator")]
    pub scenario: Vec<Scenario>,
    /// How many
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub faults: u32,
    /// Seconds between a recovery and the next fault, on average
    #[arg(long, default_value = "5", value_parser = seconds, value_name = "SECONDS")]
    pub every: Duration,
    /// Seconds for which processes are held or slowed down
    #[arg(long, default_value = "15", value_parser = seconds, value_name = "SECONDS")]
    pub hold: Duration,
}

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A rank or a worker is killed
    Kill,
    /// A rank is stopped (SIGSTOP)
    Hang,
    /// A worker is stopped, so that it neither hears nor says anything while its ranks go on
    Partition,
    /// A rank is stopped every other tenth of a second
    Slow,
    /// The coordinator is killed
    Coordinator,
}
