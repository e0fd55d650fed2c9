//! Processes that die while a job runs.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    iter,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Result;
use kindred_proto::v1::{FailureReason, JobState, NodeState};
use kindred_tests::{
    cluster::Cluster,
    processes::{hold_pid, is_alive, kill_pid},
    program,
};
use tokio::time::{Instant, sleep};

use crate::{
    lineage::{Sizes, assert_each_sample_once, consumed},
    recipes,
};

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

/// `kindred logs JOB`, for a pipe.
fn logs(cluster: &Cluster, job_id: &str) -> Command {
    let mut command = Command::new(program("kindred"));
    command.args(["--coordinator", cluster.address(), "-o", "json", "logs", job_id]).stdout(Stdio::piped());
    command
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

    let mut following = logs(&cluster, &job_id).arg("--follow").spawn()?;
    let mut lines = BufReader::new(following.stdout.take().expect("it is a pipe")).lines();
    let first = lines.next().expect("ranks have said something")?;
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
    let followed: Vec<String> = iter::once(Ok(first)).chain(lines).collect::<Result<_, _>>()?;
    assert!(following.wait()?.success());
    let kept = String::from_utf8(logs(&cluster, &job_id).output()?.stdout)?;
    assert_eq!(followed, kept.lines().collect::<Vec<_>>(), "each line once");
    cluster.finish(&["no stream to the coordinator; trying again"])
}

/// Generation, number of ranks, first and last step of each interval of a job's ledger.
fn intervals(job: &kindred_proto::v1::Job) -> Vec<(u64, u32, u64, u64)> {
    let intervals = job.ledger.iter().flat_map(|ledger| &ledger.intervals);
    intervals.map(|it| (it.generation, it.world_size, it.first_step, it.last_step)).collect()
}

#[tokio::test]
async fn a_survivor_keeps_its_process_and_repeats_at_most_the_step_in_flight() -> Result<()> {
    let cluster = two_agents(Duration::from_secs(5)).await?;
    let job_id = cluster.submit(&recipes::fashion_mnist("killed", 2, "epochs: 500, max_steps: 150")).await?;
    cluster.wait_for(&job_id, LIMIT, |job| job.newest_checkpoint.is_some()).await?;
    let survivors = cluster.rank_pids(0)?;
    kill_pid(cluster.rank_pids(1)?[0])?;

    let job = cluster.wait_for(&job_id, LIMIT, |job| intervals(job).len() == 2).await?;
    assert_eq!(cluster.rank_pids(0)?, survivors, "the survivor's process goes on");
    let fault = job.last_fault.clone().expect("a recovery has a cause");
    assert_eq!(fault.reason(), FailureReason::RankExited, "{}", fault.message);
    assert!(fault.message.contains("signal 9"), "{}", fault.message);

    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    assert_eq!((job.generation, job.infrastructure_failures), (2, 1));
    let kept = intervals(&job)[0].3;
    assert!(kept >= 20, "it went on from step {kept}, where the first checkpoint was");
    assert_eq!(intervals(&job), [(1, 2, 1, kept), (2, 2, kept + 1, 150)]);
    let ledger = job.ledger.expect("it was placed");
    assert!(ledger.recomputed_steps <= 1, "{ledger:?}");
    assert!(ledger.goodput.is_some_and(|goodput| goodput > 0.0 && goodput <= 1.0), "{ledger:?}");

    let first = cluster.points_of(&job_id, "loss", 1).await?;
    assert!(first.iter().all(|point| point.step <= kept + 1), "more than the step in flight is repeated");
    let second = cluster.points_of(&job_id, "loss", 2).await?;
    assert_eq!(second.first().map(|point| point.step), Some(kept + 1));
    let points = cluster.points(&job_id, "loss").await?;
    let mut taken: Vec<(u64, u64)> = points.iter().map(|point| (point.step, point.generation)).collect();
    if !taken.contains(&(kept, 1)) {
        // Its loss is the mean over the ranks, and one of them was killed before it had said its part.
        taken.insert(kept as usize - 1, (kept, 1));
    }
    let owners = (1..=150).map(|step| (step, if step <= kept { 1 } else { 2 }));
    assert_eq!(taken, owners.collect::<Vec<_>>(), "every step once, by its owner");

    let sizes = Sizes { n_images: 4096, global_batch: 64, seed: 0 };
    assert_each_sample_once(&consumed(&ledger.intervals, sizes), 150 / 64, sizes.n_images);
    cluster.finish(&["ended by signal 9", "rank failed job_id=job-1 generation=1", CONSEQUENCE])
}

