//! The process of a rank: its environment, its end, and the kill that comes when it does not end by itself.

use std::{
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use kindred_ipc::SOCKET_VARIABLE;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    net::UnixListener,
    process::{Child, Command},
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Error, Launch, Stop, talk::Over};
use crate::{
    config::EXIT_TIMEOUT,
    host::{Connection, Pending, Process, Started},
};

/// A process that leads a group of its own. Dropping it kills the group and removes its socket.
struct Leader {
    pid: u32,
    child: Child,
    /// The group, until its leader is reaped and the number may be given to another.
    group: Option<Pid>,
    socket: PathBuf,
}

/// How a process ended.
#[derive(Debug)]
pub struct End {
    /// What the system says; an error when it could not be asked.
    pub status: io::Result<ExitStatus>,
    /// Whether the rank had been asked to stop.
    pub was_asked: bool,
    /// Whether the agent killed it.
    pub was_killed: bool,
}

/// Starts the process of a rank, and listens at its socket.
pub fn start(launch: &Launch) -> Result<Started, Error> {
    let listener = UnixListener::bind(&launch.socket)
        .map_err(|source| Error::Listen { path: launch.socket.clone(), source })?;
    let spawned = spawn(launch, listener);
    spawned.map_err(|source| Error::Spawn { path: launch.program.clone(), source })
}

fn spawn(launch: &Launch, listener: UnixListener) -> io::Result<Started> {
    let n_threads = launch.n_threads.to_string();
    let mut child = Command::new(&launch.program)
        // For whoever lists processes.
        .arg(launch.key.job_id.as_str())
        .env(SOCKET_VARIABLE, &launch.socket)
        .env("OMP_NUM_THREADS", &n_threads)
        .env("MKL_NUM_THREADS", &n_threads)
        // Ranks share the node's cores: a thread that waits must sleep, not spin.
        .env("OMP_WAIT_POLICY", "PASSIVE")
        .env("GOMP_SPINCOUNT", "0")
        // c10d's watchdog would end the process when a peer is lost. With `CleanUpOnly` (`ErrorHandlingMode` in
        // ProcessGroupNCCL.hpp) it only aborts NCCL's communicators: the rank's next operation fails, and the rank
        // says why.
        .env("TORCH_NCCL_ASYNC_ERROR_HANDLING", "2")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let gone = || io::Error::other("the process was gone at once");
    let pid = child.id().ok_or_else(gone)?;
    let (stdout, stderr) = (child.stdout.take().ok_or_else(gone)?, child.stderr.take().ok_or_else(gone)?);
    let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(Started {
        pid,
        process: Box::new(Leader { pid, child, group, socket: launch.socket.clone() }),
        call: Box::pin(async move {
            let (stream, _) = listener.accept().await?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        }),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
    })
}

impl Process for Leader {
    fn wait(&mut self) -> Pending<'_, io::Result<ExitStatus>> {
        Box::pin(async {
            let status = self.child.wait().await;
            self.group = None;
            status
        })
    }

    fn kill(&mut self) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::warn!(pid = self.pid, %error, "cannot kill a rank");
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Waits for the end of a process. Kills it when it does not end within `grace` of being asked, or soon after its
/// conversation is over; at once when it is hung.
pub async fn watch(
    mut process: Box<dyn Process>,
    mut stop: watch::Receiver<Option<Stop>>,
    talked: &Over,
    grace: Duration,
) -> End {
    let (mut was_asked, mut was_killed, mut has_talked) = (false, false, false);
    let mut deadline: Option<Instant> = None;
    let mut asked = std::pin::pin!(async move { stop.wait_for(Option::is_some).await.is_ok() });
    let status = loop {
        let due = deadline.unwrap_or_else(Instant::now);
        tokio::select! {
            // A process that is gone did not hear a wish that came at the same moment.
            biased;
            status = process.wait() => break status,
            true = &mut asked, if !was_asked => {
                was_asked = true;
                deadline = sooner(deadline, grace);
            }
            () = talked.over.cancelled(), if !has_talked => {
                has_talked = true;
                let is_hung = talked.is_hung.is_cancelled();
                deadline = sooner(deadline, if is_hung { Duration::ZERO } else { EXIT_TIMEOUT });
            }
            () = sleep_until(due), if deadline.is_some() && !was_killed => {
                was_killed = true;
                process.kill();
            }
        }
    };
    End { status, was_asked, was_killed }
}

/// The sooner of a deadline and one that is so far from now.
fn sooner(deadline: Option<Instant>, from_now: Duration) -> Option<Instant> {
    let new = Instant::now() + from_now;
    Some(deadline.map_or(new, |old| old.min(new)))
}
