//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::exit;

mod access;
mod chaos;
mod jobs;
mod nodes;
pub mod shells;
mod slurm;
mod top;
mod up;

pub use access::{CreateToken, Credentials, Events, Expel, JoinToken, RevokeToken, Tokens};
pub use chaos::{Chaos, Scenario};
pub use jobs::{Jobs, Update};
pub use nodes::{Cordon, NodeAction, NodeArg, Nodes};
pub use shells::Completions;
pub use slurm::Slurm;
pub use top::Top;
pub use up::Up;

/// Distributed contrastive pre-training: submit jobs and watch them run.
#[derive(Debug, Parser)]
#[command(name = "kindred", version, after_help = exit::HELP, max_term_width = 110)]
pub struct Args {
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Clone, Debug, ClapArgs)]
pub struct Global {
    /// Where the coordinator listens, or several of which one leads: a:7460,b:7460
    #[arg(
        long,
        global = true,
        env = "KINDRED_COORDINATOR",
        default_value = "127.0.0.1:7460",
        value_name = "HOST:PORT"
    )]
    pub coordinator: String,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Format,
    /// Keep trying to reach the coordinator for so many seconds
    #[arg(long, global = true, default_value = "0", value_parser = seconds, value_name = "SECONDS")]
    pub connect_timeout: Duration,
    /// What is shown to the coordinator.
    #[command(flatten)]
    pub credentials: Credentials,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// The API's messages as JSON.
    Json,
    /// The same as YAML.
    Yaml,
    /// Comma-separated values, of `kindred metrics` only.
    Csv,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a coordinator and workers on this machine, in the foreground
    Up(Up),
    /// Check a job and hand it in
    Submit(Submit),
    /// Draw what a job's network sees of its first images
    Views(Views),
    /// Write shards from an image folder, for `data: {webdataset: {train: FOLDER}}`
    Pack(Pack),
    /// Measure a finished encoder
    Eval(Eval),
    /// Put finished jobs side by side
    Compare(Compare),
    /// List jobs, newest first
    Jobs(Jobs),
    /// Show one job
    Get(JobArg),
    /// Follow a job to its end; the exit code says how it ended
    Watch(JobArg),
    /// Show the cluster and its jobs on one screen, drawn anew every two seconds
    Top(Top),
    /// Print what a job's ranks logged
    Logs(Logs),
    /// Print a job's metrics
    Metrics(Metrics),
    /// Change a job's priority, labels, queue or number of ranks
    Update(Update),
    /// Cancel a job
    Cancel(Cancel),
    /// Let a job write a checkpoint and give its devices back, until it is resumed
    Suspend(Suspend),
    /// Let a suspended job go on
    Resume(JobArg),
    /// Start a new job from a checkpoint of another one
    Fork(Fork),
    /// Say why a job waits, who holds it up, and what would help
    Explain(JobArg),
    /// List the nodes and their devices, or take one out of service and back, or let one join
    Nodes(Nodes),
    /// List the queues: what each is guaranteed, may use and uses, and who waits
    Queues,
    /// Make, list and revoke the tokens of users
    #[command(subcommand)]
    Tokens(Tokens),
    /// Sign in at the identity provider that the coordinator names, with a browser on any device
    Login,
    /// Forget the sign-in for a coordinator, here and at the provider
    Logout,
    /// Say as whom calls are made, and what they may do
    Whoami,
    /// Print what became of jobs and nodes, or with --audit who did what
    Events(Events),
    /// List a job's checkpoints, newest first, or keep one
    Checkpoints(Checkpoints),
    /// Print the JSON Schema of a job's YAML, for editors
    Schema,
    /// Print completions for a shell
    Completions(Completions),
    /// Run workers inside an allocation of Slurm
    Slurm(Slurm),
    /// Do faults to a cluster's processes on this machine while a job runs
    Chaos(Chaos),
}

/// `kindred checkpoints`.
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Checkpoints {
    /// The job's id
    #[arg(required = true)]
    pub job: Option<String>,
    /// What to do with one of them.
    #[command(subcommand)]
    pub action: Option<CheckpointAction>,
}

/// What to do with a checkpoint.
#[derive(Debug, Subcommand)]
pub enum CheckpointAction {
    /// Keep a checkpoint, whatever the job's policy
    Pin(CheckpointArg),
    /// Leave a checkpoint to the job's policy again
    Unpin(CheckpointArg),
}

/// The checkpoint that a command is about.
#[derive(Debug, ClapArgs)]
pub struct CheckpointArg {
    /// The job's id
    pub job: String,
    /// The checkpoint's id, as `kindred checkpoints JOB` prints it
    pub checkpoint: String,
}

/// The job that a command is about.
#[derive(Debug, ClapArgs)]
pub struct JobArg {
    /// The job's id, as `submit` printed it
    pub job: String,
}

/// `kindred submit`.
#[derive(Debug, ClapArgs)]
pub struct Submit {
    /// The job as YAML; `-` reads standard input
    pub file: PathBuf,
    /// What is done with it.
    #[command(flatten)]
    pub hand_in: HandIn,
}

