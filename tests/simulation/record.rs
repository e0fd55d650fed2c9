//! The journal as it is stored, what it means, and the invariants that every change of it must keep (J1 to J6, C1, W1).
//!
//! Whatever users and agents see is compared with this: what is not stored must not be visible.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kindred_coordinator::{
    journal::{Sequence, Stored},
    model::{Change, Job, JobChange, Model, Piece, Placement, Rules, State, Timestamp},
};
use kindred_ipc::Start;
use kindred_proto::{
    failure::{Failure, Kind, Reason},
    ids::{CheckpointId, Generation, JobId},
    v1,
};

use crate::{disk::Disks, rank::lineage};

/// What was violated, and how.
pub type Violation = String;

/// Everything that is stored.
pub struct Record {
    rules: Rules,
    changes: Vec<Change>,
    state: State,
    /// Where the sealed snapshot stands.
    sealed: Sequence,
    /// Pieces of that and of others, as JSON.
    pieces: BTreeMap<(Sequence, u32), String>,
    /// How each job looks to users, after each write that touched it.
    views: BTreeMap<(JobId, u64), v1::Job>,
    placed: BTreeMap<(JobId, Generation), Vec<Placement>>,
    /// The newest revision of each job that a user saw.
    seen: BTreeMap<JobId, u64>,
    /// How often a job gave way to another, or left a node that was drained.
    pub n_given_way: u64,
}

