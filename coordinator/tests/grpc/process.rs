//! The program `kindred-coordinator` as it is started, killed and started again.

use std::{net::SocketAddr, path::Path, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use crate::{
    cli::{JOB, kindred, text},
    fixture::PATIENCE,
};

/// A process whose lines on standard error a test reads.
pub struct Program {
    pub child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Program {
    /// Starts it with its standard error at hand.
    pub fn start(path: &str, args: &[&str]) -> Self {
        let mut command = Command::new(path);
        command.args(args);
        Self::run(command)
    }

    /// As [`Program::start`], with an environment.
    pub fn run(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        Self { child, lines }
    }

    fn coordinator(state: &Path, listen: &str) -> Self {
        let args = ["--state", state.to_str().expect("plain"), "--listen", listen];
        Self::start(env!("CARGO_BIN_EXE_kindred-coordinator"), &args)
    }

    /// Reads until a line holds this; gives the line.
    pub async fn line_with(&mut self, part: &str) -> String {
        let mut seen = Vec::new();
        let found = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.expect("plain text") {
                if line.contains(part) {
                    return Some(line);
                }
                seen.push(line);
            }
            None
        });
        let found = found.await.ok().flatten();
        found.unwrap_or_else(|| panic!("{part:?} is not in {seen:#?}"))
    }

    /// Its address, once it listens.
    async fn address(&mut self, state: &Path) -> SocketAddr {
        self.line_with("listening").await;
        let address = std::fs::read_to_string(state.join("address")).expect("written before the line");
        address.trim().parse().expect("an address")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).expect("it runs");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Its exit code; none when a signal ended it.
    pub async fn code(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("it is ours").code()
    }
}

#[tokio::test]
async fn a_coordinator_says_where_it_listens_and_stops_when_asked() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let mut coordinator = Program::coordinator(state.path(), "127.0.0.1:0");
    let address = coordinator.address(state.path()).await;
    let nodes = kindred(&address.to_string(), &["nodes"]).await;
    assert_eq!(nodes.status.code(), Some(0), "{}", text(&nodes.stderr));
    coordinator.signal(Signal::TERM);
    assert_eq!(coordinator.code().await, Some(0));
    assert!(!state.path().join("address").exists(), "nobody listens there any more");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let mut coordinator = Program::coordinator(first.path(), "127.0.0.1:0");
    let address = coordinator.address(first.path()).await.to_string();
    let mut other = Program::coordinator(second.path(), &address);
    let error = other.line_with("ERROR").await;
    assert!(error.contains(&address) && error.contains("in use") && error.contains("--listen"), "{error}");
    assert_eq!(other.code().await, Some(1));
}

#[tokio::test]
async fn a_state_folder_has_one_coordinator() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let mut coordinator = Program::coordinator(state.path(), "127.0.0.1:0");
    coordinator.address(state.path()).await;
    let mut other = Program::coordinator(state.path(), "127.0.0.1:0");
    let pid = coordinator.child.id().expect("it runs");
    other.line_with(&format!("in use by process {pid}")).await;
    assert_eq!(other.code().await, Some(1));
}

#[tokio::test]
async fn watching_survives_a_coordinator_that_is_killed() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let mut coordinator = Program::coordinator(state.path(), "127.0.0.1:0");
    let address = coordinator.address(state.path()).await.to_string();
    let submitted = kindred(&address, &["submit", JOB]).await;
    let job_id = text(&submitted.stdout).trim().to_owned();
    let args = ["watch", job_id.as_str(), "--coordinator", address.as_str()];
    let mut watch = Program::start(env!("CARGO_BIN_EXE_kindred"), &args);
    watch.line_with("is pending").await;
    coordinator.signal(Signal::KILL);
    assert_eq!(coordinator.code().await, None);
    watch.line_with("reconnecting").await;
    let mut coordinator = Program::coordinator(state.path(), &address);
    coordinator.address(state.path()).await;
    watch.line_with("is back").await;
    let cancelled = kindred(&address, &["cancel", &job_id]).await;
    assert_eq!(cancelled.status.code(), Some(0), "{}", text(&cancelled.stderr));
    watch.line_with("was cancelled").await;
    assert_eq!(watch.code().await, Some(12));
}

#[tokio::test]
async fn ctrl_c_ends_the_watching_and_not_the_job() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let mut coordinator = Program::coordinator(state.path(), "127.0.0.1:0");
    let address = coordinator.address(state.path()).await.to_string();
    let submitted = kindred(&address, &["submit", JOB]).await;
    let job_id = text(&submitted.stdout).trim().to_owned();
    let args = ["watch", job_id.as_str(), "--coordinator", address.as_str()];
    let mut watch = Program::start(env!("CARGO_BIN_EXE_kindred"), &args);
    watch.line_with("is pending").await;
    watch.signal(Signal::INT);
    watch.line_with("goes on").await;
    assert_eq!(watch.code().await, Some(130));
    assert!(text(&kindred(&address, &["jobs"]).await.stdout).contains("pending"));
}
