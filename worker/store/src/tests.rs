//! A folder and a store in memory, with faults of the test's own.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use object_store::memory::InMemory;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn in_memory() -> Store {
    Store::new(Arc::new(InMemory::new()), "memory://here", PATIENCE)
}

/// A store in a folder, which goes away with the first.
fn in_folder() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&format!("file://{}", folder.path().display()), PATIENCE).expect("it is there");
    (folder, store)
}

/// Waits for a work on a thread of its own.
fn wait<T>(work: impl Future<Output = T>) -> T {
    Worker::start().expect("there are threads").wait(work, || true).expect("it is wanted")
}

/// A file of so many bytes that differ from one another, and its BLAKE3.
fn file_of(folder: &tempfile::TempDir, size: u64) -> (PathBuf, String) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let path = folder.path().join(format!("file-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let mut bytes = vec![0; usize::try_from(size).expect("a small file")];
    blake3::Hasher::new().update(&size.to_be_bytes()).finalize_xof().fill(&mut bytes);
    std::fs::write(&path, &bytes).expect("there is room");
    (path, blake3::hash(&bytes).to_hex().to_string())
}

#[test]
fn a_file_comes_back_as_it_was_in_parts_or_in_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (shared, on_disk) = in_folder();
    for store in [in_memory().below("some/where"), on_disk.below("some/where")] {
        for size in [0, 5, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 7] {
            let (path, digest) = file_of(&folder, size);
            wait(store.put_file("state", &path)).expect("it is put");
            let back = folder.path().join("back");
            assert_eq!(wait(store.get_file("state", size, &back)).expect("it is there"), digest);
            assert!(std::fs::read(&back).expect("it is there") == std::fs::read(&path).expect("it is there"));
        }
    }
    assert!(shared.path().join("some/where/state").is_file());
}

#[test]
fn an_object_is_created_once_and_again_only_as_the_same() {
    let (_folder, on_disk) = in_folder();
    for store in [in_memory(), on_disk] {
        wait(store.create("a/manifest", b"one", PATIENCE)).expect("nothing is there");
        wait(store.create("a/manifest", b"one", PATIENCE)).expect("it is the same");
        let error = wait(store.create("a/manifest", b"two", PATIENCE)).expect_err("another is there");
        assert!(matches!(error, Error::Taken { .. }), "{error}");
        assert_eq!(wait(store.get("a/manifest", 10)).expect("it is there").expect("it is there"), b"one");
    }
}

#[test]
fn what_is_below_a_place_is_listed_and_removed() {
    let (_folder, on_disk) = in_folder();
    for store in [in_memory(), on_disk] {
        for key in ["b/2", "b/1/x", "c"] {
            wait(store.create(key, b"x", PATIENCE)).expect("nothing is there");
        }
        assert_eq!(wait(store.list()).expect("it can be listed"), ["b/1/x", "b/2", "c"]);
        assert_eq!(wait(store.below("b").list()).expect("it can be listed"), ["1/x", "2"]);
        wait(store.below("b").delete("2")).expect("it is there");
        wait(store.below("b").delete("2")).expect("it is gone already");
        assert_eq!(wait(store.below("b").list()).expect("it can be listed"), ["1/x"]);
        assert_eq!(wait(store.below("nowhere").list()).expect("nothing is there"), [""; 0]);
    }
}

#[test]
fn what_is_not_there_or_not_as_long_is_told_apart() {
    let (folder, store) = in_folder();
    let target = folder.path().join("target");
    assert!(wait(store.get("nothing", 10)).expect("the store answers").is_none());
    let error = wait(store.get_file("nothing", 3, &target)).expect_err("nothing is there");
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    wait(store.create("short", b"ab", PATIENCE)).expect("nothing is there");
    let error = wait(store.get_file("short", 3, &target)).expect_err("it is short");
    assert_eq!(
        error.to_string(),
        format!("{} is damaged: 2 bytes long, 3 were expected", store.url_of("short"))
    );
    let error = wait(store.get("short", 1)).expect_err("it is longer");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(!target.exists());
}

#[test]
fn a_url_that_names_no_store_is_refused_with_the_fix() {
    for (url, words) in [
        ("checkpoints", "give s3://BUCKET/PREFIX or file:///FOLDER"),
        ("gs://bucket", "\"gs\" is no kind of store; give s3://"),
        ("s3:///prefix", "it names no bucket"),
        ("s3://bucket/prefix?region=eu", "more than a place"),
        ("file://host/folder", "names a host"),
        ("file:///nowhere/at/all", "there is no folder /nowhere/at/all: make it, or mount it first"),
    ] {
        let error = Store::open(url, PATIENCE).expect_err("it is refused").to_string();
        assert!(error.contains(url) && error.contains(words), "{error}");
    }
}

#[test]
fn a_folder_that_does_not_exist_is_empty_to_who_reads() {
    let (folder, store) = in_folder();
    wait(store.create("a/b", b"x", PATIENCE)).expect("nothing is there");
    let url = format!("file://{}/a", folder.path().display());
    let there = Store::open_to_read(&url, PATIENCE).expect("a sound URL");
    assert_eq!(wait(there.list()).expect("it can be listed"), ["b"]);
    let nowhere = Store::open_to_read(&format!("{url}/nowhere"), PATIENCE).expect("a sound URL");
    assert_eq!(wait(nowhere.list()).expect("it can be listed"), [""; 0]);
    assert!(wait(nowhere.get("manifest", 9)).expect("the folder is sound").is_none());
}

#[test]
fn a_bucket_is_opened_without_a_word_to_it() {
    let store = Store::open("s3://bucket/some/where/", PATIENCE).expect("a sound URL");
    assert_eq!(store.below("job-1").url_of("state"), "s3://bucket/some/where/job-1/state");
    assert_eq!(store.below("job-1").path("state").as_ref(), "some/where/job-1/state");
}

/// A request that never ends, as one to a service that hangs.
#[test]
fn a_store_that_says_nothing_is_given_up() {
    let patience = Duration::from_millis(50);
    let store = Store::new(Arc::new(InMemory::new()), "memory://here", patience);
    let since = Instant::now();
    let error = wait(store.within("state", std::future::pending::<object_store::Result<()>>));
    let error = error.expect_err("nothing is heard");
    assert!(error.is_away() && error.to_string().contains("memory://here/state"), "{error}");
    assert!(since.elapsed() >= patience);
}

#[test]
fn work_that_is_dropped_is_not_done() {
    let worker = Worker::start().expect("there are threads");
    let (done, told) = std::sync::mpsc::channel();
    let never = done.clone();
    drop(worker.spawn(std::future::pending::<()>(), move |()| never.send("dropped").expect("it listens")));
    let _task = worker.spawn(async { "done" }, move |word| done.send(word).expect("it listens"));
    assert_eq!(told.recv().expect("it is told"), "done");
    assert!(told.recv().is_err(), "nobody is left who could tell");
    assert_eq!(worker.wait(std::future::pending::<()>(), || false), None, "it is not wanted");
}
