//! A journal on a simulated disk: a write takes its time, may fail, and may be the last thing that a coordinator does.

use std::time::Duration;

use fastrand::Rng;
use kindred_coordinator::{
    journal::{Error, Journal},
    model::{Change, JobChange, NodeChange, Outcome, Placement},
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
}

impl Journal for SimulatedJournal {
    async fn load(&mut self) -> Result<Vec<Change>, Error> {
        sleep(self.latency()).await;
        Ok(self.world.truth().record.changes().to_vec())
    }

    async fn append(&mut self, changes: &[Change]) -> Result<(), Error> {
        sleep(self.latency()).await;
        if self.world.truth().journal_fails_until.is_some_and(|until| Instant::now() < until) {
            return Err(Error::ToldToFail);
        }
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
}

/// A change in a line, without what differs from run to run.
fn text(change: &Change) -> String {
    match change {
        Change::Node { node_id, change: NodeChange::Described(_), .. } => {
            format!("journal: {node_id} described")
        }
        Change::Node { node_id, change: NodeChange::Forgotten, .. } => {
            format!("journal: {node_id} forgotten")
        }
        Change::Job { job_id, change, .. } => format!("journal: {job_id} {}", job_text(change)),
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
        JobChange::Suspended => "suspended".to_owned(),
        JobChange::ResumeRequested => "resume requested".to_owned(),
    }
}
