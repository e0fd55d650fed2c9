//! `kindred views`: what a job's network sees, drawn by the worker's program that stands beside this one.

use std::process::Stdio;

use kindred_proto::job_spec;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    args::Views,
    exit::{Error, Exit},
    program, submit,
};

/// Checks the file here, and leaves the rest, with its words, to the worker's program.
pub async fn run(args: Views) -> Result<Exit, Error> {
    let spec = submit::read(&args.file, &args.overrides)?;
    let path = program::beside_this("kindred-worker")?;
    let cannot =
        |what: &str, error| Error::new(Exit::Other, format!("cannot {what} {}: {error}", path.display()));
    let mut child = Command::new(&path)
        .args(["views", "-", "--images", &args.n_images.to_string()])
        .arg("--png")
        .arg(&args.png)
        .arg("--data-root")
        .arg(&args.data_root)
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| cannot("start", error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that gives up before it has read all says why itself.
        let _ = stdin.write_all(job_spec::to_yaml(&spec).as_bytes()).await;
    }
    let status = child.wait().await.map_err(|error| cannot("wait for", error))?;
    Ok(if status.success() { Exit::Succeeded } else { Exit::Other })
}
