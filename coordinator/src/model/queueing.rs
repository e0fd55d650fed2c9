//! How a job comes to wait for devices, and what it may claim of those that it had.

use kindred_proto::ids::JobId;
use serde::{Deserialize, Serialize};

use super::{Job, JobState, Timestamp};

/// A job's claim to devices that it had: for a while it goes before all that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Since when.
    pub since: Timestamp,
    /// The job that it gave some of them to, which goes first.
    pub after: Option<JobId>,
}

impl Job {
    /// Its ranks write a checkpoint, unless they stop already, and stop.
    pub(super) fn stop_with_checkpoint(&mut self, at: Timestamp) {
        if let Some(live) = &mut self.live {
            live.writes_checkpoint |= live.ending_since.is_none();
        }
        self.stop_generation(at);
    }

    /// From now on it waits.
    pub(super) fn queue_up(&mut self, at: Timestamp, claim: Option<Claim>) {
        (self.queued_at, self.claim, self.gives_way) = (at, claim, false);
    }

    /// All ranks are gone. A claim to their devices counts from now: they took their time to stop.
    pub(super) fn end_generation(&mut self, at: Timestamp) {
        self.live = None;
        if let Some(claim) = &mut self.claim {
            claim.since = at;
        }
        let waits_again = std::mem::take(&mut self.gives_way) && self.state == JobState::Recovering;
        if waits_again {
            self.state = JobState::Pending;
        }
    }

    /// True when the devices of its ranks, which stop, are for others.
    pub(super) fn leaves_devices(&self) -> bool {
        use JobState::{Cancelling, Suspending};
        self.gives_way || self.state.is_terminal() || matches!(self.state, Cancelling | Suspending)
    }
}
