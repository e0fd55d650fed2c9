//! Workers that join over TLS with a token that is good once, and hold certificates that are renewed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kindred_tests::{logs, program};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// Short, so that several are seen.
const CERTIFICATE_LIFE: &str = "5s";

/// A coordinator with TLS, and what it started. Dropping it kills all of that.
struct Secure {
    folder: TempDir,
    children: Vec<Child>,
}

impl Secure {
    async fn start() -> Result<Self> {
        let mut secure = Self { folder: TempDir::with_prefix("kindred-e2e-")?, children: vec![] };
        let state = secure.path("coordinator");
        let args = ["--listen", "127.0.0.1:0", "--tls", "auto", "--node-certificate-life", CERTIFICATE_LIFE];
        secure.spawn(
            "kindred-coordinator",
            "coordinator.log",
            &[&args[..], &["--state", text(&state)]].concat(),
        )?;
        wait(|| Ok(state.join("admin-token").exists())).await.context("the coordinator starts")?;
        Ok(secure)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spawn(&mut self, name: &str, log: &str, args: &[&str]) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.path(log))?;
        let mut command = Command::new(program(name));
        command.env_remove("KINDRED_COORDINATOR").args(args);
        self.children.push(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(())
    }

    fn start_worker(&mut self, name: &str, args: &[&str]) -> Result<()> {
        let (state, data) = (self.path(name), self.path("data"));
        let own = ["--name", name, "--state", text(&state), "--data-root", text(&data)];
        self.spawn("kindred-worker", &format!("{name}.log"), &[&own[..], args].concat())
    }

    fn kindred(&self, args: &[&str]) -> Result<String> {
        let state = self.path("coordinator");
        let address = fs::read_to_string(state.join("address"))?;
        let output = Command::new(program("kindred"))
            .args(["--coordinator", address.trim(), "--tls-ca", text(&state.join("tls/ca.pem"))])
            .args(["--token-file", text(&state.join("admin-token"))])
            .args(args)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kindred {args:?}: {said}\n{}", logs::tails(self.folder.path()));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn n_lines_with(&self, log: &str, part: &str) -> Result<usize> {
        let text = fs::read_to_string(self.path(log))?;
        Ok(text.lines().filter(|line| line.contains(part)).count())
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

async fn wait(is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("not within {PATIENCE:?}");
        }
        sleep(POLL).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_joins_once_renews_its_certificate_and_comes_back() -> Result<()> {
    let mut secure = Secure::start().await?;
    let token = secure.kindred(&["nodes", "join-token"])?;
    secure.start_worker("first", &["--join", token.trim()])?;
    let is_ready = || Ok(secure.kindred(&["nodes"])?.contains("ready"));
    wait(is_ready).await.context("the worker joins")?;
    let has_renewed = || Ok(secure.n_lines_with("first.log", "certificate is renewed")? >= 2);
    wait(has_renewed).await.with_context(|| logs::tails(secure.folder.path()))?;

    // Its certificate and the coordinator's address are in its state folder.
    let mut worker = secure.children.pop().context("it was started last")?;
    worker.kill()?;
    worker.wait()?;
    secure.start_worker("first", &[])?;
    let is_back = || Ok(secure.n_lines_with("first.log", "connected to the coordinator")? >= 2);
    wait(is_back).await.with_context(|| logs::tails(secure.folder.path()))?;

    secure.start_worker("second", &["--join", token.trim()])?;
    let mut second = secure.children.pop().context("it was started last")?;
    let status = second.wait()?;
    ensure!(!status.success(), "a join token let two workers in");
    ensure!(secure.n_lines_with("second.log", "used before")? == 1, "{}", logs::tails(secure.folder.path()));
    Ok(())
}
