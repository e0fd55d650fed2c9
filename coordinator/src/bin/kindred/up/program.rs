//! One program of `kindred up`: started, listened to, started again when it dies, stopped when asked.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Error, Exit},
    output, program,
};

/// A program that gives up sooner than this has a fault that starting it again does not cure.
const EARLY: Duration = Duration::from_secs(10);
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// What to start, and how it is called in its lines.
pub struct Program {
    name: String,
    path: PathBuf,
    args: Vec<OsString>,
    grace: Duration,
}

impl Program {
    /// A program of the same installation.
    pub fn beside_this(name: &str, file: &str, grace: Duration) -> Result<Self, Error> {
        let path = program::beside_this(file)?;
        Ok(Self { name: name.to_owned(), path, args: Vec::new(), grace })
    }

    /// Adds an option without a value.
    pub fn flag(&mut self, option: &str) {
        self.args.push(option.into());
    }

    /// Adds an option with its value.
    pub fn arg(&mut self, option: &str, value: impl Into<OsString>) {
        self.args.extend([option.into(), value.into()]);
    }

    /// Runs it until `stop`, again and again when it dies.
    ///
    /// # Errors
    /// When it cannot be started, or gives up right after its start.
    pub async fn keep_running(self, stop: CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            let started = Instant::now();
            let Some(status) = self.run_once(&stop).await? else { return Ok(()) };
            let was_killed = status.code().is_none();
            if started.elapsed() < EARLY && !was_killed {
                let message =
                    format!("{} ended right after its start ({status}); see its lines above", self.name);
                return Err(Error::new(Exit::Other, message));
            }
            output::note(&format!("{} ended ({status}); starting it again", self.name));
            tokio::select! {
                () = stop.cancelled() => {}
                () = time::sleep(RESTART_AFTER) => {}
            }
        }
        Ok(())
    }

    /// Gives how it ended by itself, and nothing when it was stopped.
    async fn run_once(&self, stop: &CancellationToken) -> Result<Option<ExitStatus>, Error> {
        let mut child = self.start()?;
        let mut relays = JoinSet::new();
        relays.spawn(relay(self.name.clone(), child.stdout.take()));
        relays.spawn(relay(self.name.clone(), child.stderr.take()));
        let ended = tokio::select! {
            status = child.wait() => Some(status?),
            () = stop.cancelled() => {
                self.stop(&mut child).await?;
                None
            }
        };
        // What it said last is read before anything is said about its end.
        let _ = time::timeout(RESTART_AFTER, relays.join_all()).await;
        Ok(ended)
    }

    /// In a process group of its own: Ctrl-C reaches `kindred up` alone, which stops all in order.
    fn start(&self) -> Result<Child, Error> {
        Command::new(&self.path)
            .args(&self.args)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                Error::new(Exit::Other, format!("cannot start {}: {error}", self.path.display()))
            })
    }

    /// Asks, waits for the grace period, then kills.
    async fn stop(&self, child: &mut Child) -> Result<(), Error> {
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            // It may have ended in between; waiting finds out.
            let _ = kill_process(pid, Signal::TERM);
        }
        if time::timeout(self.grace, child.wait()).await.is_err() {
            output::note(&format!("{} did not stop within {:?}; killing it", self.name, self.grace));
            child.kill().await?;
        }
        Ok(())
    }
}

/// Passes lines on with the program's name before each.
async fn relay(name: String, from: Option<impl AsyncRead + Unpin>) {
    let Some(from) = from else { return };
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        output::note(&format!("{name:<11} | {}", String::from_utf8_lossy(&line)));
    }
}
