//! A coordinator and agents as real processes in a folder that goes away with them.

use std::{
    fs,
    hash::BuildHasher as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kindred_proto::v1::{
    self, JobState, job_service_client::JobServiceClient, node_service_client::NodeServiceClient,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use crate::{logs, processes::children, program};

/// How often a waiting test looks again.
const POLL: Duration = Duration::from_millis(100);

/// A coordinator and its agents. Dropping it kills every process that it started.
pub struct Cluster {
    folder: TempDir,
    coordinator: Option<Child>,
    agents: Vec<Option<Child>>,
    address: String,
    detection_budget: Duration,
    environment: Vec<(String, String)>,
}

impl Cluster {
    /// Starts a coordinator, and so many agents with one CPU device each.
    ///
    /// # Errors
    /// When a program does not start.
    pub async fn start(n_agents: usize) -> Result<Self> {
        Self::start_with(n_agents, Duration::from_secs(10)).await
    }

    /// The same with another detection budget.
    ///
    /// # Errors
    /// When a program does not start.
    pub async fn start_with(n_agents: usize, detection_budget: Duration) -> Result<Self> {
        let folder = TempDir::with_prefix("kindred-e2e-")?;
        let mut cluster = Self {
            folder,
            coordinator: None,
            agents: Vec::new(),
            address: "127.0.0.1:0".into(),
            detection_budget,
            environment: Vec::new(),
        };
        cluster.start_coordinator().await?;
        for index in 0..n_agents {
            cluster.start_agent(index, &[])?;
        }
        cluster.wait_for_nodes(n_agents).await?;
        Ok(cluster)
    }

    /// The folder that everything of this cluster is below.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `host:port` of the coordinator.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sets a variable for the programs that are started from now on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Folder that relative data paths of agent `index` are below.
    pub fn data_root(&self, index: usize) -> PathBuf {
        self.folder().join(format!("data-{index}"))
    }

    /// Starts the coordinator, at the address it had before if it had one.
    ///
    /// # Errors
    /// When it does not listen within ten seconds.
    pub async fn start_coordinator(&mut self) -> Result<()> {
        let state = self.folder().join("coordinator");
        fs::create_dir_all(&state)?;
        let written = state.join("address");
        fs::remove_file(&written).ok();
        let budget = format!("{}ms", self.detection_budget.as_millis());
        let child = self
            .command("kindred-coordinator", "coordinator.log")?
            .args(["--listen", &self.address, "--detection-budget", &budget])
            .arg("--state")
            .arg(&state)
            .spawn()?;
        self.coordinator = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !written.exists() {
            if Instant::now() > deadline {
                bail!("the coordinator does not listen:\n{}", self.log("coordinator.log"));
            }
            sleep(POLL).await;
        }
        self.address = fs::read_to_string(&written)?.trim().into();
        Ok(())
    }

    /// Ends the coordinator at once, as a crash would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill_coordinator(&mut self) -> Result<()> {
        kill(self.coordinator.take().context("the coordinator runs")?)
    }

    /// Asks the coordinator to stop, as whoever upgrades it does, and waits until it has.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn stop_coordinator(&mut self) -> Result<()> {
        stop(self.coordinator.take().context("the coordinator runs")?).await
    }

    /// Starts (or starts again) agent `index`, with further arguments.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn start_agent(&mut self, index: usize, arguments: &[&str]) -> Result<()> {
        let data_root = self.data_root(index);
        fs::create_dir_all(&data_root)?;
        let child = self
            .command("kindred-worker", &format!("agent-{index}.log"))?
            .args(["--coordinator", &self.address, "--name", &format!("node-{index}")])
            .arg("--state")
            .arg(self.folder().join(format!("agent-{index}")))
            .arg("--jobs-dir")
            .arg(self.folder().join(format!("jobs-{index}")))
            .arg("--data-root")
            .arg(data_root)
            // Nodes read each other's encoders, as if their jobs' folders were shared.
            .arg("--allow-root")
            .arg(self.folder())
            .args(arguments)
            .spawn()?;
        if self.agents.len() <= index {
            self.agents.resize_with(index + 1, || None);
        }
        self.agents[index] = Some(child);
        Ok(())
    }

    /// Ends agent `index` at once, as a crash would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill_agent(&mut self, index: usize) -> Result<()> {
        kill(self.agents[index].take().context("the agent runs")?)
    }

    /// Asks agent `index` to stop, as whoever upgrades it does, and waits until it has.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn stop_agent(&mut self, index: usize) -> Result<()> {
        stop(self.agents[index].take().context("the agent runs")?).await
    }

    /// Process id of agent `index`.
    ///
    /// # Errors
    /// When it is not running.
    pub fn agent_pid(&self, index: usize) -> Result<u32> {
        Ok(self.agents[index].as_ref().context("the agent runs")?.id())
    }

    /// Process ids of the ranks that agent `index` runs.
    ///
    /// # Errors
    /// When the agent is not running.
    pub fn rank_pids(&self, index: usize) -> Result<Vec<u32>> {
        Ok(children(self.agent_pid(index)?))
    }

    /// A client for jobs.
    ///
    /// # Errors
    /// When the coordinator cannot be reached.
    pub async fn jobs(&self) -> Result<JobServiceClient<Channel>> {
        Ok(JobServiceClient::new(self.channel().await?))
    }

    /// A client for nodes.
    ///
    /// # Errors
    /// When the coordinator cannot be reached.
    pub async fn nodes(&self) -> Result<NodeServiceClient<Channel>> {
        Ok(NodeServiceClient::new(self.channel().await?))
    }

    /// Submits a job written in YAML and returns its id.
    ///
    /// # Errors
    /// When the job is refused.
    pub async fn submit(&self, yaml: &str) -> Result<String> {
        let spec = kindred_proto::job_spec::from_yaml(yaml, &[])?;
        let request_id = format!("{:032x}", std::collections::hash_map::RandomState::new().hash_one(yaml));
        let request = v1::CreateJobRequest { spec: Some(spec), request_id, ..Default::default() };
        let job = self.jobs().await?.create_job(request).await?.into_inner().job;
        Ok(job.context("the answer holds the job")?.id)
    }

    /// The job as it is.
    ///
    /// # Errors
    /// When the coordinator cannot be reached or does not know the job.
    pub async fn job(&self, job_id: &str) -> Result<v1::Job> {
        let request = v1::GetJobRequest { job_id: job_id.into() };
        let job = self.jobs().await?.get_job(request).await?.into_inner().job;
        job.context("the answer holds the job")
    }

    /// Waits until `done` holds of the job.
    ///
    /// # Errors
    /// When it does not within `limit`, or the job ends in another way; the logs are part of the error.
    pub async fn wait_for(
        &self,
        job_id: &str,
        limit: Duration,
        done: impl Fn(&v1::Job) -> bool,
    ) -> Result<v1::Job> {
        let deadline = Instant::now() + limit;
        let mut newest = None;
        loop {
            // The coordinator may be away for a while: that is what some tests are about.
            if let Ok(job) = self.job(job_id).await {
                if done(&job) {
                    return Ok(job);
                }
                let ended =
                    [JobState::Succeeded, JobState::Failed, JobState::Cancelled].contains(&job.state());
                if ended {
                    bail!("{job_id} ended: {job:#?}\n{}", self.logs());
                }
                newest = Some(job);
            }
            if Instant::now() > deadline {
                bail!("{job_id} not there after {limit:?}: {newest:#?}\n{}", self.logs());
            }
            sleep(POLL).await;
        }
    }

    /// Waits until so many nodes are ready.
    ///
    /// # Errors
    /// When they are not within 20 seconds.
    pub async fn wait_for_nodes(&self, n: usize) -> Result<()> {
        self.wait_for_ready(|n_ready| n_ready >= n).await
    }

    /// Waits until no node is ready any more: those that were killed have been missed.
    ///
    /// # Errors
    /// When some are after 20 seconds.
    pub async fn wait_for_no_node(&self) -> Result<()> {
        self.wait_for_ready(|n_ready| n_ready == 0).await
    }

    async fn wait_for_ready(&self, is_enough: impl Fn(usize) -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let nodes =
                self.nodes().await?.list_nodes(v1::ListNodesRequest::default()).await?.into_inner().nodes;
            if is_enough(nodes.iter().filter(|node| node.state() == v1::NodeState::Ready).count()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("not as many nodes are ready as wanted: {nodes:#?}\n{}", self.logs());
            }
            sleep(POLL).await;
        }
    }

    /// All points of one series of a job that count, in order.
    ///
    /// # Errors
    /// When the coordinator cannot be reached.
    pub async fn points(&self, job_id: &str, series: &str) -> Result<Vec<v1::MetricPoint>> {
        self.points_of(job_id, series, 0).await
    }

    /// All points of one series of a job that one generation said, whether they count or not; 0 for those that count.
    ///
    /// # Errors
    /// When the coordinator cannot be reached.
    pub async fn points_of(
        &self,
        job_id: &str,
        series: &str,
        generation: u64,
    ) -> Result<Vec<v1::MetricPoint>> {
        let mut request = v1::ListMetricsRequest {
            job_id: job_id.into(),
            series: vec![series.into()],
            generation,
            ..Default::default()
        };
        let mut points = Vec::new();
        loop {
            let page = self.jobs().await?.list_metrics(request.clone()).await?.into_inner();
            points.extend(page.points);
            if page.next_page_token.is_empty() {
                return Ok(points);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// All lines of a job's log that are kept.
    ///
    /// # Errors
    /// When the coordinator cannot be reached.
    pub async fn job_log(&self, job_id: &str) -> Result<Vec<v1::LogLine>> {
        let request = v1::ReadLogsRequest { job_id: job_id.into(), ..Default::default() };
        let mut stream = self.jobs().await?.read_logs(request).await?.into_inner();
        let mut lines = Vec::new();
        while let Some(page) = stream.message().await? {
            lines.extend(page.lines);
        }
        Ok(lines)
    }

    /// Ends the test: fails on any WARN or ERROR in the logs that no entry of `expected` is part of.
    ///
    /// # Errors
    /// With the lines that nobody expected.
    pub fn finish(self, expected: &[&str]) -> Result<()> {
        let unexpected = logs::unexpected(self.folder(), expected)?;
        if !unexpected.is_empty() {
            bail!("lines in the logs that this test does not expect:\n{}", unexpected.join("\n"));
        }
        Ok(())
    }

    /// The ends of all logs, for error messages.
    pub fn logs(&self) -> String {
        logs::tails(self.folder())
    }

    async fn channel(&self) -> Result<Channel> {
        Ok(Channel::from_shared(format!("http://{}", self.address))?.connect().await?)
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(name)).unwrap_or_default()
    }

    fn command(&self, name: &str, log: &str) -> Result<Command> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder().join(log))?;
        let mut command = Command::new(program(name));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).env("RUST_LOG", "info");
        command.envs(self.environment.iter().cloned());
        Ok(command)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let agents = self.agents.drain(..).flatten();
        for mut child in agents.chain(self.coordinator.take()) {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The test's own connections hear that it stops, and close: a wait that blocks them would hold it up.
async fn stop(mut child: Child) -> Result<()> {
    kill_process(Pid::from_child(&child), Signal::TERM)?;
    let status = tokio::task::spawn_blocking(move || child.wait()).await??;
    ensure!(status.success(), "asked to stop, it ended with {status}");
    Ok(())
}

fn kill(mut child: Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}
