//! `kindred jobs`, which ones and in which order, and `kindred update`.

use clap::Args as ClapArgs;

/// `kindred jobs`.
#[derive(Debug, ClapArgs)]
pub struct Jobs {
    /// Only jobs in these states, such as running,pending
    #[arg(long, value_delimiter = ',')]
    pub state: Vec<String>,
    /// Only jobs of this project
    #[arg(long)]
    pub project: Option<String>,
    /// Only jobs with this label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Only jobs of which this holds, such as 'priority > 0 AND labels.team = vision AND create_time >= 2026-01-31'
    #[arg(long, value_name = "TERMS", default_value = "", hide_default_value = true)]
    pub filter: String,
    /// By what they are ordered, such as 'priority desc, create_time'; left out: newest first
    #[arg(long, value_name = "FIELDS", default_value = "", hide_default_value = true)]
    pub order: String,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
}

/// `kindred update`.
#[derive(Debug, ClapArgs)]
pub struct Update {
    /// The job's id
    pub job: String,
    /// Jobs of a higher one go first: -100 to 100
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    pub priority: Option<i32>,
    /// Its queue, while it has no devices
    #[arg(long)]
    pub queue: Option<String>,
    /// Whether a job of a higher priority may take its devices
    #[arg(long, value_name = "true|false")]
    pub preemptible: Option<bool>,
    /// The number of ranks that it is made for, before it is placed for the first time
    #[arg(long, value_name = "N")]
    pub ranks: Option<u32>,
    /// Fewest ranks that it goes on with
    #[arg(long, value_name = "N")]
    pub min_ranks: Option<u32>,
    /// Most ranks that it takes; with more it writes a checkpoint and goes on with fewer
    #[arg(long, value_name = "N")]
    pub max_ranks: Option<u32>,
    /// Give it a label, or another value of it
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Take a label away
    #[arg(long, value_name = "KEY")]
    pub unlabel: Vec<String>,
    /// Only if this is still the job's etag, as `kindred get` shows it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub etag: String,
}

/// `KEY=VALUE`.
pub fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("write it as KEY=VALUE, such as team=vision")?;
    Ok((key.to_owned(), value.to_owned()))
}
