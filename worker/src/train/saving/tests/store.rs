//! The way of a checkpoint to a store in a folder beside the rank's own.

use std::{fs, sync::Arc, thread};

use object_store::{
    memory::InMemory,
    throttle::{ThrottleConfig, ThrottledStore},
};

use super::*;
use crate::checkpoint::{MANIFEST_FILE, STATE_FILE};

const PATIENCE: Duration = Duration::from_secs(5);

fn outlet(store: &Store) -> Option<Outlet> {
    let remote = Remote::new(store, &JobId::new("job-1"), 17);
    Some(Outlet {
        remote,
        worker: Worker::start().expect("there are threads"),
        stop_patience: Duration::ZERO,
    })
}

impl Bench {
    fn with_folder() -> Self {
        Self::with(|folder| {
            let shared = folder.join("shared");
            fs::create_dir(&shared).expect("a new folder");
            outlet(&Store::open(&format!("file://{}", shared.display()), PATIENCE).expect("it is there"))
        })
    }

    /// A store that takes an hour for each object.
    fn with_slow_store() -> Self {
        let hour = Duration::from_secs(3600);
        let config = ThrottleConfig { wait_put_per_call: hour, ..ThrottleConfig::default() };
        let slow = Arc::new(ThrottledStore::new(InMemory::new(), config));
        Self::with(|_| outlet(&Store::new(slow, "memory://slow", 2 * hour)))
    }

    fn object(&self, step: u64, name: &str) -> PathBuf {
        let id = CheckpointId::of(Step(step), Generation(1));
        self.shared().join("job-1-17/checkpoints").join(id.as_str()).join(name)
    }

    fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    /// Which of its files are in the store: the state, the manifest.
    fn is_there(&self, step: u64) -> (bool, bool) {
        (self.object(step, STATE_FILE).is_file(), self.object(step, MANIFEST_FILE).is_file())
    }

    fn told_url(&self) -> String {
        self.told.recv().expect("it tells").url
    }
}

#[test]
fn the_state_is_there_before_the_question_and_the_manifest_after_the_permission() {
    let mut bench = Bench::with_folder();
    bench.save(1);
    let asked = bench.asked.recv().expect("the thread asks");
    assert_eq!(bench.is_there(1), (true, false));
    bench.writer.mailbox().answer(asked, for_a_minute(true));
    assert_eq!(bench.settle(), Permission::Granted);
    assert_eq!(bench.is_there(1), (true, true));
    assert_eq!(bench.steps(), [1], "it is on this disk as well");
    let expected = format!("file://{}", bench.object(1, MANIFEST_FILE).display());
    assert_eq!(format!("{}/{MANIFEST_FILE}", bench.told_url()), expected);
    let here = bench.checkpoints().join("step-000000000001-g1");
    for name in [STATE_FILE, MANIFEST_FILE] {
        assert!(
            fs::read(here.join(name)).expect("it is here")
                == fs::read(bench.object(1, name)).expect("it is there")
        );
    }
}

/// The fence: without it the manifest of an older generation would be there.
#[test]
fn a_generation_that_may_not_commit_leaves_no_manifest_in_the_store() {
    let mut bench = Bench::with_folder();
    bench.save(1);
    bench.answer(false);
    assert_eq!(bench.settle(), Permission::Refused);
    assert_eq!((bench.is_there(1), bench.steps()), ((true, false), vec![]));
    bench.save(2);
    let asked = bench.asked.recv().expect("the thread asks");
    bench.writer.mailbox().answer(asked, Answer::new(true, Duration::ZERO));
    assert_eq!(bench.asked.recv().expect("it asks again"), CheckpointId::of(Step(2), Generation(1)));
    assert_eq!(bench.is_there(2), (true, false), "the permission was over");
}

#[test]
fn only_the_rank_that_tells_others_takes_checkpoints_to_the_store() {
    let mut bench = Bench::with_folder();
    let order = Order { told_by: None, ..bench.order(1) };
    bench.writer.save(&state(1.0), order).expect("there is memory");
    bench.answer(true);
    bench.settle();
    assert_eq!((bench.is_there(1), bench.steps()), ((false, false), vec![1]));
}

