//! Two coordinators on one database, and agents whose ranks have no tensors.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kindred_proto::{
    failure::{self, Reason},
    v1::{self, job_service_client::JobServiceClient, node_service_client::NodeServiceClient},
};
use kindred_tests::{logs, postgres::Postgres, program};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

/// Longest wait for anything.
pub const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Coordinators, agents and their database. Dropping it kills every process that it started.
pub struct Pair {
    folder: TempDir,
    coordinators: Vec<Coordinator>,
    agents: Vec<Child>,
    postgres: Postgres,
}

struct Coordinator {
    address: String,
    process: Option<Child>,
}

impl Pair {
    /// Starts all of it; none where there is no PostgreSQL.
    pub async fn start(n_agents: usize, devices: u32) -> Result<Option<Self>> {
        let Some(postgres) = Postgres::start().await? else { return Ok(None) };
        postgres.create("kindred")?;
        let folder = TempDir::with_prefix("kindred-failover-")?;
        let mut pair = Self { folder, coordinators: vec![], agents: vec![], postgres };
        for index in 0..2 {
            pair.coordinators.push(Coordinator { address: "127.0.0.1:0".into(), process: None });
            pair.start_coordinator(index).await?;
        }
        for index in 0..n_agents {
            pair.start_agent(index, devices)?;
        }
        pair.wait_for_agents().await?;
        Ok(Some(pair))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Both addresses, as clients and agents are given them.
    pub fn addresses(&self) -> String {
        self.coordinators.iter().map(|it| it.address.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Starts a coordinator, at the address it had before if it had one.
    pub async fn start_coordinator(&mut self, index: usize) -> Result<()> {
        let state = self.folder().join(format!("coordinator-{index}"));
        fs::create_dir_all(&state)?;
        let written = state.join("address");
        fs::remove_file(&written).ok();
        let mut command = self.command("kindred-coordinator", &format!("coordinator-{index}.log"))?;
        command.args(["--listen", &self.coordinators[index].address]).arg("--state").arg(&state);
        command.args(["--detection-budget", "10s"]);
        command.env("KINDRED_STORE", self.postgres.url("kindred"));
        self.coordinators[index].process = Some(command.spawn()?);
        let deadline = Instant::now() + LIMIT;
        while !written.exists() {
            ensure!(Instant::now() < deadline, "coordinator {index} does not listen:\n{}", self.logs());
            sleep(POLL).await;
        }
        self.coordinators[index].address = fs::read_to_string(&written)?.trim().into();
        Ok(())
    }

    fn start_agent(&mut self, index: usize, devices: u32) -> Result<()> {
        let fake_rank = program("kindred-worker").with_file_name("examples").join("fake_rank");
        let how = "cargo build -p kindred-agent --example fake_rank builds it";
        ensure!(fake_rank.is_file(), "{} is not there: {how}", fake_rank.display());
        let mut command = self.command("kindred-worker", &format!("agent-{index}.log"))?;
        command.args(["--coordinator", &self.addresses(), "--name", &format!("node-{index}")]);
        command.args([
            "--devices",
            &devices.to_string(),
            "--cuda-devices",
            "0",
            "--data-address",
            "127.0.0.1",
        ]);
        command.arg("--rank-binary").arg(fake_rank);
        command.arg("--state").arg(self.folder().join(format!("agent-{index}")));
        self.agents.push(command.spawn()?);
        Ok(())
    }

    fn command(&self, name: &str, log: &str) -> Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(self.folder().join(log))?;
        let mut command = Command::new(program(name));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).env("KINDRED_LOG", "info");
        Ok(command)
    }

    /// Which coordinator leads, once one does.
    pub async fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + LIMIT;
        loop {
            for (index, coordinator) in self.coordinators.iter().enumerate() {
                if coordinator.process.is_some() && leads(&coordinator.address).await {
                    return Ok(index);
                }
            }
            ensure!(Instant::now() < deadline, "nobody leads:\n{}", self.logs());
            sleep(POLL).await;
        }
    }

    /// The way to the one that leads.
    pub async fn channel(&self) -> Result<Channel> {
        let leader = self.leader().await?;
        Ok(connect(&self.coordinators[leader].address).await?)
    }

    /// Ends a coordinator at once, as a crash would.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        let mut process = self.coordinators[index].process.take().context("it runs")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Waits until all agents are with the leader.
    pub async fn wait_for_agents(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut nodes = NodeServiceClient::new(self.channel().await?);
            let list = timeout(CALL_LIMIT, nodes.list_nodes(v1::ListNodesRequest::default())).await;
            let nodes = list.ok().and_then(Result::ok).map(|it| it.into_inner().nodes).unwrap_or_default();
            let n_ready = nodes.iter().filter(|node| node.state() == v1::NodeState::Ready).count();
            if n_ready == self.agents.len() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not all agents are there: {nodes:#?}\n{}", self.logs());
            sleep(POLL).await;
        }
    }

    /// A job as the leader sees it.
    pub async fn job(&self, job_id: &str) -> Result<v1::Job> {
        let request = v1::GetJobRequest { job_id: job_id.to_owned() };
        let answer = JobServiceClient::new(self.channel().await?).get_job(request).await?;
        answer.into_inner().job.context("a job")
    }

    /// All jobs.
    pub async fn jobs(&self) -> Result<Vec<v1::Job>> {
        let mut client = JobServiceClient::new(self.channel().await?).max_decoding_message_size(64 << 20);
        let mut request = v1::ListJobsRequest { page_size: 500, ..Default::default() };
        let mut jobs = vec![];
        loop {
            let page = client.list_jobs(request.clone()).await?.into_inner();
            jobs.extend(page.jobs);
            if page.next_page_token.is_empty() {
                return Ok(jobs);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// How often each rank was started, by job and generation, as the agents' logs have it.
    pub fn starts(&self) -> Result<Vec<String>> {
        let mut starts = vec![];
        for index in 0..self.agents.len() {
            let log = fs::read_to_string(self.folder().join(format!("agent-{index}.log")))?;
            let lines = log.lines().filter_map(|line| line.split_once("rank starts "));
            starts.extend(lines.map(|(_, fields)| fields.to_owned()));
        }
        Ok(starts)
    }

    /// Fails on any WARN or ERROR in the logs that no entry of `expected` is part of.
    pub fn finish(self, expected: &[&str]) -> Result<()> {
        let unexpected = logs::unexpected(self.folder(), expected)?;
        if !unexpected.is_empty() {
            bail!("lines in the logs that this test does not expect:\n{}", unexpected.join("\n"));
        }
        Ok(())
    }

    pub fn logs(&self) -> String {
        logs::tails(self.folder())
    }

    /// The path of a file in the folder of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let coordinators = self.coordinators.iter_mut().filter_map(|it| it.process.take());
        for mut child in self.agents.drain(..).chain(coordinators) {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Connects to one coordinator.
pub async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(CALL_LIMIT).connect().await
}

/// Whether it answers, and leads.
async fn leads(address: &str) -> bool {
    let Ok(channel) = connect(address).await else { return false };
    let mut jobs = JobServiceClient::new(channel);
    match timeout(CALL_LIMIT, jobs.get_job(v1::GetJobRequest::default())).await {
        Ok(Err(status)) => failure::from_status(&status).reason == Reason::JobNotFound,
        _ => false,
    }
}
