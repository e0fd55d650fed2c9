//! Nothing is seen before it is stored, and nothing is said by one who may not decide.

use std::pin::pin;

use kindred_proto::{failure::Reason, ids::JobId, v1::JobState};
use tokio::{
    sync::watch,
    time::{self, Duration},
};

use super::Running;
use crate::{
    journal::{Error, Events, Journal, Memory, Sequence, Stored},
    model::{Change, Piece, State},
};

/// A journal that stores nothing until its gate opens.
struct Gated {
    memory: Memory,
    gate: watch::Receiver<bool>,
    license: watch::Receiver<bool>,
}

impl Journal for Gated {
    async fn load(&mut self) -> Result<Stored, Error> {
        self.memory.load().await
    }

    async fn append(&mut self, changes: &[Change], events: &Events) -> Result<(), Error> {
        self.gate.wait_for(|is_open| *is_open).await.expect("the test holds the gate");
        self.memory.append(changes, events).await
    }

    fn newest(&self) -> Sequence {
        self.memory.newest()
    }

    async fn store_piece(&mut self, at: Sequence, number: u32, piece: &Piece) -> Result<(), Error> {
        self.memory.store_piece(at, number, piece).await
    }

    async fn seal_snapshot(&mut self, at: Sequence, n_pieces: u32) -> Result<(), Error> {
        self.memory.seal_snapshot(at, n_pieces).await
    }

    async fn drop_surplus(&mut self) -> Result<bool, Error> {
        self.memory.drop_surplus().await
    }

    fn may_decide(&self) -> bool {
        *self.license.borrow()
    }
}

/// A gate that is open or not, and a right to decide that can be taken away.
async fn gated(is_open: bool) -> (Running, watch::Sender<bool>, watch::Sender<bool>) {
    let memory = Memory::default();
    let ((gate, at_gate), (license, licensed)) = (watch::channel(is_open), watch::channel(true));
    let journal = Gated { memory: memory.clone(), gate: at_gate, license: licensed };
    (Running::start_with(journal, memory).await, gate, license)
}

#[tokio::test]
async fn a_job_is_stored_before_it_is_seen() {
    let (running, gate, _license) = gated(false).await;
    let mut created = pin!(running.create("a"));
    time::timeout(Duration::from_secs(60), &mut created).await.expect_err("it is not stored yet");
    let job_id = JobId::from("job-1");
    let looked = time::timeout(Duration::from_secs(60), running.handle.get_job(&job_id)).await;
    looked.expect_err("nobody is told of it");
    assert_eq!(running.journal.changes(), vec![]);

    gate.send_replace(true);
    let job = created.await.expect("a good job");
    assert_eq!((job.id.as_str(), job.state()), ("job-1", JobState::Pending));
    assert!(job.reason.starts_with("needs 1 cpu device"), "{}", job.reason);
    assert_eq!(State::replay(&running.journal.changes()).jobs_before(None).count(), 1);
}

#[tokio::test]
async fn who_may_not_decide_any_more_says_nothing_and_ends() {
    let (running, _gate, license) = gated(true).await;
    running.create("a").await.expect("a good job");
    let mut session = running.handle.connect_agent(super::report(None)).await.expect("a good agent");
    session.orders.borrow_and_update();
    license.send_replace(false);
    session.reports.report(super::report(None)).await.expect("it is still read");
    let refusal = running.create("b").await.expect_err("nobody decides");
    assert_eq!(refusal.reason, Reason::ShuttingDown);
    assert!(session.orders.changed().await.is_err(), "no lease is renewed");
    running.task.await.expect("the engine does not panic");
    assert_eq!(State::replay(&running.journal.changes()).jobs_before(None).count(), 1);
}

#[tokio::test]
async fn what_was_stored_too_late_is_not_told() {
    let (running, gate, license) = gated(false).await;
    let mut created = pin!(running.create("a"));
    time::timeout(Duration::from_secs(60), &mut created).await.expect_err("it is not stored yet");
    license.send_replace(false);
    gate.send_replace(true);
    assert_eq!(created.await.expect_err("another one may have decided").reason, Reason::ShuttingDown);
}
