//! The command line of `kindred top`.

use std::time::Duration;

use clap::Args as ClapArgs;

/// `kindred top`.
#[derive(Debug, ClapArgs)]
pub struct Top {
    /// Seconds between two pictures
    #[arg(long, default_value = "2", value_parser = super::seconds, value_name = "SECONDS")]
    pub every: Duration,
    /// Print one picture and end
    #[arg(long)]
    pub once: bool,
}
