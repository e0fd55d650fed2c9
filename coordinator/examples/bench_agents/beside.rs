//! Renewals of leases beside the heartbeats of torchft's lighthouse, in turns: how many a second for each core that the server uses.
//!
//! Each side does it as its own clients do: a replica of torchft calls `Heartbeat` with its name; an agent sends a whole report on
//! its stream, with the devices and labels of its node, and gets whole orders. As many connections on both sides, and one
//! call at a time on each.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    task::JoinSet,
};
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    coordinator::{Coordinator, Usage},
    fleet::Agent,
    say,
};

const N_CONNECTIONS: u32 = 256;

/// Of `torchft.LighthouseService`.
#[derive(Clone, PartialEq, prost::Message)]
struct Heartbeat {
    #[prost(string, tag = "1")]
    replica_id: String,
}

/// A replica as the lighthouse sees it.
struct Replica {
    client: Grpc<Channel>,
    heartbeat: Heartbeat,
}

/// Someone who says that it is alive, and waits for the answer.
trait Member: Send + 'static {
    fn beat(&mut self) -> impl Future<Output = Result<()>> + Send;
}

impl Member for Replica {
    async fn beat(&mut self) -> Result<()> {
        self.client.ready().await?;
        let path = PathAndQuery::from_static("/torchft.LighthouseService/Heartbeat");
        let codec = ProstCodec::<Heartbeat, ()>::default();
        self.client.unary(Request::new(self.heartbeat.clone()), path, codec).await?;
        Ok(())
    }
}

impl Member for Agent {
    async fn beat(&mut self) -> Result<()> {
        self.renew().await
    }
}

/// What one side does in a while.
#[derive(Clone, Copy)]
struct Score {
    a_second: f64,
    a_core_second: f64,
}

pub async fn run(program: &Path, folder: &Path, mut args: impl Iterator<Item = String>) -> Result<()> {
    let script = args.next().context("give the path of lighthouse.py")?;
    let packages = args.next().context("give the folder that torchft was installed into")?;
    let n_rounds = args.next().map_or(Ok(5), |text| text.parse())?;
    let span = Duration::from_secs(args.next().map_or(Ok(5), |text| text.parse())?);
    let (mut theirs, mut ours) = (vec![], vec![]);
    for round in 0..n_rounds {
        let (their, our) = (
            lighthouse(&script, &packages, span).await?,
            coordinator(program, &folder.join(round.to_string()), span).await?,
        );
        say(&format!(
            "round {round}: lighthouse {:.0} heartbeats/s, {:.0} a core; Kindred {:.0} renewals/s, {:.0} a core",
            their.a_second, their.a_core_second, our.a_second, our.a_core_second
        ));
        theirs.push(their.a_core_second);
        ours.push(our.a_core_second);
    }
    let mut ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(our, their)| our / their).collect();
    ratios.sort_by(f64::total_cmp);
    let (least, median, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    say("\nfigure | measured | goal | met");
    say(&format!(
        "6 renewals a second and core, against torchft's lighthouse | {median:.2} [{least:.2}..{most:.2}] n={n_rounds} | at least 1 | {}",
        if median >= 1.0 { "yes" } else { "no" }
    ));
    Ok(())
}

async fn lighthouse(script: &str, packages: &str, span: Duration) -> Result<Score> {
    let mut child = Command::new("python3")
        .args([script, packages])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().context("it is piped")?;
    let port =
        BufReader::new(stdout).lines().next_line().await?.context("the lighthouse does not come up")?;
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
    let mut replicas = vec![];
    for number in 0..N_CONNECTIONS {
        let client: Grpc<Channel> = Grpc::new(endpoint.connect().await?);
        replicas.push(Replica { client, heartbeat: Heartbeat { replica_id: format!("replica-{number}") } });
    }
    let pid = i32::try_from(child.id().context("it runs")?)?;
    let score = score(pid, span, replicas).await?;
    child.kill().await?;
    Ok(score)
}

async fn coordinator(program: &Path, folder: &Path, span: Duration) -> Result<Score> {
    let coordinator = Coordinator::start(program, folder).await?;
    let endpoint = Endpoint::from_shared(format!("http://{}", coordinator.address))?;
    let mut agents = vec![];
    for number in 0..N_CONNECTIONS {
        let mut agent = Agent::join(&endpoint, number).await?;
        agent.renew().await?;
        agents.push(agent);
    }
    let score = score(coordinator.pid(), span, agents).await?;
    coordinator.stop().await?;
    Ok(score)
}

/// Lets all of them beat again and again.
async fn score(pid: i32, span: Duration, members: Vec<impl Member>) -> Result<Score> {
    let (before, end) = (Usage::of(pid)?, Instant::now() + span);
    let mut tasks = JoinSet::new();
    for mut member in members {
        tasks.spawn(async move {
            let mut n_calls = 0_u32;
            while Instant::now() < end {
                member.beat().await?;
                n_calls += 1;
            }
            anyhow::Ok(n_calls)
        });
    }
    let mut n_calls = 0.0;
    while let Some(ended) = tasks.join_next().await {
        n_calls += f64::from(ended??);
    }
    let usage = Usage::of(pid)?.since(&before);
    Ok(Score {
        a_second: n_calls / usage.elapsed.as_secs_f64(),
        a_core_second: n_calls / usage.on_core.as_secs_f64(),
    })
}
