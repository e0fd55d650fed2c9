//! Each thing that a store does, on a real server and through faults.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Result;
use kindred_store::{Error, Store, Worker};

use crate::{
    proxy::{Fault, Proxy},
    server::{BUCKET, Server},
};

/// Longer than a handful of stalls, each of which takes [`TIMEOUT`].
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one request may take.
const TIMEOUT: &str = "1 second";

fn open(endpoint: &str, patience: Duration) -> Result<Store, Error> {
    let settings = [
        ("aws_access_key_id", "test"),
        ("aws_secret_access_key", "test"),
        ("aws_region", "us-east-1"),
        ("aws_endpoint_url", endpoint),
        ("aws_allow_http", "true"),
        ("timeout", TIMEOUT),
    ];
    Store::open_with(&format!("s3://{BUCKET}/some/where"), patience, &settings)
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    Worker::start().expect("there are threads").wait(work, || true).expect("it is wanted")
}

fn file_of(folder: &Path, size: usize) -> Result<(PathBuf, String)> {
    let path = folder.join(format!("file-{size}"));
    let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
    std::fs::write(&path, &bytes)?;
    Ok((path, blake3::hash(&bytes).to_hex().to_string()))
}

/// Files of one part and of several go there and come back, manifests are created once, all is listed and removed.
fn everything(store: &Store, round: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = store.below(&format!("round-{round}"));
    for size in [0, 1000, 20 << 20] {
        let (path, digest) = file_of(folder.path(), size)?;
        let key = format!("state-{size}");
        wait(store.put_file(&key, &path))?;
        let back = folder.path().join("back");
        assert_eq!(wait(store.get_file(&key, size as u64, &back))?, digest);
    }
    wait(store.create("manifest", b"one", PATIENCE))?;
    wait(store.create("manifest", b"one", PATIENCE))?;
    let error = wait(store.create("manifest", b"two", PATIENCE)).expect_err("another is there");
    assert!(matches!(error, Error::Taken { .. }), "{error}");
    assert_eq!(wait(store.get("manifest", 100))?, Some(b"one".to_vec()));
    assert_eq!(wait(store.get("nothing", 100))?, None);
    assert_eq!(wait(store.list())?, ["manifest", "state-0", "state-1000", "state-20971520"]);
    for key in wait(store.list())? {
        wait(store.delete(&key))?;
    }
    wait(store.delete("manifest"))?;
    assert_eq!(wait(store.list())?, [""; 0]);
    Ok(())
}

#[test]
fn everything_works_on_a_real_server() -> Result<()> {
    let server = Server::start()?;
    everything(&open(&format!("http://{}", server.address()), PATIENCE)?, 0)
}

/// The numbers are such that each kind of fault meets each kind of request, sooner or later.
#[test]
fn everything_works_through_faults() -> Result<()> {
    let server = Server::start()?;
    for every in [2, 3, 5] {
        let proxy = Proxy::start(server.address(), every)?;
        let store = open(&proxy.url(), PATIENCE)?;
        for round in 0..2 {
            everything(&store, round)?;
        }
        let faults = proxy.faults();
        for kind in Fault::ALL {
            assert!(
                faults.iter().any(|(fault, _)| *fault == kind),
                "one in {every}: no {kind:?} in {faults:#?}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_server_that_is_away_is_given_up_in_time() -> Result<()> {
    let patience = Duration::from_secs(3);
    let store = open("http://127.0.0.1:9", patience)?;
    let since = Instant::now();
    let error = wait(store.create("manifest", b"one", patience)).expect_err("nobody is there");
    assert!(error.is_away() && error.to_string().contains("s3://checkpoints/some/where/manifest"), "{error}");
    assert!(since.elapsed() < 2 * patience, "{:?}", since.elapsed());
    Ok(())
}

#[test]
fn a_bucket_that_is_not_there_is_said_in_the_servers_words() -> Result<()> {
    let server = Server::start()?;
    let settings = [
        ("aws_access_key_id", "test"),
        ("aws_secret_access_key", "test"),
        ("aws_endpoint_url", &format!("http://{}", server.address())),
        ("aws_allow_http", "true"),
    ];
    let store = Store::open_with("s3://nowhere", PATIENCE, &settings)?;
    let folder = tempfile::tempdir()?;
    let (path, _) = file_of(folder.path(), 10)?;
    let error = wait(store.put_file("state", &path)).expect_err("there is no bucket");
    assert!(matches!(error, Error::Denied { .. }) && error.to_string().contains("NoSuchBucket"), "{error}");
    Ok(())
}

#[test]
fn what_travels_in_the_clear_must_be_meant_to() {
    let settings = [("aws_endpoint_url", "http://127.0.0.1:9")];
    let error = Store::open_with("s3://bucket", PATIENCE, &settings).expect_err("it is refused").to_string();
    assert!(error.contains("AWS_ALLOW_HTTP=true"), "{error}");
}