impl Record {
    pub fn new(lease: Duration) -> Self {
        Self {
            rules: Rules::new(lease),
            changes: vec![],
            state: State::default(),
            sealed: Sequence::default(),
            pieces: BTreeMap::new(),
            views: BTreeMap::new(),
            placed: BTreeMap::new(),
            seen: BTreeMap::new(),
            n_given_way: 0,
        }
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// What a coordinator reads at its start.
    pub fn stored(&self) -> Stored {
        let pieces = self.pieces.iter().filter(|((at, _), _)| *at == self.sealed);
        let decode = |(_, text): (_, &String)| serde_json::from_str(text).expect("pieces are JSON");
        let n_before = usize::try_from(self.sealed.0).expect("places are counted from 0");
        Stored {
            snapshot_at: self.sealed,
            pieces: pieces.map(decode).collect(),
            changes: self.changes[n_before..].to_vec(),
            ..Stored::default()
        }
    }

    pub fn store_piece(&mut self, at: Sequence, number: u32, piece: &Piece) {
        self.pieces.insert((at, number), serde_json::to_string(piece).expect("pieces are JSON"));
    }

    pub fn seal_snapshot(&mut self, at: Sequence) {
        self.sealed = at;
    }

    /// Drops the pieces of other snapshots; says whether there were any.
    pub fn drop_pieces(&mut self) -> bool {
        let (n_before, sealed) = (self.pieces.len(), self.sealed);
        self.pieces.retain(|(at, _), _| *at == sealed);
        self.pieces.len() < n_before
    }

    /// Stores the changes of one write, through the journal's own encoding.
    pub fn store(&mut self, changes: &[Change], disks: &Disks) -> Result<(), Violation> {
        let mut touched = BTreeSet::new();
        for change in changes {
            let text = serde_json::to_string(change).expect("changes are JSON");
            let change: Change =
                serde_json::from_str(&text).map_err(|error| format!("J5: {text}: {error}"))?;
            let before = self.state.clone();
            self.state.evolve(&change);
            self.n_given_way +=
                u64::from(matches!(&change, Change::Job { change: JobChange::GivesWay { .. }, .. }));
            if let Change::Job { job_id, change, .. } = &change {
                touched.insert(job_id.clone());
                self.check_change(before.job(job_id), job_id, change, disks)?;
            }
            self.changes.push(change);
        }
        self.check_waiting()?;
        self.check_devices()?;
        let model = Model::new(self.state.clone(), self.rules.clone(), Timestamp(0));
        for job in touched.iter().filter_map(|job_id| self.state.job(job_id)) {
            self.views.insert((job.id.clone(), job.revision), journaled(model.job_view(job)));
        }
        Ok(())
    }

    fn check_change(
        &mut self,
        before: Option<&Job>,
        job_id: &JobId,
        change: &JobChange,
        disks: &Disks,
    ) -> Result<(), Violation> {
        let after = self.state.job(job_id).ok_or_else(|| format!("J5: {job_id} was never accepted"))?;
        if let JobChange::GivesWay { to: Some(to), .. } = change {
            self.check_preemption(after, to)?;
        }
        if let JobChange::Placed { generation, placements, .. } = change {
            let newest = before.map_or(Generation(0), |job| job.generation);
            if *generation <= newest {
                return Err(format!("J2: {job_id}: generation {generation} after {newest}"));
            }
            let joins = |job: &Job| job.joining.as_ref().is_some_and(|it| it.generation == *generation);
            if before.is_some_and(|job| job.live_generation().is_some() && !joins(job)) {
                return Err(format!("J1: {job_id}: generation {generation} opens while {newest} is live"));
            }
            if !after.submission.sizes().any(|size| size == placements.len()) {
                return Err(format!("J1: {job_id}: {} ranks are placed", placements.len()));
            }
            self.placed.insert((job_id.clone(), *generation), placements.clone());
        }
        if let (JobChange::Joins { generation, placements }, Some(live)) = (change, &after.live) {
            let there = live.members.iter().map(|member| member.placement.clone());
            let all = there.chain(placements.iter().cloned()).collect();
            self.placed.insert((job_id.clone(), *generation), all);
        }
        check_ledger(after)?;
        let Some(before) = before else { return Ok(()) };
        check_end(before, after)?;
        match change {
            JobChange::CheckpointRecorded { checkpoint } => check_checkpoint(before, checkpoint, disks),
            JobChange::Failed { failure } => check_failure(job_id, &Failure::from(&failure.0), disks),
            JobChange::Succeeded { result } => check_result(before, &result.0),
            _ => Ok(()),
        }
    }

    /// S1: devices are taken from lower priorities only.
    fn check_preemption(&self, job: &Job, to: &JobId) -> Result<(), Violation> {
        let priority = |job: &Job| job.submission.scheduling.priority;
        let higher = self.state.job(to).map(priority);
        if higher.is_some_and(|higher| higher > priority(job)) {
            return Ok(());
        }
        Err(format!("S1: {} of priority {} gives way to {to} of {higher:?}", job.id, priority(job)))
    }

    /// J6, once the coordinator has come to rest.
    fn check_waiting(&self) -> Result<(), Violation> {
        for job in self.state.active_jobs().filter(|job| job.wants_placement()) {
            if !(job.reason.starts_with("needs ") || job.reason.starts_with("waits behind ")) {
                return Err(format!("J6: {} waits: {:?}", job.id, job.reason));
            }
        }
        Ok(())
    }

    /// J1: no device is given to two ranks.
    fn check_devices(&self) -> Result<(), Violation> {
        let mut taken = BTreeMap::new();
        for job in self.state.active_jobs() {
            for (rank, member) in job.live.iter().flat_map(|live| live.ranks()) {
                let device = (&member.placement.node_id, member.placement.device_index);
                if member.ended.is_none()
                    && let Some((other, number)) = taken.insert(device, (&job.id, rank))
                {
                    return Err(format!(
                        "J1: {device:?} has rank {number} of {other} and {rank} of {}",
                        job.id
                    ));
                }
            }
        }
        Ok(())
    }

    /// J3, J5: what a user sees of a job is what the journal says, and never older than what was seen before.
    pub fn check_view(&mut self, view: &v1::Job) -> Result<(), Violation> {
        let job_id = JobId::new(view.id.as_str());
        let shown = journaled(view.clone());
        let Some(stored) = self.views.get(&(job_id.clone(), view.revision)) else {
            return Err(format!("J3: {job_id} is seen at revision {}, which is not stored", view.revision));
        };
        if *stored != shown {
            return Err(format!("J5: {job_id} is seen as {shown:?}, the journal says {stored:?}"));
        }
        let seen = self.seen.entry(job_id.clone()).or_default();
        if view.revision < *seen {
            return Err(format!("J3: {job_id} was seen at revision {seen}, now at {}", view.revision));
        }
        *seen = view.revision;
        Ok(())
    }

    /// J3: a rank that an agent starts is stored as placed there.
    pub fn check_placed(&self, start: &Start) -> Result<(), Violation> {
        let Start { job_id, generation, rank, .. } = start;
        if self.is_placed(start, *generation) {
            return Ok(());
        }
        Err(format!("J3: rank {rank} of generation {generation} of {job_id} starts where it is not placed"))
    }

    /// W1: nothing durable comes from a generation after the next one was opened, unless from a rank that goes on in it
    /// and has not heard so yet.
    pub fn check_fence(&self, start: &Start) -> Result<(), Violation> {
        let Start { job_id, generation, rank, .. } = start;
        let newest = self.state.job(job_id).map_or(Generation(0), |job| job.generation);
        let goes_on = self.placed.get(&(job_id.clone(), newest)).is_some_and(|all| {
            all.iter().any(|it| it.node_id == start.node_id && it.device_index == start.device_index)
        });
        if *generation == newest || goes_on {
            return Ok(());
        }
        Err(format!("W1: rank {rank} of generation {generation} of {job_id} commits, {newest} is the newest"))
    }

    /// Whether a generation has a rank where this one is.
    fn is_placed(&self, start: &Start, generation: Generation) -> bool {
        let placements = self.placed.get(&(start.job_id.clone(), generation));
        let placement = placements.and_then(|placements| placements.get(start.rank.0 as usize));
        placement.is_some_and(|it| it.node_id == start.node_id && it.device_index == start.device_index)
    }
}

/// Without what is known from reports alone, and changes with the time.
fn journaled(view: v1::Job) -> v1::Job {
    v1::Job { progress: None, ledger: None, ..view }
}

/// J7: each step has one owner.
fn check_ledger(job: &Job) -> Result<(), Violation> {
    let mut next = 1;
    for interval in job.ledger.intervals(None) {
        if interval.first.0 != next {
            return Err(format!("J7: {}: {interval:?}, where step {next} has no owner yet", job.id));
        }
        next = interval.last.0 + 1;
    }
    Ok(())
}

/// J4.
fn check_end(before: &Job, after: &Job) -> Result<(), Violation> {
    let end = |job: &Job| (job.state, job.failure.clone(), job.result.clone(), job.ended_at);
    if before.state.is_terminal() && end(before) != end(after) {
        return Err(format!("J4: {} changed after its end", before.id));
    }
    Ok(())
}

/// C1, W1: what is recorded exists as it is described, and is of the newest generation.
fn check_checkpoint(before: &Job, checkpoint: &v1::Checkpoint, disks: &Disks) -> Result<(), Violation> {
    let Job { id: job_id, generation, .. } = before;
    let id = CheckpointId::new(checkpoint.id.as_str());
    if checkpoint.generation != generation.0 || before.state.is_terminal() {
        return Err(format!("W1: {id} of {job_id} is recorded in generation {generation}"));
    }
    let Some(manifest) = disks.ever(job_id, &id) else {
        return Err(format!("C1: {id} of {job_id} is recorded and has no manifest"));
    };
    if manifest.own_digest() != checkpoint.manifest_digest || manifest.step().0 != checkpoint.step {
        return Err(format!("C1: {id} of {job_id} is recorded with another digest or step"));
    }
    Ok(())
}

/// A job fails by what was done to it, and not by Kindred.
fn check_failure(job_id: &JobId, failure: &Failure, disks: &Disks) -> Result<(), Violation> {
    let is_lost = failure.reason == Reason::CheckpointUnreadable && disks.is_shared();
    if failure.kind() == Kind::Bug || is_lost {
        return Err(format!("C1: {job_id} failed by a fault of Kindred: {failure}"));
    }
    Ok(())
}

/// What a job leaves comes from all its steps.
fn check_result(job: &Job, result: &v1::JobResult) -> Result<(), Violation> {
    let training = job.submission.spec.0.recipe.as_ref().and_then(|recipe| recipe.training.as_ref());
    let n_steps = training.and_then(|training| training.max_steps).unwrap_or_default();
    if result.encoder_digest == lineage::digest(n_steps) {
        return Ok(());
    }
    Err(format!("{} has {n_steps} steps and leaves {:?}", job.id, result.encoder_digest))
}
