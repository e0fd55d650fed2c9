//! The thread that makes checkpoints, with a gate that the test keeps.

mod store;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
};

use kindred_proto::ids::{JobId, NodeId, WorldSize};
use tch::{Device, Kind, Tensor, no_grad};

use super::*;
use crate::{
    checkpoint::{newest_good, remove_leftovers},
    train::link::Answer,
};

/// Passes questions and news on to the test.
struct TestGate {
    asked: Sender<CheckpointId>,
    told: Sender<v1::Checkpoint>,
}

impl Gate for TestGate {
    fn ask(&self, checkpoint: &CheckpointId) {
        self.asked.send(checkpoint.clone()).expect("the test listens");
    }

    fn committed(&self, checkpoint: v1::Checkpoint) {
        self.told.send(checkpoint).expect("the test listens");
    }
}

fn for_a_minute(is_allowed: bool) -> Answer {
    Answer::new(is_allowed, Duration::from_secs(60))
}

/// A writer, what it asks and tells, and a folder for its checkpoints.
struct Bench {
    writer: Writer,
    asked: Receiver<CheckpointId>,
    told: Receiver<v1::Checkpoint>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| None)
    }

    /// The same with a way to a store.
    fn with(outlet: impl FnOnce(&Path) -> Option<Outlet>) -> Self {
        let ((asks, asked), (tells, told)) = (channel(), channel());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let gate = TestGate { asked: asks, told: tells };
        let outlet = outlet(folder.path());
        let writer =
            Writer::start(folder.path().join("checkpoints"), gate, outlet).expect("there are threads");
        Self { writer, asked, told, folder }
    }

    /// The order for a step of a world of one.
    fn order(&self, step: u64) -> Order {
        Order {
            manifest: manifest(step),
            is_written: true,
            is_compared: false,
            told_by: Some(NodeId::new("node-1")),
        }
    }

    fn save(&mut self, step: u64) {
        let order = self.order(step);
        self.writer.save(&state(step as f64), order).expect("there is memory");
    }

    /// Waits for the next question and answers it.
    fn answer(&self, is_allowed: bool) -> CheckpointId {
        let asked = self.asked.recv().expect("the thread asks");
        self.writer.mailbox().answer(asked.clone(), for_a_minute(is_allowed));
        asked
    }

    fn settle(&mut self) -> Permission {
        self.writer.settle(None).expect("the disk is sound")
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.path().join("checkpoints")
    }

    /// Steps of the checkpoints that are in place, in order.
    fn steps(&self) -> Vec<u64> {
        let Ok(entries) = std::fs::read_dir(self.checkpoints()) else { return Vec::new() };
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("it can be listed").file_name().into_string().expect("an ASCII name")
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
            .iter()
            .map(|name| name["step-".len()..name.len() - "-g1".len()].parse().expect("a step"))
            .collect()
    }
}

fn manifest(step: u64) -> Manifest {
    Manifest {
        job_id: JobId::new("job-1"),
        job_created_unix_ms: 17,
        generation: Generation(1),
        world_size: WorldSize(1),
        step: Step(step),
        epoch: 0.5,
        recipe_digest: "recipe".into(),
        dataset_digest: "images".into(),
        files: Vec::new(),
        metrics: BTreeMap::new(),
        time_unix_ms: 1,
    }
}

fn state(value: f64) -> Vec<(String, Tensor)> {
    vec![("weight".into(), Tensor::full([4, 3], value, (Kind::Float, Device::Cpu)))]
}

fn newest_value(folder: &Path) -> f64 {
    let target = state(-1.0);
    newest_good(folder).expect("it can be listed").expect("one is there").restore(&target).expect("it fits");
    target[0].1.double_value(&[0, 0])
}

#[test]
fn a_checkpoint_holds_the_state_of_its_step_though_training_went_on() {
    let mut bench = Bench::new();
    let state = state(1.0);
    let order = bench.order(1);
    bench.writer.save(&state, order).expect("there is memory");
    let _ = no_grad(|| state[0].1.shallow_clone().fill_(2.0));
    assert_eq!(bench.answer(true), CheckpointId::of(Step(1), Generation(1)));
    assert_eq!(bench.settle(), Permission::Granted);
    assert_eq!(newest_value(&bench.checkpoints()), 1.0);
    let told = bench.told.recv().expect("it tells");
    assert_eq!((told.step, told.node_id.as_str()), (1, "node-1"));
    assert!(Path::new(&told.path).is_dir(), "{}", told.path);
}

/// The second copy is made into the memory of the first: it has to wait for that.
#[test]
fn checkpoints_that_follow_at_once_hold_each_their_own_state() {
    let mut bench = Bench::new();
    for step in 1..=2 {
        bench.save(step);
    }
    bench.answer(true);
    bench.answer(true);
    bench.settle();
    assert_eq!(bench.steps(), [1, 2]);
    assert_eq!(newest_value(&bench.checkpoints()), 2.0);
    std::fs::remove_dir_all(bench.checkpoints().join("step-000000000002-g1")).expect("it is there");
    assert_eq!(newest_value(&bench.checkpoints()), 1.0);
}

#[test]
fn a_permission_that_is_over_is_asked_for_again() {
    let mut bench = Bench::new();
    bench.save(1);
    let asked = bench.asked.recv().expect("the thread asks");
    bench.writer.mailbox().answer(asked.clone(), Answer::new(true, Duration::ZERO));
    assert_eq!(bench.answer(true), asked);
    assert_eq!(bench.settle(), Permission::Granted);
    assert_eq!(bench.steps(), [1]);
}

