//! The same shards in a folder and in a store.

use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// A folder with three shards of four images each.
fn shards() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    for shard in 0..3 {
        let images: Vec<_> = (0..4).map(|n| (format!("{n}.png"), png(10 * shard + n))).collect();
        let label = shard.to_string();
        let mut members: Vec<(String, &[u8])> = vec![];
        for (name, image) in &images {
            members.push((name.clone(), image));
            members.push((name.replace("png", "cls"), label.as_bytes()));
        }
        let members: Vec<_> = members.iter().map(|(name, content)| (name.as_str(), *content)).collect();
        write_shard(&root.path().join(format!("train/{shard}.tar")), &members);
    }
    root
}

fn url(root: &Path, split: &str) -> PathBuf {
    format!("file://{}/{split}", root.display()).into()
}

/// Opens them by URL, with a cache of so many bytes.
fn open_remote(root: &Path, cache: &Path, max_bytes: u64) -> Result<Dataset, Error> {
    let kind = DataKind::WebDataset { train: url(root, "train"), test: None, channels: 3 };
    let source =
        DataSource { kind, limit: None, subset: None, mean: vec![0.5], std: vec![0.5], max_damaged: 0.001 };
    let shard_cache = (max_bytes > 0).then(|| ShardCache { folder: cache.to_owned(), max_bytes });
    let site = Site { shard_cache, ..Site::from(root) };
    Dataset::open(&source, site, Split::Train).map(|dataset| dataset.expect("it is named"))
}

/// The shards that lie in a cache.
fn cached(cache: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(cache).into_iter().flatten().map(|entry| entry.expect("reads").path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).expect("reads"));
    let paths = files.map(|entry| entry.expect("reads").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "tar")).collect()
}

/// Waits until so many lie there.
fn wait_for(cache: &Path, n_shards: usize) {
    let since = Instant::now();
    while cached(cache).len() != n_shards {
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", cached(cache));
        thread::park_timeout(Duration::from_millis(10));
    }
}

fn assert_same(remote: &Dataset, local: &Dataset) {
    assert_eq!((remote.digest(), remote.labels()), (local.digest(), local.labels()));
    let all: Vec<u64> = (0..local.len()).collect();
    remote.will_need(&all);
    for idx in all {
        assert_eq!(remote.image(idx).expect("reads"), local.image(idx).expect("reads"));
    }
}

#[test]
fn a_store_gives_what_a_folder_does_with_any_cache() {
    let (root, cache) = (shards(), tempfile::tempdir().expect("a temporary folder"));
    let local = open(root.path(), Split::Train).expect("opens");
    let size = fs::metadata(root.path().join("train/0.tar")).expect("is there").len();
    // None at all, with the folder's own index and without it.
    assert_same(&open_remote(root.path(), cache.path(), 0).expect("opens"), &local);
    fs::remove_file(root.path().join("train/.kindred-index")).expect("it was kept");
    assert_same(&open_remote(root.path(), cache.path(), 0).expect("opens"), &local);
    assert!(cached(cache.path()).is_empty());
    // One that holds two of three, then all of them.
    for (max_bytes, n_shards) in [(2 * size + 100, 2), (9 * size, 3)] {
        let remote = open_remote(root.path(), cache.path(), max_bytes).expect("opens");
        assert_same(&remote, &local);
        wait_for(cache.path(), n_shards);
        assert_same(&remote, &local);
        assert!(!cache.path().join("unfinished").exists());
    }
    // Once they are here, the store is asked what it has, and no more.
    let remote = open_remote(root.path(), cache.path(), 9 * size).expect("opens");
    for shard in 0..3 {
        fs::write(root.path().join(format!("train/{shard}.tar")), b"gone").expect("writes");
    }
    let sheet: Vec<_> = (0..remote.len()).map(|idx| remote.image(idx).expect("reads").pixels).collect();
    assert_eq!(sheet.len(), 12);
}

#[test]
fn a_shard_that_changes_is_read_anew() {
    let (root, cache) = (shards(), tempfile::tempdir().expect("a temporary folder"));
    drop(open_remote(root.path(), cache.path(), 1 << 20).expect("opens"));
    write_shard(&root.path().join("train/1.tar"), &[("z.png", &png(77)), ("z.cls", b"1")]);
    let remote = open_remote(root.path(), cache.path(), 1 << 20).expect("opens");
    let local = open(root.path(), Split::Train).expect("opens");
    assert_eq!(remote.len(), 9);
    assert_same(&remote, &local);
}

#[test]
fn room_is_made_of_shards_that_nobody_reads() {
    let (first, second) = (shards(), shards());
    let cache = tempfile::tempdir().expect("a temporary folder");
    let size = fs::metadata(first.path().join("train/0.tar")).expect("is there").len();
    let read = open_remote(first.path(), cache.path(), 3 * size + 100).expect("opens");
    wait_for(cache.path(), 3);
    let before = cached(cache.path());
    // While it is read, the others get no room.
    let other = open_remote(second.path(), cache.path(), 3 * size + 100).expect("opens");
    assert_same(&other, &open(second.path(), Split::Train).expect("opens"));
    assert_eq!(cached(cache.path()), before);
    drop((read, other));
    let other = open_remote(second.path(), cache.path(), 3 * size + 100).expect("opens");
    let since = Instant::now();
    while cached(cache.path()).iter().any(|path| before.contains(path)) {
        assert!(since.elapsed() < Duration::from_secs(60), "the first ones stay");
        thread::park_timeout(Duration::from_millis(10));
    }
    assert_same(&other, &open(second.path(), Split::Train).expect("opens"));
}

#[test]
fn what_a_store_does_not_give_is_named() {
    let (root, cache) = (shards(), tempfile::tempdir().expect("a temporary folder"));
    let refusal = |root: &Path| {
        let error = open_remote(root, cache.path(), 1 << 20).expect_err("is refused").to_string();
        error.replace(&root.display().to_string(), "ROOT")
    };
    let nowhere = root.path().join("nowhere");
    assert!(refusal(&nowhere).contains("there is no folder ROOT/train: make it, or mount it first"));
    fs::create_dir_all(nowhere.join("train")).expect("creates");
    let found = "no KEY.jpg, KEY.jpeg or KEY.png in the 0 .tar files here";
    assert_eq!(refusal(&nowhere), format!("file://ROOT/train: {found}"));
    fs::write(root.path().join("train/1.tar"), [1; 1024]).expect("writes");
    assert_eq!(refusal(root.path()), "file://ROOT/train/1.tar: no tar header at byte 0");
}