/// `kindred eval`.
#[derive(Debug, ClapArgs)]
pub struct Eval {
    /// The job whose encoder is measured, or the path of an encoder.safetensors
    #[arg(value_name = "JOB_OR_FILE")]
    pub encoder: String,
    /// Labelled images, as `evaluate.data`: fashion_mnist, or {image_folder: {train: A, test: B}}; left out: the job's
    #[arg(long, value_name = "YAML")]
    pub data: Option<String>,
    /// The evaluation as YAML, for what the options do not say; `-` reads standard input
    #[arg(short, long)]
    pub file: Option<PathBuf>,
    /// What is done with it.
    #[command(flatten)]
    pub hand_in: HandIn,
}

/// `kindred compare`.
#[derive(Debug, ClapArgs)]
pub struct Compare {
    /// The jobs' ids
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<String>,
    /// Also draw series over steps, into a file that ends in .svg or .png
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// The series that are drawn
    #[arg(long, value_delimiter = ',', default_value = "loss,knn_accuracy_percent")]
    pub series: Vec<String>,
}

/// What is done with a job that was read.
#[derive(Debug, ClapArgs)]
pub struct HandIn {
    /// Override a field, such as recipe.training.epochs=3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Only check, and print the job with every default filled in
    #[arg(long, conflicts_with = "watch")]
    pub dry_run: bool,
    /// With --dry-run: also say what would become of the job now, and what would help it
    #[arg(long, requires = "dry_run")]
    pub explain: bool,
    /// Follow the job to its end
    #[arg(long)]
    pub watch: bool,
    /// UUID that makes a repeated submission safe; left out: a new one
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<uuid::Uuid>,
}

/// `kindred views`.
#[derive(Debug, ClapArgs)]
pub struct Views {
    /// The job as YAML; `-` reads standard input
    pub file: PathBuf,
    /// How many images to draw, a row each
    #[arg(short, long = "images", value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    pub n_images: u32,
    /// The picture to write
    #[arg(long, value_name = "FILE", default_value = "views.png")]
    pub png: PathBuf,
    /// Override a field, such as recipe.training.seed=3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Folder that data sources are below, as for the workers
    #[arg(long, default_value = ".kindred/data", value_name = "DIR")]
    pub data_root: PathBuf,
}

/// `kindred pack`.
#[derive(Debug, ClapArgs)]
pub struct Pack {
    /// The image folder: JPEG or PNG files at any depth; the first sub-folder's name is the label
    pub source: PathBuf,
    /// The folder of the shards; a run that was stopped goes on there
    pub output: PathBuf,
    /// A shard is full once it has so many MiB
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub shard_mib: u64,
}

/// `kindred logs`.
#[derive(Debug, ClapArgs)]
pub struct Logs {
    /// The job's id
    pub job: String,
    /// Go on until the job ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last so many lines
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    pub tail: u32,
    /// Only lines of at least this level
    #[arg(long, value_enum, default_value_t)]
    pub level: Level,
}

/// The levels of a log line.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Level {
    /// Everything.
    Debug,
    /// What changed.
    #[default]
    Info,
    /// What was not expected.
    Warn,
    /// What a person must act on.
    Error,
}

/// `kindred metrics`.
#[derive(Debug, ClapArgs)]
pub struct Metrics {
    /// The job's id
    pub job: String,
    /// Print every point of these series; left out: a summary of all
    #[arg(long, value_delimiter = ',')]
    pub series: Vec<String>,
    /// Only points after this step
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "STEP")]
    pub after_step: u64,
    /// What this generation said, also of steps that were taken again; left out: what counts
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub generation: u64,
}

/// `kindred cancel`.
#[derive(Debug, ClapArgs)]
pub struct Cancel {
    /// The job's id
    pub job: String,
    /// Why; shown with the job
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// `kindred suspend`.
#[derive(Debug, ClapArgs)]
pub struct Suspend {
    /// The job's id
    pub job: String,
    /// Why; shown with the job
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// `kindred fork`.
#[derive(Debug, ClapArgs)]
pub struct Fork {
    /// The job to start from
    pub job: String,
    /// Which of its checkpoints; left out: the newest
    #[arg(long, value_name = "ID")]
    pub checkpoint: Option<String>,
    /// What is done with it.
    #[command(flatten)]
    pub hand_in: HandIn,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give a number of seconds, such as 30")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn global_options_may_follow_the_command() {
        let args = Args::try_parse_from(["kindred", "jobs", "-o", "json", "--coordinator", "gpu-1:7460"]);
        let global = args.expect("a valid line").global;
        assert_eq!((global.output, global.coordinator.as_str()), (Format::Json, "gpu-1:7460"));
    }

    #[test]
    fn checkpoints_are_listed_or_pinned() {
        let parse = |line: &[&str]| {
            let line = ["kindred", "checkpoints"].iter().chain(line);
            Args::try_parse_from(line).map(|args| match args.command {
                Command::Checkpoints(checkpoints) => checkpoints,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(parse(&["job-1"]).expect("a valid line").job.as_deref(), Some("job-1"));
        let pin = parse(&["pin", "job-1", "step-000000000004-g1"]).expect("a valid line").action;
        assert!(matches!(pin, Some(CheckpointAction::Pin(of)) if of.checkpoint == "step-000000000004-g1"));
        assert!(parse(&[]).is_err() && parse(&["pin", "job-1"]).is_err());
    }

    #[test]
    fn help_documents_the_exit_codes() {
        assert!(Args::command().render_long_help().to_string().contains("Exit codes:"));
    }
}
