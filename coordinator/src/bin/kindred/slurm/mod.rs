//! `kindred slurm`: workers inside an allocation of Slurm.
//!
//! Fills in `deploy/slurm/workers.sbatch` and hands it to sbatch. What becomes of the workers is Slurm's business and the script's.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use kindred_proto::v1;
use tokio::{io::AsyncWriteExt, process::Command};
use uuid::Uuid;

use crate::{
    args::{Global, Slurm},
    client::Client,
    exit::{Error, Exit},
    output,
};
use script::Script;

mod script;

/// Submits the script, or prints it.
pub async fn run(global: &Global, args: Slurm) -> Result<Exit, Error> {
    let join_file = global
        .credentials
        .tls_ca
        .is_some()
        .then(|| args.state.join("workers").join(format!("join-{}", Uuid::new_v4())));
    let script = Script::new(global, &args, join_file)?;
    let text = script.render();
    if args.dry_run {
        output::result(text.trim_end())?;
        if let Some(file) = &script.join_file {
            let n_nodes = args.nodes;
            output::note(&format!(
                "to submit it by hand, put {n_nodes} lines of `kindred nodes join-token` into {}",
                file.display()
            ));
        }
        return Ok(Exit::Succeeded);
    }
    let folder = args.state.join("workers");
    fs::create_dir_all(&folder)
        .map_err(|error| Error::invalid(format!("--state: cannot make {}: {error}", folder.display())))?;
    warn_of_loopback(global, &args);
    if let Some(file) = &script.join_file {
        write_tokens(global, &args, file).await?;
    }
    let submitted = sbatch(&text).await;
    if let (Err(_), Some(file)) = (&submitted, &script.join_file) {
        let _ = fs::remove_file(file);
    }
    let slurm_job = submitted?;
    output::result(&slurm_job)?;
    output::note(&format!(
        "Slurm job {slurm_job}: its log is {}; `kindred nodes --filter 'labels.slurm_job = {slurm_job}'` shows its workers, \
         `scancel {slurm_job}` ends them",
        script.log().replace("%j", &slurm_job)
    ));
    Ok(Exit::Succeeded)
}

/// Nodes other than this one would look for the coordinator on themselves.
fn warn_of_loopback(global: &Global, args: &Slurm) {
    let given = args.address.as_deref().unwrap_or(&global.coordinator);
    let is_here = ["127.", "localhost:", "[::1]:"].iter().any(|host| given.starts_with(host));
    if is_here && global.credentials.tls_ca.is_none() {
        output::note(&format!(
            "warning: workers look for the coordinator at {given}, each on its own node; name it with --coordinator as they reach it"
        ));
    }
}

/// One token a node, in a file that is this user's alone.
async fn write_tokens(global: &Global, args: &Slurm, file: &Path) -> Result<(), Error> {
    let client = Client::connect(global).await?;
    let mut tokens = String::new();
    for _ in 0..args.nodes {
        let address = args.address.clone().unwrap_or_default();
        let request = v1::CreateJoinTokenRequest { ttl_s: args.join_ttl, address };
        tokens += &client.answer(client.access().create_join_token(request)).await?.join;
        tokens.push('\n');
    }
    let written = private(file).and_then(|mut file| file.write_all(tokens.as_bytes()));
    written.map_err(|error| Error::invalid(format!("--state: cannot write {}: {error}", file.display())))
}

fn private(file: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

/// Hands the script to sbatch, and gives the number of the Slurm job.
async fn sbatch(script: &str) -> Result<String, Error> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(
            Exit::Other,
            "there is no sbatch on this machine: run this where Slurm's commands are, or print the script with --dry-run",
        ),
        _ => Error::new(Exit::Other, format!("cannot run sbatch: {error}")),
    };
    let mut child = Command::new("sbatch")
        .arg("--parsable")
        // It would lie in Slurm's own files and in the environment of every worker.
        .env_remove("KINDRED_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(cannot)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that gives up before it has read all says why itself.
        let _ = stdin.write_all(script.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(cannot)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(Error::new(Exit::Other, format!("Slurm refuses: {}", said.trim())));
    }
    // With several clusters their name follows the number.
    let answer = String::from_utf8_lossy(&output.stdout);
    Ok(answer.trim().split(';').next().unwrap_or_default().to_owned())
}

/// The folder of this program.
fn own_folder() -> Result<PathBuf, Error> {
    let this = std::env::current_exe()?;
    Ok(this.parent().unwrap_or(Path::new("/")).to_owned())
}
