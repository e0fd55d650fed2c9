//! Whole jobs whose checkpoints go through faults to a real server.

use std::{path::Path, time::Duration};

use anyhow::Result;
use kindred_proto::v1;
use kindred_store::{Store, Worker};
use kindred_tests::{
    cluster::Cluster,
    moves::{LOST_NODE, to_another_node},
};

use crate::{
    proxy::{Fault, Proxy},
    recipes,
    server::{BUCKET, Server},
};

/// One request in three goes wrong. What is recorded as in the store is there all the same, whole; the job's node goes for good, and on
/// another one it ends with the same bits as without a store.
#[tokio::test]
async fn nothing_is_lost_when_requests_fail() -> Result<()> {
    let server = Server::start()?;
    let proxy = Proxy::start(server.address(), 3)?;
    let mut cluster = Cluster::start_with(0, Duration::from_secs(3)).await?;
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_TIMEOUT", "1 second"),
        ("AWS_ENDPOINT_URL", &proxy.url()),
    ] {
        cluster.set_variable(name, value);
    }
    for agent in 0..2 {
        recipes::link_fashion_mnist(&cluster.data_root(agent))?;
    }
    let yaml = recipes::fashion_mnist("try", 1, "epochs: 500, max_steps: 200");
    let moved = to_another_node(&mut cluster, &yaml, &format!("s3://{BUCKET}/kindred")).await?;

    let list = v1::ListCheckpointsRequest { job_id: moved.id, ..Default::default() };
    let recorded = cluster.jobs().await?.list_checkpoints(list).await?.into_inner().checkpoints;
    assert_eq!(recorded.len(), 3, "{recorded:#?}");
    let endpoint = format!("http://{}", server.address());
    for checkpoint in recorded {
        assert!(!checkpoint.url.is_empty(), "{checkpoint:?}");
        let (url, endpoint) = (checkpoint.url.clone(), endpoint.clone());
        let there = tokio::task::spawn_blocking(move || files(&url, &endpoint)).await??;
        let manifest: serde_json::Value = serde_json::from_slice(&there.0)?;
        assert_eq!(blake3::hash(&there.0).to_hex().to_string(), checkpoint.manifest_digest);
        assert_eq!(manifest["files"][0]["digest"], there.1, "{}", checkpoint.url);
        // Those that another node wrote went with it.
        let here = Path::new(&checkpoint.path);
        assert!(here.join("manifest.json").is_file() || here.starts_with(cluster.folder().join("jobs-0")));
    }
    let faults = proxy.faults();
    for kind in Fault::ALL {
        assert!(faults.iter().any(|(fault, _)| *fault == kind), "no {kind:?} in {faults:#?}");
    }
    cluster.finish(&LOST_NODE)
}

/// The manifest of a checkpoint, and the digest of its state.
fn files(url: &str, endpoint: &str) -> Result<(Vec<u8>, String)> {
    let settings = [
        ("aws_access_key_id", "test"),
        ("aws_secret_access_key", "test"),
        ("aws_endpoint_url", endpoint),
        ("aws_allow_http", "true"),
    ];
    let store = Store::open_with(url, Duration::from_secs(30), &settings)?;
    let worker = Worker::start()?;
    let work = async {
        let manifest = store.get("manifest.json", 1 << 20).await?.unwrap_or_default();
        let state = store.get("state.safetensors", 1 << 30).await?.unwrap_or_default();
        Ok::<_, kindred_store::Error>((manifest, blake3::hash(&state).to_hex().to_string()))
    };
    Ok(worker.wait(work, || true).expect("it is wanted")?)
}