#[test]
fn what_waits_for_its_permission_holds_nobody_up_and_the_oldest_and_the_newest_stay() {
    let mut bench = Bench::new();
    for step in 1..=4 {
        bench.save(step);
    }
    for step in 1..=4 {
        let asked = bench.asked.recv().expect("the thread asks");
        assert_eq!(asked, CheckpointId::of(Step(step), Generation(1)));
    }
    let mailbox = bench.writer.mailbox();
    (1..=4).for_each(|step| mailbox.answer(CheckpointId::of(Step(step), Generation(1)), for_a_minute(true)));
    assert_eq!(bench.settle(), Permission::Granted);
    assert_eq!(bench.steps(), [1, 4]);
}

#[test]
fn a_refused_checkpoint_leaves_nothing() {
    let mut bench = Bench::new();
    bench.save(1);
    bench.answer(false);
    assert_eq!(bench.settle(), Permission::Refused);
    assert_eq!(bench.steps(), [0; 0]);
}

#[test]
fn nothing_is_asked_of_a_state_that_the_ranks_have_not_compared() {
    let mut bench = Bench::new();
    let order = Order { is_compared: true, ..bench.order(1) };
    bench.writer.save(&state(1.0), order).expect("there is memory");
    let inspection = bench.writer.inspection().expect("it can be looked at").expect("it was saved");
    inspection.finite.expect("all values are");
    assert_eq!(inspection.digests.len(), 8);
    assert!(bench.writer.inspection().expect("nothing fails").is_none(), "told once");
    bench.settle();
    assert!(bench.asked.try_recv().is_err(), "a peer was lost before it was compared");
    let order = Order { is_compared: true, ..bench.order(2) };
    bench.writer.save(&state(2.0), order).expect("there is memory");
    bench.writer.agreed().expect("the thread is there");
    bench.answer(true);
    bench.settle();
    assert_eq!(bench.steps(), [2]);
}

#[test]
fn a_state_that_is_not_finite_is_not_written() {
    let mut bench = Bench::new();
    bench.save(1);
    bench.answer(true);
    let order = bench.order(2);
    bench.writer.save(&state(f64::NAN), order).expect("there is memory");
    let inspection = bench.writer.inspection().expect("it can be looked at").expect("it was saved");
    let error = inspection.finite.expect_err("no value is finite");
    assert_eq!(error.to_string(), "tensor weight holds a value that is not finite after step 2");
    bench.settle();
    assert_eq!(bench.steps(), [1]);
}

#[test]
fn a_rank_that_does_not_write_looks_all_the_same() {
    let mut bench = Bench::new();
    let order = Order { is_compared: true, is_written: false, told_by: None, ..bench.order(1) };
    bench.writer.save(&state(1.0), order).expect("there is memory");
    let inspection = bench.writer.inspection().expect("it can be looked at").expect("it was saved");
    assert_eq!(inspection.digests.len(), 8);
    bench.writer.agreed().expect("the thread is there");
    assert_eq!(bench.settle(), Permission::Granted);
    assert!(bench.asked.try_recv().is_err());
}

/// The words are those of a checkpoint that training writes itself.
#[test]
fn a_write_that_fails_is_training_s_error() {
    let mut bench = Bench::new();
    let folder = bench.checkpoints();
    std::fs::write(&folder, b"in the way").expect("there is room");
    let expected = remove_leftovers(&folder).expect_err("a file is no folder").to_string();
    bench.save(1);
    let error = bench.writer.settle(None).expect_err("it cannot be written");
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, Error::Checkpoint(_)), "{error}");
    bench.writer.check().expect("it is said once");
    bench.save(2);
    let next = bench.order(3);
    let error = bench.writer.save(&state(3.0), next).expect_err("the one before could not be written");
    assert_eq!(error.to_string(), expected);
    std::fs::remove_file(&folder).expect("it is there");
    bench.save(4);
    bench.answer(true);
    bench.settle();
    assert_eq!(bench.steps(), [4], "the memory for the copy is still there");
}

#[test]
fn what_the_coordinator_lets_go_of_is_removed() {
    let mut bench = Bench::new();
    for step in 1..=4 {
        bench.save(step);
        bench.answer(true);
    }
    bench.settle();
    let kept = [1, 3].map(|step| CheckpointId::of(Step(step), Generation(1)));
    bench.writer.mailbox().keep(kept.to_vec());
    bench.settle();
    assert_eq!(bench.steps(), [1, 3, 4], "the newest is not recorded yet");
}

#[test]
fn who_is_in_a_hurry_leaves_what_has_no_permission() {
    let mut bench = Bench::new();
    bench.save(1);
    bench.writer.settle_within(Duration::from_millis(20)).expect("nothing fails");
    bench.answer(true);
    bench.save(2);
    bench.answer(true);
    assert_eq!(bench.settle(), Permission::Granted);
    assert_eq!(bench.steps(), [2]);
}

#[test]
fn what_an_earlier_generation_left_is_dropped() {
    let mut bench = Bench::new();
    bench.save(1);
    bench.writer.abandon().expect("the thread is there");
    bench.answer(true);
    assert_eq!(bench.settle(), Permission::Granted);
    assert_eq!(bench.steps(), [0; 0]);
}

#[test]
fn a_wait_for_the_permission_has_an_end_when_patience_is_given() {
    let mut bench = Bench::new();
    bench.save(1);
    let permission = bench.writer.settle(Some(Duration::from_millis(20))).expect("nothing fails");
    assert_eq!(permission, Permission::Refused);
    assert_eq!(bench.steps(), [0; 0]);
}
