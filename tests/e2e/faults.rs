//! Processes that die while a job runs.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use kindred_proto::v1::{FailureReason, JobState, NodeState};
use kindred_tests::cluster::{Cluster, is_alive, kill_pid, signal_pid};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::recipes;

const LIMIT: Duration = Duration::from_secs(150);

/// What every message about a lost peer names: where Gloo noticed that a connection was closed or reset.
const CONSEQUENCE: &str = "gloo/transport/tcp/pair.cc";

/// How long the coordinator stays away: longer than its leases; the 30 s of the full suite on request.
fn outage() -> Duration {
    let seconds = std::env::var("KINDRED_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(7))
}

async fn two_agents(detection_budget: Duration) -> Result<Cluster> {
    let cluster = Cluster::start_with(2, detection_budget).await?;
    for agent in 0..2 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    Ok(cluster)
}

fn step_of(job: &kindred_proto::v1::Job) -> u64 {
    job.progress.as_ref().map_or(0, |progress| progress.step)
}

#[tokio::test]
async fn training_goes_on_while_the_coordinator_is_away() -> Result<()> {
    let mut cluster = two_agents(Duration::from_secs(5)).await?;
    let steps = 400 + 40 * outage().as_secs();
    let job_id = cluster
        .submit(&recipes::fashion_mnist("outage", 2, &format!("epochs: 500, max_steps: {steps}")))
        .await?;
    cluster.wait_for(&job_id, LIMIT, |job| step_of(job) > 25).await?;
    let ranks = [cluster.rank_pids(0)?, cluster.rank_pids(1)?].concat();
    assert_eq!(ranks.len(), 2);

    cluster.kill_coordinator()?;
    sleep(outage()).await;
    assert!(ranks.iter().all(|&pid| is_alive(pid)), "ranks outlive the coordinator");
    cluster.start_coordinator().await?;

    let job = cluster.wait_for(&job_id, 2 * LIMIT, |job| job.state() == JobState::Succeeded).await?;
    assert_eq!(job.generation, 1, "the ranks were adopted, not started again");
    let points = cluster.points(&job_id, "loss").await?;
    let taken: Vec<u64> = points.iter().map(|point| point.step).collect();
    assert_eq!(taken, (1..=steps).collect::<Vec<u64>>(), "every step once");
    assert!(points.iter().all(|point| point.generation == 1));
    cluster.finish(&["no stream to the coordinator; trying again"])
}

#[tokio::test]
async fn a_killed_rank_costs_the_steps_since_the_newest_checkpoint() -> Result<()> {
    let cluster = two_agents(Duration::from_secs(5)).await?;
    let job_id = cluster.submit(&recipes::fashion_mnist("killed", 2, "epochs: 500, max_steps: 150")).await?;
    cluster.wait_for(&job_id, LIMIT, |job| job.newest_checkpoint.is_some()).await?;
    kill_pid(cluster.rank_pids(1)?[0])?;

    let job = cluster.wait_for(&job_id, LIMIT, |job| job.generation == 2).await?;
    let fault = job.last_fault.expect("a recovery has a cause");
    assert_eq!(fault.reason(), FailureReason::RankExited, "{}", fault.message);
    assert!(fault.message.contains("signal 9"), "{}", fault.message);

    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    assert_eq!((job.generation, job.infrastructure_failures), (2, 1));
    let points = cluster.points(&job_id, "loss").await?;
    let taken: Vec<u64> = points.iter().map(|point| point.step).collect();
    assert_eq!(taken, (1..=150).collect::<Vec<u64>>(), "every step once");
    let resumed =
        points.iter().find(|point| point.generation == 2).expect("the second generation took steps");
    assert!(resumed.step > 20, "it began at a checkpoint, not at {}", resumed.step);
    cluster.finish(&["ended by signal 9", "rank failed job_id=job-1 generation=1", CONSEQUENCE])
}

#[tokio::test]
async fn a_rank_that_hangs_is_killed_and_its_peer_goes_on_beside_a_new_one() -> Result<()> {
    let cluster = two_agents(Duration::from_secs(5)).await?;
    let job_id = cluster.submit(&recipes::fashion_mnist("hangs", 2, "epochs: 500, max_steps: 150")).await?;
    cluster.wait_for(&job_id, LIMIT, |job| job.newest_checkpoint.is_some()).await?;
    let kept = cluster.rank_pids(0)?;
    signal_pid(cluster.rank_pids(1)?[0], Signal::STOP)?;

    let job = cluster.wait_for(&job_id, LIMIT, |job| job.generation == 2).await?;
    let fault = job.last_fault.expect("a recovery has a cause");
    assert_eq!(fault.reason(), FailureReason::RankHung, "{}", fault.message);
    assert!(fault.message.contains("said nothing for 2 s"), "{}", fault.message);

    let job = cluster.wait_for(&job_id, LIMIT, |job| step_of(job) > 100).await?;
    assert_eq!((job.generation, cluster.rank_pids(0)?), (2, kept), "the peer keeps its process");
    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    assert_eq!((job.generation, job.infrastructure_failures), (2, 1));
    let points = cluster.points(&job_id, "loss").await?;
    let taken: Vec<u64> = points.iter().map(|point| point.step).collect();
    assert_eq!(taken, (1..=150).collect::<Vec<u64>>(), "every step once");
    cluster.finish(&["said nothing for 2 s", CONSEQUENCE])
}

#[tokio::test]
async fn a_node_that_vanishes_is_replaced() -> Result<()> {
    let mut cluster = two_agents(Duration::from_secs(3)).await?;
    cluster.start_agent(2, &[])?;
    recipes::link_fashion_mnist(&cluster.data_root(2))?;
    cluster.wait_for_nodes(3).await?;
    let job_id =
        cluster.submit(&recipes::fashion_mnist("vanishes", 2, "epochs: 500, max_steps: 120")).await?;
    let job = cluster.wait_for(&job_id, LIMIT, |job| job.newest_checkpoint.is_some()).await?;
    let places: BTreeSet<&str> =
        job.placements.iter().map(|placement| placement.node_name.as_str()).collect();
    let victim =
        (0..3).find(|index| places.contains(format!("node-{index}").as_str())).expect("it runs somewhere");
    let ranks = cluster.rank_pids(victim)?;
    cluster.kill_agent(victim)?;

    let deadline = Instant::now() + Duration::from_secs(5);
    while ranks.iter().any(|&pid| is_alive(pid)) {
        assert!(Instant::now() < deadline, "W1: no rank outlives its agent");
        sleep(Duration::from_millis(20)).await;
    }
    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    assert!(job.generation >= 2);
    let nodes = cluster.nodes().await?.list_nodes(kindred_proto::v1::ListNodesRequest::default()).await?;
    let lost = nodes.into_inner().nodes.into_iter().find(|node| node.name == format!("node-{victim}"));
    assert_eq!(lost.map(|node| node.state()), Some(NodeState::Lost));
    cluster.finish(&[
        "agent disconnected",
        "rank failed job_id=job-1 generation=1",
        CONSEQUENCE,
        &format!("was lost with node-{victim}, which sent no report for 3 s"),
    ])
}
