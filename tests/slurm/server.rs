//! Slurm with two nodes on this machine, in a folder of its own.

use std::{
    fs::{self, File, OpenOptions},
    net::TcpListener,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const NODES: [&str; 2] = ["n1", "n2"];
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// munged, slurmctld, and a slurmd a node. Dropping it ends all of them.
pub struct Slurm {
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Slurm {
    /// Starts it, with the partition `low`, whose jobs are requeued after 20 s of notice, for those of `high`.
    pub async fn start() -> Result<Self> {
        let folder = TempDir::with_prefix("kindred-slurm-")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut slurm = Self { folder, daemons: vec![] };
        slurm.start_munge().await?;
        fs::write(slurm.configuration(), slurm.settings()?)?;
        fs::create_dir(slurm.path("state"))?;
        slurm.daemon("slurmctld", &["-D", "-c"])?;
        for node in NODES {
            fs::create_dir(slurm.path(&format!("spool-{node}")))?;
            slurm.daemon("slurmd", &["-D", "-N", node])?;
        }
        let started = Instant::now();
        while slurm
            .ask("sinfo", &["--noheader", "--partition", "low", "--states", "idle", "--format", "%D"])
            .ok()
            != Some("2".to_owned())
        {
            ensure!(started.elapsed() < START_LIMIT, "Slurm's nodes do not get ready:\n{}", slurm.logs());
            sleep(POLL).await;
        }
        Ok(slurm)
    }

    /// slurm.conf, for SLURM_CONF.
    pub fn configuration(&self) -> PathBuf {
        self.path("slurm.conf")
    }

    /// Runs one of Slurm's commands and gives what it prints.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = Command::new(program)
            .args(arguments)
            .env("SLURM_CONF", self.configuration())
            .current_dir(self.folder.path())
            .output()
            .with_context(|| program.to_owned())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {arguments:?}: {said}\n{}", self.logs());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// A field of a Slurm job, such as `JobState`.
    pub fn field(&self, job: &str, name: &str) -> Result<String> {
        let all = self.ask("scontrol", &["--oneliner", "show", "job", job])?;
        let prefix = format!("{name}=");
        let found = all.split(' ').find_map(|field| field.strip_prefix(&prefix));
        found.map(str::to_owned).with_context(|| format!("no {name} in {all}"))
    }

    /// The ends of Slurm's logs.
    pub fn logs(&self) -> String {
        kindred_tests::logs::tails(self.folder.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start_munge(&mut self) -> Result<()> {
        let mut key = vec![0; 128];
        std::io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut key)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path("munge.key"));
        std::io::Write::write_all(&mut file?, &key)?;
        let option = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let options = [
            option("key-file", "munge.key"),
            option("socket", "munge.socket"),
            option("pid-file", "munged.pid"),
            option("seed-file", "munge.seed"),
        ];
        let mut arguments = vec!["--foreground", "--force", "--origin=127.0.0.1", "--num-threads=2"];
        arguments.extend(options.iter().map(String::as_str));
        self.daemon("munged", &arguments)?;
        let started = Instant::now();
        while !self.path("munge.socket").exists() {
            ensure!(started.elapsed() < START_LIMIT, "munged does not start:\n{}", self.logs());
            sleep(POLL).await;
        }
        Ok(())
    }

    fn daemon(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        let name = format!("{program}-{}.log", self.daemons.len());
        let log = File::create(self.path(&name))?;
        let mut command = Command::new(Path::new("/usr/sbin").join(program));
        command.args(arguments).env("SLURM_CONF", self.configuration()).current_dir(self.folder.path());
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        self.daemons.push(child.with_context(|| format!("{program}: run deploy/setup/slurm.sh"))?);
        Ok(())
    }

    /// No cgroups, no accounting: what one machine and any user can have.
    fn settings(&self) -> Result<String> {
        let host = output_of("hostname", &["-s"])?;
        let user = output_of("id", &["-un"])?;
        let [controller, first, second] = free_ports()?;
        let folder = self.folder.path().display();
        Ok(format!(
            "ClusterName=kindred
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={controller}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
ReturnToService=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1
PartitionName=low Nodes=n[1-2] Default=YES PriorityTier=1 GraceTime=20 State=UP
PartitionName=high Nodes=n[1-2] PriorityTier=10 PreemptMode=OFF State=UP
"
        ))
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // Jobs that a failed test leaves behind would outlive Slurm.
        let _ = self.ask("scancel", &["--full", "--signal=KILL", "--partition=low"]);
        let _ = self.ask("scancel", &["--partition=low"]);
        for daemon in self.daemons.iter_mut().rev() {
            let _ = kill_process(Pid::from_child(daemon), Signal::TERM);
            let _ = daemon.wait();
        }
    }
}

fn output_of(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let ports =
        listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<Vec<_>>>()?;
    Ok(ports.try_into().expect("as many as asked for"))
}
