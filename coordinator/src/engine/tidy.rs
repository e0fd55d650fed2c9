//! Keeps what is stored short: a snapshot after so many changes, and nothing of jobs that are forgotten. At each tick a little
//! of it is done, so that no change waits for longer than that takes.

use std::{collections::VecDeque, time::Duration};

use kindred_proto::ids::JobId;
use tokio::{task::JoinSet, time::Instant};
use tracing::{debug, info, warn};

use crate::{
    journal::{Error, Journal, Sequence},
    model::{Change, JobChange, Piece, Pieces, State},
    telemetry::Telemetry,
};

/// The time that it takes from others at a tick, and one piece more.
const BUDGET: Duration = Duration::from_millis(30);

/// What is left to do.
pub(super) struct Tidy {
    /// Changes from one snapshot to the next, at least.
    snapshot_every: usize,
    snapshot_at: Sequence,
    work: Work,
    telemetry: Telemetry,
    /// Jobs that are forgotten, and whose metrics and logs may be there still.
    forgotten: VecDeque<JobId>,
    /// One task at a time; it gives the job back that it could not sweep away.
    sweep: JoinSet<Option<JobId>>,
    is_well: bool,
}

/// Where the snapshot stands.
enum Work {
    Idle,
    Writing(Box<Writing>),
    Dropping,
}

/// A snapshot that is stored piece by piece.
struct Writing {
    at: Sequence,
    pieces: Pieces,
    next: Option<Piece>,
    number: u32,
}

impl Tidy {
    /// After a start: `changes` are those since the snapshot.
    pub fn new(
        snapshot_every: usize,
        snapshot_at: Sequence,
        changes: &[Change],
        telemetry: Telemetry,
    ) -> Self {
        // A snapshot is made only once nothing of jobs that were forgotten before it is left.
        let forgotten = changes.iter().filter_map(forgotten).cloned().collect();
        // What was not dropped in the life before is.
        let work = Work::Dropping;
        let sweep = JoinSet::new();
        Self { snapshot_every, snapshot_at, work, telemetry, forgotten, sweep, is_well: true }
    }

    /// Takes note of what was stored.
    pub fn note(&mut self, changes: &[Change]) {
        self.forgotten.extend(changes.iter().filter_map(forgotten).cloned());
    }

    /// Does a little; `state` is the one after the journal's newest change.
    pub async fn tick(&mut self, journal: &mut impl Journal, state: &State) {
        self.sweep();
        let started = Instant::now();
        while started.elapsed() < BUDGET {
            match self.work_on(journal, state).await {
                Ok(()) => self.is_well = true,
                Err(error) => {
                    if std::mem::take(&mut self.is_well) {
                        warn!(%error, "the journal cannot be made shorter; trying again");
                    }
                    return;
                }
            }
            if matches!(self.work, Work::Idle) {
                return;
            }
        }
    }

    async fn work_on(&mut self, journal: &mut impl Journal, state: &State) -> Result<(), Error> {
        match &mut self.work {
            Work::Idle => {
                if self.is_due(journal.newest(), state) {
                    let mut pieces = state.pieces();
                    let next = pieces.next();
                    self.work =
                        Work::Writing(Box::new(Writing { at: journal.newest(), pieces, next, number: 0 }));
                }
            }
            Work::Writing(writing) => {
                let at = writing.at;
                if let Some(piece) = &writing.next {
                    journal.store_piece(at, writing.number, piece).await?;
                    writing.number += 1;
                    writing.next = writing.pieces.next();
                } else {
                    journal.seal_snapshot(at, writing.number).await?;
                    info!(sequence = at.0, pieces = writing.number, "snapshot stored");
                    self.snapshot_at = at;
                    self.work = Work::Dropping;
                }
            }
            Work::Dropping => {
                if !journal.drop_surplus().await? {
                    self.work = Work::Idle;
                }
            }
        }
        Ok(())
    }

    /// A snapshot costs as much as the state is large: it pays once as many changes have come.
    fn is_due(&self, newest: Sequence, state: &State) -> bool {
        let is_swept = self.forgotten.is_empty() && self.sweep.is_empty();
        is_swept && newest >= self.snapshot_at.after(self.snapshot_every.max(state.size()))
    }

    /// Lets go of the metrics and logs of forgotten jobs, in the background.
    fn sweep(&mut self) {
        while let Some(ended) = self.sweep.try_join_next() {
            self.forgotten.extend(ended.ok().flatten());
        }
        if !self.sweep.is_empty() {
            return;
        }
        let Some(job_id) = self.forgotten.pop_front() else { return };
        let telemetry = self.telemetry.clone();
        self.sweep.spawn(async move {
            match telemetry.forget(&job_id).await {
                Ok(()) => None,
                Err(error) => {
                    debug!(%job_id, %error, "metrics and logs of a forgotten job are still there");
                    Some(job_id)
                }
            }
        });
    }
}

fn forgotten(change: &Change) -> Option<&JobId> {
    match change {
        Change::Job { job_id, change: JobChange::Forgotten, .. } => Some(job_id),
        _ => None,
    }
}
