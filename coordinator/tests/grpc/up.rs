//! `kindred up`, with a shell script in the place of the worker.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::process::Program;

/// Stands in for the worker.
const WORKER: &str = "worker.sh";

/// An installation of its own: `kindred` starts what stands beside it.
struct Installation {
    dir: TempDir,
}

impl Installation {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        for program in [env!("CARGO_BIN_EXE_kindred"), env!("CARGO_BIN_EXE_kindred-coordinator")] {
            let name = Path::new(program).file_name().expect("a file");
            fs::hard_link(program, dir.path().join(name)).expect("on one file system");
        }
        Self { dir }
    }

    /// Links the script: one that were written here might still be open for writing when it is started.
    fn with_worker(script: &str) -> Self {
        let installation = Self::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/programs").join(script);
        symlink(script, installation.path("kindred-worker")).expect("a new name");
        installation
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn up(&self, args: &[&str]) -> Program {
        let (program, state) = (self.path("kindred"), self.path("state"));
        let fixed = ["up", "--listen", "127.0.0.1:0", "--state", state.to_str().expect("plain")];
        Program::start(program.to_str().expect("plain"), &[&fixed, args].concat())
    }

    /// The pid in the coordinator's lock.
    fn coordinator(&self) -> Pid {
        let text = fs::read_to_string(self.path("state/coordinator/lock")).expect("it runs");
        Pid::from_raw(text.trim().parse().expect("a number")).expect("a pid")
    }
}

#[tokio::test]
async fn up_starts_all_and_stops_the_workers_first() {
    let installation = Installation::with_worker(WORKER);
    let mut up = installation.up(&["--workers", "2", "--devices-per-worker", "3"]);
    let listening = up.line_with("listening").await;
    assert!(listening.starts_with("coordinator | "), "{listening}");
    let started = up.line_with("worker-2    | started with").await;
    for part in ["--coordinator 127.0.0.1:", "--name worker-2", "--devices 3", "state/jobs", "state/data"] {
        assert!(started.contains(part), "{part} is not in {started}");
    }
    up.signal(Signal::INT);
    up.line_with("| bye").await;
    up.line_with("coordinator | ").await;
    assert_eq!(up.code().await, Some(130));
    assert!(!installation.path("state/coordinator/address").exists());
}

#[tokio::test]
async fn up_starts_again_what_is_killed() {
    let installation = Installation::with_worker(WORKER);
    let mut up = installation.up(&[]);
    up.line_with("started with").await;
    let first = installation.coordinator();
    kill_process(first, Signal::KILL).expect("it is ours");
    up.line_with("coordinator ended (signal: 9").await;
    up.line_with("listening").await;
    assert_ne!(installation.coordinator(), first);
    up.signal(Signal::TERM);
    assert_eq!(up.code().await, Some(0));
}

#[tokio::test]
async fn up_refuses_a_state_folder_that_is_in_use() {
    let installation = Installation::with_worker(WORKER);
    let mut up = installation.up(&[]);
    up.line_with("started with").await;
    let mut second = installation.up(&[]);
    second.line_with(&format!("in use by process {}", installation.coordinator().as_raw_nonzero())).await;
    assert_eq!(second.code().await, Some(1));
    up.signal(Signal::TERM);
    assert_eq!(up.code().await, Some(0));
}

#[tokio::test]
async fn up_gives_up_on_what_cannot_start() {
    let installation = Installation::with_worker("worker-that-gives-up.sh");
    let mut up = installation.up(&[]);
    up.line_with("worker-1    | no rank program").await;
    up.line_with("worker-1 ended right after its start (exit status: 7)").await;
    assert_eq!(up.code().await, Some(1));
    let installation = Installation::new();
    let mut up = installation.up(&[]);
    up.line_with("kindred-worker is missing").await;
    assert_eq!(up.code().await, Some(1));
}
