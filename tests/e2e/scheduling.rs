//! Jobs that give their devices to others, and nodes that are taken out of service.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kindred_proto::v1::{DrainNodeRequest, Job, JobState, UncordonNodeRequest};
use kindred_tests::cluster::Cluster;

use crate::recipes;

const LIMIT: Duration = Duration::from_secs(150);

async fn start(n_agents: usize) -> Result<Cluster> {
    let cluster = Cluster::start_with(n_agents, Duration::from_secs(5)).await?;
    for agent in 0..n_agents {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    Ok(cluster)
}

fn step_of(job: &Job) -> u64 {
    job.progress.as_ref().map_or(0, |seen| seen.step)
}

/// Generation, first and last step of each interval of a job's ledger.
fn intervals(job: &Job) -> Vec<(u64, u64, u64)> {
    let intervals = job.ledger.iter().flat_map(|ledger| &ledger.intervals);
    intervals.map(|it| (it.generation, it.first_step, it.last_step)).collect()
}

/// It went on in another generation with the step after the last one of the first, and no fault was counted.
fn assert_nothing_lost(job: &Job, n_steps: u64) -> Result<()> {
    let kept = intervals(job).first().context("it was placed")?.2;
    assert_eq!(intervals(job), [(1, 1, kept), (2, kept + 1, n_steps)]);
    assert_eq!(job.infrastructure_failures, 0);
    assert_eq!(job.ledger.as_ref().map(|ledger| ledger.recomputed_steps), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_job_of_a_higher_priority_takes_the_devices_and_gives_them_back() -> Result<()> {
    let mut cluster = start(2).await?;
    let rules = cluster.folder().join("scheduling.yaml");
    std::fs::write(&rules, "min_run_s: 1\n")?;
    cluster.set_variable("KINDRED_SCHEDULING", rules.to_str().context("a temporary path is UTF-8")?);
    cluster.kill_coordinator()?;
    cluster.start_coordinator().await?;
    cluster.wait_for_nodes(2).await?;
    let low = recipes::fashion_mnist("low", 2, "epochs: 500, max_steps: 150");
    let low = cluster.submit(&low.replace("every_steps: 20", "every_steps: 1000")).await?;
    cluster.wait_for(&low, LIMIT, |job| step_of(job) > 25).await?;

    let high = recipes::fashion_mnist("high", 2, "epochs: 500, max_steps: 20");
    let high = cluster.submit(&format!("{high}\npriority: 10\n")).await?;
    let given_way = cluster.wait_for(&low, LIMIT, |job| job.state() == JobState::Recovering).await?;
    assert!(given_way.reason.contains(&high), "{}", given_way.reason);
    cluster.wait_for(&high, LIMIT, |job| job.state() == JobState::Succeeded).await?;

    let done = cluster.wait_for(&low, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    assert_nothing_lost(&done, 150)?;
    cluster.finish(&["no stream to the coordinator; trying again"])
}

#[tokio::test]
async fn a_drained_nodes_job_goes_on_elsewhere_where_its_checkpoint_can_be_read() -> Result<()> {
    for rank in [1, 0] {
        let cluster = start(3).await?;
        let job_id =
            cluster.submit(&recipes::fashion_mnist("drained", 2, "epochs: 500, max_steps: 150")).await?;
        let job = cluster.wait_for(&job_id, LIMIT, |job| step_of(job) > 25).await?;
        let place = job.placements.iter().find(|place| place.rank == rank).context("both are placed")?;
        let node_id = place.node_id.clone();
        let drain =
            DrainNodeRequest { node_id: node_id.clone(), reason: "new fan".into(), ..Default::default() };
        cluster.nodes().await?.drain_node(drain).await?;
        let uncordon = UncordonNodeRequest { node_id: node_id.clone(), ..Default::default() };
        if rank == 0 {
            // Rank 0 wrote the checkpoint, and no other node can read it: it waits for that one.
            let waits = cluster
                .wait_for(&job_id, LIMIT, |job| job.reason.contains("where its checkpoint lies"))
                .await?;
            assert!(waits.reason.contains("is drained: new fan"), "{}", waits.reason);
            cluster.nodes().await?.uncordon_node(uncordon).await?;
        }
        let has_moved = |job: &Job| job.generation == 2 && job.state() == JobState::Running;
        let moved = cluster.wait_for(&job_id, LIMIT, has_moved).await?;
        assert_eq!(moved.placements.iter().any(|place| place.node_id == node_id), rank == 0);
        let done = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
        assert_nothing_lost(&done, 150)?;
        cluster.finish(&[])?;
    }
    Ok(())
}
