//! A coordinator under 10,000 agents with 80,000 devices, all of them busy, and 2,000 jobs that wait; and how it grows up to there.
//!
//!     bench_agents COORDINATOR FOLDER [SECONDS] [AGENTS]
//!     bench_agents COORDINATOR FOLDER beside LIGHTHOUSE.PY PACKAGES [ROUNDS] [SECONDS]
//!
//! `COORDINATOR` is the real program, in a process of its own. This process plays the agents: each has its own connection and stream,
//! and renews its lease every 2 s with a whole report, as a real one does: eight devices, eight ranks that report their progress.
//! Not with metrics and logs, which do not pass through the engine. Ends with a table; the exit code is 0 whatever was measured. The second way measures renewals beside the heartbeats of torchft's lighthouse.

mod beside;
mod coordinator;
mod figures;
mod fleet;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use kindred_proto::{
    job_spec,
    v1::{self, job_service_client::JobServiceClient},
};
use tokio::{task::JoinSet, time::sleep};
use tonic::transport::Endpoint;

use coordinator::Coordinator;
use figures::Figures;
use fleet::Fleet;

/// Agents, from the fewest to the most.
const AGENTS: [u32; 3] = [2_500, 5_000, 10_000];

/// Jobs that wait.
const WAITING: [u32; 3] = [500, 1_000, 2_000];

/// Ranks of each running job, on eight nodes.
const RANKS: u32 = 64;

const DEVICES_PER_NODE: u32 = 8;
const N_CLIENTS: u32 = 16;

/// After so long all that was handed in is decided upon.
const SETTLE: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let program = PathBuf::from(args.next().context("bench_agents COORDINATOR FOLDER [SECONDS] [AGENTS]")?);
    let folder = PathBuf::from(args.next().context("give a folder on the disk that is to be used")?);
    let next = args.next();
    if next.as_deref() == Some("beside") {
        return beside::run(&program, &folder, args).await;
    }
    let span = Duration::from_secs(next.map_or(Ok(20), |text| text.parse())?);
    let only: Option<u32> = args.next().map(|text| text.parse()).transpose()?;
    let mut figures = vec![];
    for n_agents in only.map_or(AGENTS.to_vec(), |only| vec![only]) {
        figures.extend(measure(&program, &folder.join(n_agents.to_string()), n_agents, span).await?);
    }
    figures::print(&figures);
    Ok(())
}

/// One coordinator with so many agents, and more and more jobs that wait.
async fn measure(program: &Path, folder: &Path, n_agents: u32, span: Duration) -> Result<Vec<Figures>> {
    let coordinator = Coordinator::start(program, folder).await?;
    let endpoint = Endpoint::from_shared(format!("http://{}", coordinator.address))?;
    let fleet = Fleet::start(&endpoint, n_agents).await?;
    let n_running = n_agents * DEVICES_PER_NODE / RANKS;
    submit(&endpoint, n_running, RANKS).await?;
    fleet.wait_for_ranks(n_running * RANKS).await?;
    say(&format!("{n_agents} agents: {n_running} jobs with {} ranks run", n_running * RANKS));
    let (mut n_waiting, mut all) = (0, vec![]);
    for wanted in WAITING {
        submit(&endpoint, wanted - n_waiting, RANKS).await?;
        n_waiting = wanted;
        sleep(SETTLE).await;
        let before = coordinator.usage()?;
        fleet.begin();
        sleep(span).await;
        let renewals = fleet.end();
        let usage = coordinator.usage()?.since(&before);
        let loads = coordinator.loads(&before)?;
        let figures = Figures { n_agents, n_waiting, renewals, usage, loads };
        say(&figures.to_string());
        all.push(figures);
    }
    coordinator.stop().await?;
    Ok(all)
}

/// Hands in jobs that ask for so many GPUs each.
async fn submit(endpoint: &Endpoint, n_jobs: u32, n_ranks: u32) -> Result<()> {
    let overrides = [
        format!("ranks={n_ranks}"),
        "device=cuda".to_owned(),
        "recipe.training.global_batch=1024".to_owned(),
    ];
    let text = include_str!("../../../deploy/jobs/sce-fashion-mnist.yaml");
    let spec: v1::JobSpec = job_spec::from_yaml(text, &overrides)?;
    let mut clients = JoinSet::new();
    for client in 0..N_CLIENTS {
        let n_own = n_jobs / N_CLIENTS + u32::from(client < n_jobs % N_CLIENTS);
        let (channel, spec) = (endpoint.connect().await?, spec.clone());
        clients.spawn(async move {
            let mut jobs = JobServiceClient::new(channel);
            for _ in 0..n_own {
                let request = v1::CreateJobRequest { spec: Some(spec.clone()), ..Default::default() };
                jobs.create_job(request).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
