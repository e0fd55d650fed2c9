//! The program `kindred` as people run it.

use std::{fs, net::TcpListener, process::Output};

use tokio::process::Command;

use crate::fixture::{Coordinator, FakeAgent};
use kindred_proto::{
    failure::Reason,
    v1::{JobState, RankState},
};

/// Runs `kindred` to its end.
pub async fn kindred(address: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kindred"));
    command.env_remove("KINDRED_COORDINATOR").args(args).args(["--coordinator", address]);
    command.kill_on_drop(true).output().await.expect("the program starts")
}

/// What it wrote.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("plain text")
}

/// An address at which nothing listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

/// A valid job.
pub const JOB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/jobs/sce-fashion-mnist.yaml");

#[tokio::test]
async fn a_wrong_port_names_the_address_and_the_fix() {
    let address = nobody();
    let output = kindred(&address, &["jobs"]).await;
    assert_eq!(output.status.code(), Some(3));
    let error = text(&output.stderr);
    assert!(
        error.contains(&address) && error.contains("kindred up") && error.contains("--coordinator"),
        "{error}"
    );
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_port_of_something_else_is_no_coordinator() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("bound").to_string();
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = other.accept().expect("a connection");
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let output = kindred(&address, &["jobs"]).await;
    answering.join().expect("no panic");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&address));
}

#[tokio::test]
async fn a_bad_file_is_refused_before_any_coordinator_is_asked() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("job.yaml");
    fs::write(&file, fs::read_to_string(JOB).expect("published") + "\nnmae: oops\n").expect("writable");
    let output = kindred(&nobody(), &["submit", file.to_str().expect("plain")]).await;
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(error.contains("job.yaml") && error.contains("nmae") && error.contains("name"), "{error}");
    let output = kindred(&nobody(), &["submit", "/nowhere/job.yaml"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nowhere/job.yaml"));
}

#[tokio::test]
async fn a_dry_run_prints_every_default_with_and_without_a_coordinator() {
    let coordinator = Coordinator::start().await;
    let args = ["submit", JOB, "--dry-run", "--set", "recipe.training.epochs=3"];
    let there = kindred(&coordinator.address.to_string(), &args).await;
    let alone = kindred(&nobody(), &args).await;
    assert_eq!((there.status.code(), alone.status.code()), (Some(0), Some(0)), "{}", text(&alone.stderr));
    assert_eq!(text(&there.stdout), text(&alone.stdout));
    assert!(text(&there.stdout).contains("epochs: 3") && text(&there.stdout).contains("log_every_steps"));
    assert!(text(&alone.stderr).contains("checked here only"));
}

#[tokio::test]
async fn watching_ends_with_the_results() {
    let coordinator = Coordinator::start().await;
    let address = coordinator.address.to_string();
    let mut agent = FakeAgent::join(&coordinator, "node-a", 2).await;
    let submitted = kindred(&address, &["submit", JOB, "--set", "ranks=2"]).await;
    let job_id = text(&submitted.stdout).trim().to_owned();
    let orders = agent.orders_when(|orders| orders.ranks.len() == 2).await;
    agent.say_all_are(&orders, RankState::Training).await;
    coordinator.job_when(&job_id, |job| job.progress.is_some()).await;
    let watch = ["watch", job_id.as_str()];
    let (output, ()) =
        tokio::join!(kindred(&address, &watch), agent.say_all_are(&orders, RankState::Finished),);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "knn_accuracy_percent=84.50\nencoder=/jobs/encoder.safetensors\n");
}

#[tokio::test]
async fn each_listing_has_a_table_and_a_document() {
    let coordinator = Coordinator::start().await;
    let address = coordinator.address.to_string();
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    agent.orders_when(|_| true).await;
    let job = coordinator.submit(2).await;
    for args in [
        vec!["jobs"],
        vec!["nodes"],
        vec!["get", &job.id],
        vec!["checkpoints", &job.id],
        vec!["metrics", &job.id],
    ] {
        let table = kindred(&address, &args).await;
        assert_eq!(table.status.code(), Some(0), "{args:?}: {}", text(&table.stderr));
        let json = kindred(&address, &[args.as_slice(), &["-o", "json"]].concat()).await;
        serde_json::from_slice::<serde_json::Value>(&json.stdout).expect("JSON");
        let yaml = kindred(&address, &[args.as_slice(), &["-o", "yaml"]].concat()).await;
        serde_yaml_ng::from_slice::<serde_json::Value>(&yaml.stdout).expect("YAML");
    }
    let jobs = text(&kindred(&address, &["jobs"]).await.stdout);
    assert!(jobs.contains(&job.id) && jobs.contains("pending") && jobs.contains("needs 2"), "{jobs}");
    let cancelled = kindred(&address, &["cancel", &job.id]).await;
    assert!(text(&cancelled.stdout).contains("cancelled"));
    assert_eq!(kindred(&address, &["watch", &job.id]).await.status.code(), Some(12));
}

#[tokio::test]
async fn a_job_is_shown_with_what_its_faults_cost() {
    let coordinator = Coordinator::start().await;
    let address = coordinator.address.to_string();
    let mut agent = FakeAgent::join(&coordinator, "node-a", 2).await;
    let job = coordinator.submit(2).await;
    let orders = agent.orders_when(|orders| orders.ranks.len() == 2).await;
    agent.say_all_are(&orders, RankState::Training).await;
    agent.say_all_failed(&orders, Reason::Internal).await;
    let again = agent.orders_when(|orders| orders.ranks.iter().any(|rank| rank.generation == 2)).await;
    agent.say_all_are(&again, RankState::Training).await;
    coordinator.job_when(&job.id, |job| job.state() == JobState::Running && job.generation == 2).await;
    let shown = text(&kindred(&address, &["get", &job.id]).await.stdout);
    for line in [
        "steps       1-3 by generation 2 (2 ranks)",
        "; 3 steps recomputed",
        "retries     infrastructure 1 of 16, without progress 0 of 3, user 0 of 0",
        "last fault  the test says so (INTERNAL, rank 0, node-a)",
        "consequence the test says so (INTERNAL, rank 1, node-a)",
    ] {
        assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    }
    let json = kindred(&address, &["get", &job.id, "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["ledger"]["intervals"][0]["generation"], 2, "{json}");
    let yaml = text(&kindred(&address, &["get", &job.id, "-o", "yaml"]).await.stdout);
    assert!(yaml.contains("retry_used:") && yaml.contains("consequence: true"), "{yaml}");
    let metrics = kindred(&address, &["metrics", &job.id, "--generation", "1"]).await;
    assert_eq!(metrics.status.code(), Some(0), "{}", text(&metrics.stderr));
}
