//! A store in a folder, beside two folders of checkpoints: those of the node that writes and of one that reads.

use std::{collections::BTreeMap, fs, path::PathBuf};

use kindred_proto::ids::{Generation, Step, WorldSize};
use kindred_store::Worker;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::checkpoint::{Manifest, Staged, newest_good, recorded as recorded_here, stage};

const PATIENCE: Duration = Duration::from_secs(5);

struct Bench {
    folder: tempfile::TempDir,
    remote: Remote,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).expect("a new folder");
        let store = Store::open(&format!("file://{}", shared.display()), PATIENCE).expect("it is there");
        Self { folder, remote: Remote::new(&store, &JobId::new("job-1"), 17) }
    }

    /// Stages a checkpoint on the node that writes.
    fn stage(&self, step: u64, generation: u64) -> Staged {
        let manifest = Manifest {
            job_id: JobId::new("job-1"),
            job_created_unix_ms: 17,
            generation: Generation(generation),
            world_size: WorldSize(1),
            step: Step(step),
            epoch: 0.5,
            recipe_digest: "recipe".into(),
            dataset_digest: "images".into(),
            files: Vec::new(),
            metrics: BTreeMap::new(),
            time_unix_ms: 1,
        };
        let state = vec![("weight".into(), Tensor::full([4], step as f64, (Kind::Float, Device::Cpu)))];
        stage(&self.folder.path().join("writer"), manifest, &state).expect("there is room")
    }

    /// Puts one into the store, and gives its record.
    fn put(&self, step: u64, generation: u64) -> Recorded {
        let staged = self.stage(step, generation);
        let id = staged.manifest().id();
        wait(self.remote.upload(&id, staged.folder())).expect("there is room");
        wait(self.remote.seal(&id, staged.folder(), PATIENCE)).expect("nothing is there");
        let manifest_digest = staged.manifest_digest().to_owned();
        Recorded { id, checkpoints: self.remote.checkpoints.clone(), manifest_digest }
    }

    fn object(&self, step: u64, generation: u64, name: &str) -> PathBuf {
        let id = CheckpointId::of(Step(step), Generation(generation));
        self.folder.path().join("shared/job-1-17/checkpoints").join(id.as_str()).join(name)
    }

    fn reader(&self) -> PathBuf {
        self.folder.path().join("reader")
    }

    /// Takes a checkpoint to the node that reads; says which step it got.
    fn fetch(&self, recorded: &Recorded, beyond: Option<u64>) -> Option<u64> {
        let fetched = wait(fetch_newest(recorded, beyond.map(Step), &self.reader())).expect("all is there");
        let here = newest_good(&self.reader()).expect("it can be listed");
        assert_eq!(fetched, here.as_ref().map(|opened| opened.manifest.id()));
        let left = fs::read_dir(self.reader()).map_or(0, |entries| entries.count());
        assert_eq!(left, usize::from(here.is_some()), "nothing else is left there");
        here.map(|opened| opened.manifest.step.0)
    }

    fn keys(&self) -> Vec<String> {
        wait(self.remote.checkpoints.list()).expect("it can be listed")
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    Worker::start().expect("there are threads").wait(work, || true).expect("it is wanted")
}

#[test]
fn what_is_fetched_is_as_if_it_had_been_written_here() {
    let bench = Bench::new();
    bench.put(20, 1);
    let recorded = bench.put(40, 1);
    assert_eq!(bench.fetch(&recorded, Some(0)), Some(40));
    let folder = bench.reader().join(recorded.id.as_str());
    let opened =
        recorded_here(&folder, &recorded.manifest_digest).expect("it is sound").expect("it is there");
    opened.check_origin("recipe", "images").expect("its own");
    let target = vec![("weight".to_owned(), Tensor::zeros([4], (Kind::Float, Device::Cpu)))];
    opened.restore(&target).expect("it fits");
    assert_eq!(target[0].1.double_value(&[3]), 40.0);
    assert_eq!(bench.fetch(&recorded, Some(0)), Some(40), "again, it stays");
}

#[test]
fn c1_a_state_without_a_manifest_is_no_checkpoint() {
    let bench = Bench::new();
    let staged = bench.stage(20, 1);
    let id = staged.manifest().id();
    wait(bench.remote.upload(&id, staged.folder())).expect("there is room");
    assert!(bench.object(20, 1, STATE_FILE).is_file() && !bench.object(20, 1, MANIFEST_FILE).exists());
    let manifest_digest = staged.manifest_digest().to_owned();
    let recorded = Recorded { id, checkpoints: bench.remote.checkpoints.clone(), manifest_digest };
    assert_eq!(bench.fetch(&recorded, Some(0)), None);
}

#[test]
fn a_manifest_is_never_replaced() {
    let bench = Bench::new();
    bench.put(20, 1);
    bench.put(20, 1);
    let staged = bench.stage(20, 1);
    fs::write(staged.folder().join(MANIFEST_FILE), b"another").expect("it can be written");
    let id = staged.manifest().id();
    let error = wait(bench.remote.seal(&id, staged.folder(), PATIENCE)).expect_err("one is there");
    assert!(error.to_string().contains("holds something else already"), "{error}");
}

