//! A journal on a simulated disk: a write takes its time, may fail, and may be the last thing that a coordinator does.

use std::time::Duration;

use fastrand::Rng;
use kindred_coordinator::{
    journal::{Error, Events, Journal, Sequence, Stored},
    model::{Change, JobChange, NodeChange, Outcome, Piece, Placement},
};
use tokio::time::{Instant, sleep};

use crate::world::{Plant, World};

/// The journal of one life of the coordinator.
pub struct SimulatedJournal {
    world: World,
    rng: Rng,
    /// What a disk that forgets has not written yet.
    unwritten: Vec<Change>,
}

impl SimulatedJournal {
    pub fn new(world: &World) -> Self {
        let rng = world.truth().rng.fork();
        Self { world: world.clone(), rng, unwritten: vec![] }
    }

    /// Usually fast, now and then slow.
    fn latency(&mut self) -> Duration {
        let most_ms = if self.rng.u32(0..50) == 0 { 1_500 } else { 6 };
        Duration::from_millis(self.rng.u64(0..=most_ms))
    }

    fn store(&mut self, changes: &[Change]) {
        let mut truth = self.world.truth();
        let truth = &mut *truth;
        for change in changes {
            truth.note(text(change));
        }
        let outcome = truth.record.store(changes, &truth.disks);
        truth.check(outcome);
    }

    /// Takes its time, and says whether it works.
    async fn access(&mut self) -> Result<(), Error> {
        sleep(self.latency()).await;
        let is_failing = self.world.truth().journal_fails_until.is_some_and(|until| Instant::now() < until);
        if is_failing { Err(Error::ToldToFail) } else { Ok(()) }
    }
}

impl Journal for SimulatedJournal {
    async fn load(&mut self) -> Result<Stored, Error> {
        sleep(self.latency()).await;
        Ok(self.world.truth().record.stored())
    }

    /// What people are told follows from the changes: it is not kept here.
    async fn append(&mut self, changes: &[Change], _events: &Events) -> Result<(), Error> {
        self.access().await?;
        if self.world.truth().plant == Plant::Forgetful {
            let older = std::mem::replace(&mut self.unwritten, changes.to_vec());
            self.store(&older);
            return Ok(());
        }
        self.store(changes);
        // It is stored, and the coordinator may not live to know it.
        sleep(self.latency()).await;
        Ok(())
    }

    /// A disk that forgets gets no snapshots, which would know what it forgot.
    fn newest(&self) -> Sequence {
        let truth = self.world.truth();
        let n_changes = if truth.plant == Plant::Forgetful { 0 } else { truth.record.changes().len() };
        Sequence::default().after(n_changes)
    }

    async fn store_piece(&mut self, at: Sequence, number: u32, piece: &Piece) -> Result<(), Error> {
        self.access().await?;
        self.world.truth().record.store_piece(at, number, piece);
        Ok(())
    }

    async fn seal_snapshot(&mut self, at: Sequence, _n_pieces: u32) -> Result<(), Error> {
        self.access().await?;
        let mut truth = self.world.truth();
        truth.note(format!("journal: snapshot after change {}", at.0));
        truth.record.seal_snapshot(at);
        Ok(())
    }

    /// All changes stay for those who check them; a life reads none before its snapshot.
    async fn drop_surplus(&mut self) -> Result<bool, Error> {
        self.access().await?;
        Ok(self.world.truth().record.drop_pieces())
    }
}

/// A change in a line, without what differs from run to run.
fn text(change: &Change) -> String {
    match change {
        Change::Node { node_id, change, .. } => format!("journal: {node_id} {}", node_text(change)),
        Change::Job { job_id, change, .. } => format!("journal: {job_id} {}", job_text(change)),
        Change::Access { change, .. } => format!("journal: {change:?}"),
    }
}

fn node_text(change: &NodeChange) -> String {
    match change {
        NodeChange::Described(_) => "described".to_owned(),
        NodeChange::Forgotten => "forgotten".to_owned(),
        NodeChange::Lost => "lost".to_owned(),
        NodeChange::Returned => "returned".to_owned(),
        NodeChange::Cordoned { drains, .. } => if *drains { "drained" } else { "cordoned" }.to_owned(),
        NodeChange::Uncordoned => "uncordoned".to_owned(),
        NodeChange::Faulted { job_id, generation } => format!("ended generation {generation} of {job_id}"),
        NodeChange::Quarantined { reason, .. } => format!("in quarantine: {reason}"),
    }
}

fn job_text(change: &JobChange) -> String {
    match change {
        JobChange::Accepted { submission, .. } => format!("accepted with {} ranks", submission.world_size),
        JobChange::Waits { reason } => format!("waits: {reason}"),
        JobChange::Placed { generation, placements, resume_from } => {
            let place = |it: &Placement| format!("{}/{}", it.node_id, it.device_index);
            let places: Vec<_> = placements.iter().map(place).collect();
            let from = resume_from.as_ref().map(|id| format!(" from {id}")).unwrap_or_default();
            format!("generation {generation} placed on {}{from}", places.join(" "))
        }
        JobChange::RankEnded { rank, outcome: Outcome::Failed { fault } } => {
            format!("rank {rank} failed: {}", fault.message)
        }
        JobChange::RankEnded { rank, outcome: Outcome::Stopped } => format!("rank {rank} stopped"),
        JobChange::RankEnded { rank, outcome: Outcome::Finished { .. } } => format!("rank {rank} finished"),
        JobChange::CheckpointRecorded { checkpoint } => format!("records {}", checkpoint.id),
        JobChange::GenerationEnds { fault, reached, .. } => {
            format!("generation ends after step {reached}: {}", fault.message)
        }
        JobChange::Failed { failure } => format!("failed: {}", failure.message),
        JobChange::Runs => "runs".to_owned(),
        JobChange::GenerationOver => "generation over".to_owned(),
        JobChange::CancelRequested { .. } => "cancel requested".to_owned(),
        JobChange::Succeeded { .. } => "succeeded".to_owned(),
        JobChange::Cancelled => "cancelled".to_owned(),
        JobChange::Forgotten => "forgotten".to_owned(),
        JobChange::Joins { generation, placements } => {
            format!("{} more ranks start for generation {generation}", placements.len())
        }
        JobChange::JoinEnds { reason } => format!("more ranks do not come: {reason}"),
        JobChange::Began { generation, step } => format!("generation {generation} goes on after step {step}"),
        JobChange::Sealed { generation, reached, .. } => {
            format!("generation {generation} came to step {}", reached)
        }
        JobChange::CheckpointPinned { .. } => "checkpoint pinned".to_owned(),
        JobChange::SuspendRequested { .. } => "suspend requested".to_owned(),
        JobChange::Updated { .. } => "updated".to_owned(),
        JobChange::GivesWay { reason, .. } => reason.clone(),
        JobChange::Suspended => "suspended".to_owned(),
        JobChange::ResumeRequested => "resume requested".to_owned(),
    }
}
