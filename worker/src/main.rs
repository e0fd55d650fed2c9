//! `kindred-rank`: one rank of a job, started by `kindred-worker`, one process per device. Its argument, the job's id, is for
//! whoever lists processes.

use std::{env, path::Path, process::ExitCode};

use anyhow::Context;
use kindred_ipc::SOCKET_VARIABLE;
use kindred_worker::train::{self, Link};
use rustix::process::{Signal, getpid, kill_process, set_parent_process_death_signal};

fn main() -> ExitCode {
    let Some(socket) = env::var_os(SOCKET_VARIABLE) else {
        eprintln!(
            "kindred-rank is started by kindred-worker, which names its socket in {SOCKET_VARIABLE}; to train, run \
             `kindred up` and `kindred submit`"
        );
        return ExitCode::from(2);
    };
    match serve(Path::new(&socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kindred-rank: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(socket: &Path) -> anyhow::Result<()> {
    kindred_bridge::tune_allocator();
    tch::set_num_interop_threads(1);
    set_parent_process_death_signal(Some(Signal::KILL)).context("bind this process to its agent's life")?;
    let (link, start) =
        Link::open(socket, die).with_context(|| format!("talk to the agent at {}", socket.display()))?;
    train::send_to(&link, &start).context("send the log to the agent")?;
    let last = train::serve(&link, start);
    link.end(last);
    Ok(())
}

/// Ends this process at once, without any destructor that could wait for a peer.
fn die() {
    let _ = kill_process(getpid(), Signal::KILL);
}