#[test]
fn c1_what_is_damaged_is_passed_over_for_the_one_before() {
    type Damage = fn(&Bench);
    let damages: [(&str, Damage); 5] = [
        ("a state cut short", |bench| {
            let path = bench.object(40, 1, STATE_FILE);
            let bytes = fs::read(&path).expect("it is there");
            fs::write(&path, &bytes[..bytes.len() - 1]).expect("it can be written");
        }),
        ("a state with another bit", |bench| {
            let path = bench.object(40, 1, STATE_FILE);
            let mut bytes = fs::read(&path).expect("it is there");
            *bytes.last_mut().expect("a file with bytes") ^= 1;
            fs::write(&path, bytes).expect("it can be written");
        }),
        ("no state", |bench| fs::remove_file(bench.object(40, 1, STATE_FILE)).expect("it is there")),
        ("a manifest cut short", |bench| {
            let path = bench.object(40, 1, MANIFEST_FILE);
            let bytes = fs::read(&path).expect("it is there");
            fs::write(&path, &bytes[..bytes.len() / 2]).expect("it can be written");
        }),
        ("no manifest", |bench| fs::remove_file(bench.object(40, 1, MANIFEST_FILE)).expect("it is there")),
    ];
    for (what, damage) in damages {
        let bench = Bench::new();
        bench.put(10, 1);
        bench.put(20, 1);
        let recorded = bench.put(40, 1);
        bench.put(60, 1);
        damage(&bench);
        assert_eq!(bench.fetch(&recorded, Some(0)), Some(20), "{what}: the newest before the recorded one");
    }
}

#[test]
fn an_older_one_is_taken_only_where_it_is_further_than_what_is_here() {
    let bench = Bench::new();
    bench.put(20, 1);
    let recorded = bench.put(40, 1);
    fs::remove_file(bench.object(40, 1, MANIFEST_FILE)).expect("it is there");
    assert_eq!(bench.fetch(&recorded, Some(20)), None);
    assert_eq!(bench.fetch(&recorded, None), None, "another job's is that one or none");
    assert_eq!(bench.fetch(&recorded, Some(19)), Some(20));
}

#[test]
fn what_is_damaged_here_gives_way_to_what_is_fetched() {
    let bench = Bench::new();
    let recorded = bench.put(40, 1);
    assert_eq!(bench.fetch(&recorded, Some(0)), Some(40));
    let state = bench.reader().join(recorded.id.as_str()).join(STATE_FILE);
    fs::write(&state, b"damaged").expect("it can be written");
    assert_eq!(bench.fetch(&recorded, Some(0)), Some(40));
}

#[test]
fn a_fault_of_this_disk_is_no_damage() {
    let bench = Bench::new();
    let recorded = bench.put(40, 1);
    fs::write(bench.reader(), b"in the way").expect("there is room");
    let error = wait(fetch_newest(&recorded, Some(Step(0)), &bench.reader())).expect_err("this disk fails");
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn a_manifest_that_names_a_file_elsewhere_is_refused() {
    let bench = Bench::new();
    let recorded = bench.put(40, 1);
    let path = bench.object(40, 1, MANIFEST_FILE);
    let json = fs::read_to_string(&path).expect("it is there").replace(STATE_FILE, "../elsewhere");
    fs::write(&path, &json).expect("it can be written");
    let manifest_digest = blake3::hash(json.as_bytes()).to_hex().to_string();
    assert_eq!(bench.fetch(&Recorded { manifest_digest, ..recorded }, Some(0)), None);
}

#[test]
fn what_is_let_go_of_goes_and_so_do_states_without_a_manifest() {
    let bench = Bench::new();
    for step in [10, 20, 30] {
        bench.put(step, 1);
    }
    for (step, generation) in [(25, 1), (35, 2), (50, 2)] {
        let staged = bench.stage(step, generation);
        wait(bench.remote.upload(&staged.manifest().id(), staged.folder())).expect("there is room");
    }
    bench.put(40, 2);
    let id = |step, generation| CheckpointId::of(Step(step), Generation(generation));
    wait(bench.remote.remove_all_but(&[], &[])).expect("it can be listed");
    assert_eq!(bench.keys().len(), 11, "nothing is recorded yet");
    wait(bench.remote.remove_all_but(&[id(20, 1), id(40, 2)], &[id(35, 2)])).expect("it can be listed");
    let mut left: Vec<String> = Vec::new();
    for (step, generation, is_sealed) in [(20, 1, true), (35, 2, false), (40, 2, true), (50, 2, false)] {
        left.extend(is_sealed.then(|| format!("{}/{MANIFEST_FILE}", id(step, generation))));
        left.push(format!("{}/{STATE_FILE}", id(step, generation)));
    }
    assert_eq!(bench.keys(), left, "what is newer than all that is recorded stays, and what is on its way");
}