/// W1 with real programs, on a disk that both nodes share. It fails when an agent answers every question about a commit with
/// yes (`commits::verdict`, and the lease before it): the old rank then puts checkpoints in place that it wrote behind the
/// partition.
#[tokio::test]
async fn a_partitioned_old_generation_writes_no_checkpoint_and_no_row() -> Result<()> {
    let mut cluster = Cluster::start_with(0, Duration::from_secs(3)).await?;
    let jobs_dir = cluster.folder().join("jobs-0");
    std::fs::create_dir_all(&jobs_dir)?;
    std::os::unix::fs::symlink(&jobs_dir, cluster.folder().join("jobs-1"))?;
    for agent in 0..2 {
        cluster.start_agent(agent, &[])?;
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    cluster.wait_for_nodes(2).await?;
    let yaml = recipes::fashion_mnist("partitioned", 1, "epochs: 500, max_steps: 200")
        .replace("every_steps: 20", "every_steps: 20, keep_last: 99");
    let job_id = cluster.submit(&yaml).await?;
    let job = cluster.wait_for(&job_id, LIMIT, |job| job.newest_checkpoint.is_some()).await?;
    let old = if job.placements[0].node_name == "node-0" { 0 } else { 1 };
    let rank = cluster.rank_pids(old)?[0];
    hold_pid(cluster.agent_pid(old)?, true)?;

    let job = cluster.wait_for(&job_id, LIMIT, |job| intervals(job).len() == 2).await?;
    let went_on = intervals(&job)[1].2;
    let checkpoints = jobs_dir.join(&job_id).join("checkpoints");
    let before = of_generation(&checkpoints, "step-", 1)?;
    let deadline = Instant::now() + LIMIT;
    while of_generation(&checkpoints, &format!(".partial-{rank}-"), 1)?.is_empty() {
        assert!(
            Instant::now() < deadline,
            "the old rank trains on behind the partition, and writes a checkpoint"
        );
        sleep(Duration::from_millis(20)).await;
    }
    hold_pid(cluster.agent_pid(old)?, false)?;
    while is_alive(rank) {
        assert!(Instant::now() < deadline, "the old rank is stopped once its agent is back");
        sleep(Duration::from_millis(20)).await;
    }

    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    assert_eq!(of_generation(&checkpoints, "step-", 1)?, before);
    assert_eq!(intervals(&job), [(1, 1, 1, went_on - 1), (2, 1, went_on, 200)]);
    let points = cluster.points(&job_id, "loss").await?;
    assert!(points.iter().all(|point| (point.generation == 1) == (point.step < went_on)));
    assert_eq!(points.len(), 200, "every step once");
    cluster.finish(&[
        "rank failed job_id=job-1",
        "which sent no report for 3 s",
        "no stream to the coordinator; trying again",
        "agent disconnected",
    ])
}

/// Names with this prefix among the checkpoints of a generation: those in place, or those that wait for that.
fn of_generation(checkpoints: &Path, prefix: &str, generation: u64) -> Result<BTreeSet<String>> {
    let names = std::fs::read_dir(checkpoints)?.map(|entry| Ok(entry?.file_name().into_string()));
    let names: Vec<_> = names.collect::<std::io::Result<Vec<_>>>()?.into_iter().flatten().collect();
    let suffix = format!("-g{generation}");
    Ok(names.into_iter().filter(|name| name.starts_with(prefix) && name.ends_with(&suffix)).collect())
}

#[tokio::test]
async fn a_rank_that_hangs_is_killed_and_its_peer_goes_on_beside_a_new_one() -> Result<()> {
    let cluster = two_agents(Duration::from_secs(5)).await?;
    let job_id = cluster.submit(&recipes::fashion_mnist("hangs", 2, "epochs: 500, max_steps: 150")).await?;
    cluster.wait_for(&job_id, LIMIT, |job| job.newest_checkpoint.is_some()).await?;
    let kept = cluster.rank_pids(0)?;
    hold_pid(cluster.rank_pids(1)?[0], true)?;

    let job = cluster.wait_for(&job_id, LIMIT, |job| job.generation == 2).await?;
    let fault = job.last_fault.expect("a recovery has a cause");
    assert_eq!(fault.reason(), FailureReason::RankHung, "{}", fault.message);
    assert!(fault.message.contains("said nothing for 2 s"), "{}", fault.message);

    let job = cluster.wait_for(&job_id, LIMIT, |job| step_of(job) > 100).await?;
    assert_eq!((job.generation, cluster.rank_pids(0)?), (2, kept), "the peer keeps its process");
    let job = cluster.wait_for(&job_id, LIMIT, |job| job.state() == JobState::Succeeded).await?;
    assert_eq!((job.generation, job.infrastructure_failures), (2, 1));
    let went_on = intervals(&job)[1].2;
    assert_eq!(intervals(&job), [(1, 2, 1, went_on - 1), (2, 2, went_on, 150)], "every step once");
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