#[test]
fn a_store_that_fails_costs_the_copy_there_and_the_next_one_tries_again() {
    let mut bench = Bench::with_folder();
    fs::rename(bench.shared(), bench.folder.path().join("aside")).expect("it is there");
    fs::write(bench.shared(), b"in the way").expect("there is room");
    bench.save(1);
    bench.answer(true);
    assert_eq!(bench.settle(), Permission::Granted);
    assert_eq!((bench.told_url().as_str(), bench.steps()), ("", vec![1]));
    fs::remove_file(bench.shared()).expect("it is there");
    fs::rename(bench.folder.path().join("aside"), bench.shared()).expect("it is there");
    bench.save(2);
    bench.answer(true);
    bench.settle();
    assert!(bench.told_url().ends_with("step-000000000002-g1"));
    assert_eq!(bench.is_there(2), (true, true));
}

#[test]
fn a_manifest_of_another_is_left_as_it_is() {
    let mut bench = Bench::with_folder();
    fs::create_dir_all(bench.object(1, "").as_path()).expect("a new folder");
    fs::write(bench.object(1, MANIFEST_FILE), b"another").expect("there is room");
    bench.save(1);
    bench.answer(true);
    assert_eq!(bench.settle(), Permission::Granted);
    assert_eq!((bench.told_url().as_str(), bench.steps()), ("", vec![1]));
    assert_eq!(fs::read(bench.object(1, MANIFEST_FILE)).expect("it is there"), b"another");
}

#[test]
fn what_the_coordinator_lets_go_of_is_removed_from_the_store_too() {
    let mut bench = Bench::with_folder();
    bench.save(1);
    bench.answer(false);
    for step in 2..=5 {
        bench.save(step);
        bench.answer(true);
    }
    bench.settle();
    let kept = [2, 4].map(|step| CheckpointId::of(Step(step), Generation(1)));
    bench.writer.mailbox().keep(kept.to_vec());
    bench.settle();
    let there = (1..=5).map(|step| bench.is_there(step)).collect::<Vec<_>>();
    let (whole, gone) = ((true, true), (false, false));
    assert_eq!(
        there,
        [gone, whole, gone, whole, whole],
        "the first was never whole, the newest is not recorded yet"
    );
}

/// One is on its way, the newest waits; those between give way. Nobody who trains waits for any of them.
#[test]
fn training_does_not_wait_for_the_store() {
    let mut bench = Bench::with_slow_store();
    for step in 1..=4 {
        bench.save(step);
    }
    bench.writer.inspection().expect("it can be looked at");
    assert!(bench.asked.try_recv().is_err(), "nothing is asked before the state is there");
    let (mailbox, asked) = (bench.writer.mailbox(), bench.asked);
    let answers = thread::spawn(move || {
        let asked: Vec<_> = asked.into_iter().take(2).collect();
        asked.iter().for_each(|checkpoint| mailbox.answer(checkpoint.clone(), for_a_minute(true)));
        asked
    });
    bench.writer.settle_within(Duration::from_secs(60)).expect("nothing fails");
    let asked = answers.join().expect("the thread asks for both");
    assert_eq!(asked, [1, 4].map(|step| CheckpointId::of(Step(step), Generation(1))));
    assert_eq!([bench.told.recv(), bench.told.recv()].map(|told| told.expect("it tells").url), ["", ""]);
}

#[test]
fn a_stop_does_not_wait_for_the_store_for_long() {
    let mut bench = Bench::with_slow_store();
    bench.save(1);
    let (mailbox, asked) = (bench.writer.mailbox(), bench.asked);
    let answer = thread::spawn(move || {
        mailbox.stop();
        let checkpoint = asked.recv().expect("the thread asks");
        mailbox.answer(checkpoint, for_a_minute(true));
    });
    assert_eq!(bench.writer.settle(None).expect("nothing fails"), Permission::Granted);
    answer.join().expect("the thread asks");
    assert_eq!(bench.told.recv().expect("it tells").url, "");
}

#[test]
fn what_an_earlier_generation_left_on_its_way_is_dropped() {
    let mut bench = Bench::with_slow_store();
    bench.save(1);
    bench.writer.abandon().expect("the thread is there");
    assert_eq!(bench.settle(), Permission::Granted);
    assert!(bench.asked.try_recv().is_err());
    assert_eq!(bench.steps(), [0; 0]);
}
