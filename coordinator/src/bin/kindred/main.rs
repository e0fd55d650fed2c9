//! `kindred`: submits jobs and watches them, over the same API as everyone else.
//!
//! Imports the contract only, never the coordinator: what it can do, any client can do.

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Args, Command, Format},
    exit::{Error, Exit},
};

mod accounts;
mod args;
mod chaos;
mod checkpoints;
mod client;
mod compare;
mod credentials;
mod eval;
mod events;
mod exit;
mod explain;
mod fork;
mod jobs;
mod logs;
mod metrics;
mod nodes;
mod outage;
mod output;
mod pack;
mod program;
mod progress;
mod queues;
mod schema;
mod sign_in;
mod slurm;
mod sparkline;
mod submit;
mod text;
mod tokens;
mod top;
mod up;
mod update;
mod views;
mod watch;

/// One thread: the kernel ties the death signal of `up`'s programs to the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = run(args).await;
    credentials::settle().await;
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::note(&format!("error: {error}"));
            error.exit.into()
        }
    }
}

async fn run(args: Args) -> Result<Exit, Error> {
    let Args { global, command } = args;
    if global.output == Format::Csv && !matches!(command, Command::Metrics(_)) {
        return Err(Error::invalid("-o csv: only `kindred metrics` prints comma-separated values"));
    }
    match command {
        Command::Up(up) => up::run(&global, up).await,
        Command::Submit(submit) => submit::run(&global, submit).await,
        Command::Views(views) => views::run(views).await,
        Command::Pack(args) => pack::run(args).await,
        Command::Eval(eval) => eval::run(&global, eval).await,
        Command::Compare(compare) => compare::run(&global, compare).await,
        Command::Jobs(list) => jobs::list(&global, list).await,
        Command::Get(job) => jobs::get(&global, job).await,
        Command::Watch(job) => watch::run(&global, job).await,
        Command::Top(top) => top::run(&global, top).await,
        Command::Logs(logs) => logs::run(&global, logs).await,
        Command::Metrics(metrics) => metrics::run(&global, metrics).await,
        Command::Update(args) => update::run(&global, args).await,
        Command::Cancel(cancel) => jobs::cancel(&global, cancel).await,
        Command::Suspend(suspend) => jobs::suspend(&global, suspend).await,
        Command::Resume(job) => jobs::resume(&global, job).await,
        Command::Fork(fork) => fork::run(&global, fork).await,
        Command::Explain(job) => explain::run(&global, job).await,
        Command::Nodes(args) => nodes::run(&global, args).await,
        Command::Queues => queues::run(&global).await,
        Command::Tokens(args) => tokens::run(&global, args).await,
        Command::Login => sign_in::login(&global).await,
        Command::Logout => sign_in::logout(&global).await,
        Command::Whoami => sign_in::whoami(&global).await,
        Command::Events(args) => events::run(&global, args).await,
        Command::Checkpoints(args) => checkpoints::run(&global, args).await,
        Command::Schema => schema::run(),
        Command::Completions(args) => schema::completions(&args),
        Command::Slurm(slurm) => slurm::run(&global, slurm).await,
        Command::Chaos(chaos) => chaos::run(&global, chaos).await,
    }
}
