//! `kindred pack`: shards from an image folder, written by the worker's program that stands beside this one.

use tokio::process::Command;

use crate::{
    args::Pack,
    exit::{Error, Exit},
    program,
};

/// Leaves all, with its words, to the worker's program.
pub async fn run(args: Pack) -> Result<Exit, Error> {
    let path = program::beside_this("kindred-worker")?;
    let mut command = Command::new(&path);
    command.arg("pack").arg(&args.source).arg(&args.output);
    let command = command.args(["--shard-mib", &args.shard_mib.to_string()]).kill_on_drop(true);
    let cannot_start = |error| Error::new(Exit::Other, format!("cannot start {}: {error}", path.display()));
    let status = command.status().await.map_err(cannot_start)?;
    Ok(if status.success() { Exit::Succeeded } else { Exit::Other })
}
