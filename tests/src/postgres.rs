//! A real PostgreSQL server of a test's own: in a temporary folder, reached over a socket in it, ended with its owner.

use std::{
    env, fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Says that a missing server is a failure, as in `make test-full`.
const REQUIRED: &str = "KINDRED_REQUIRE_POSTGRES";

/// PostgreSQL refuses to run as root; this user has no rights.
const NOBODY: u32 = 65_534;

const START_LIMIT: Duration = Duration::from_secs(60);

/// A server that runs. Dropping it ends it, without a shutdown of its own.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    server: Option<Child>,
}

impl Postgres {
    /// Starts one; none where PostgreSQL is not installed, unless `KINDRED_REQUIRE_POSTGRES` says that it must be.
    ///
    /// # Errors
    /// When it does not start, or is required and not there.
    pub async fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else {
            let how = "PostgreSQL is not installed (Debian: apt-get install postgresql)";
            ensure!(env::var_os(REQUIRED).is_none(), "{how}");
            eprintln!("{how}: what needs it is left out");
            return Ok(None);
        };
        let folder = TempDir::with_prefix("kindred-pg-")?;
        if geteuid().is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let mut postgres = Self { folder, programs, server: None };
        postgres.initialise()?;
        postgres.resume().await?;
        Ok(Some(postgres))
    }

    /// The address of a database; [`Postgres::create`] makes it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?user=kindred&host={}", self.folder.path().display())
    }

    /// Makes a database and gives its address.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create(&self, database: &str) -> Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE \"{database}\""))?;
        Ok(self.url(database))
    }

    /// Runs statements and gives what they print.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let output = self
            .command("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
            .args(["--command", statements, &self.url(database)])
            .output()?;
        ensure!(output.status.success(), "{statements}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Ends the server at once, as a crash of its machine does.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        // Its other processes end with it; without this one's word they would take their time.
        kill_process(Pid::from_child(&server), Signal::QUIT)?;
        server.wait()?;
        Ok(())
    }

    /// Starts the server again where it was ended.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn resume(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=32MB"]);
        self.server = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        let started = Instant::now();
        while self.sql("postgres", "SELECT 1").is_err() {
            if started.elapsed() > START_LIMIT {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("PostgreSQL does not start:\n{log}");
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn initialise(&self) -> Result<()> {
        let output = self
            .command("initdb")
            .args(["--auth=trust", "--username=kindred", "--no-locale", "--encoding=UTF8", "--no-sync", "-D"])
            .arg(self.data())
            .output()
            .context("initdb")?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        // None of the user's own settings.
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir(self.folder.path());
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill().ok();
    }
}

/// The folder of PostgreSQL's programs: where `KINDRED_POSTGRES_BIN` says, on the path, or where Debian has them.
fn programs() -> Option<PathBuf> {
    let is_it = |folder: &Path| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file());
    let named = env::var_os("KINDRED_POSTGRES_BIN").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    let folders = named.into_iter().chain(env::split_paths(&path)).chain(versions.into_iter().rev());
    folders.into_iter().find(|folder| is_it(folder))
}
