//! What ranks say directly to one another: every operation is a round to which each member of a group contributes.
//!
//! A member that dies, or leaves the group, is noticed at once, as a closed connection is; one whose machine is gone or that
//! hangs is noticed when the operation has taken too long.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kindred_proto::ids::Generation;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    process::Pid,
    rank::lineage::Lineage,
    world::{Truth, World},
};

/// How soon a closed connection is noticed.
const RESET_AFTER: Duration = Duration::from_millis(2);

/// What a rank contributes to a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The state that it holds.
    pub lineage: Lineage,
    /// Whether what follows its last step is still to be done.
    pub owes: bool,
    /// Whether it was asked to stop, and whether with a checkpoint.
    pub stop: Option<bool>,
    /// Whether it was told to meet a newer generation.
    pub leaves: bool,
    /// Where the rank is.
    pub node: usize,
}

/// A peer is gone, or seems so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// A group that met: its generation, and its members in the order of their ranks.
type GroupId = (Generation, Vec<Pid>);

/// All groups that ever met.
#[derive(Default)]
pub struct Groups {
    rounds: BTreeMap<(GroupId, u64), Round>,
    left: BTreeMap<GroupId, Vec<Pid>>,
    /// Wakes in the order of waiting, as a `watch` does not.
    bell: Arc<Notify>,
}

impl Groups {
    /// Something happened to a process: whoever waits looks again.
    pub fn ring(&self) {
        self.bell.notify_waiters();
    }
}

/// One operation.
#[derive(Default)]
struct Round {
    shares: BTreeMap<Pid, Share>,
    /// Who is through with it: what they do next harms nobody here.
    done: BTreeSet<Pid>,
}

/// One rank's place in a group.
pub struct Seat {
    world: World,
    pid: Pid,
    generation: Generation,
    members: Vec<Pid>,
    n_rounds: u64,
    timeout: Duration,
}

impl Seat {
    pub fn new(world: World, pid: Pid, (generation, members): GroupId, timeout: Duration) -> Self {
        Self { world, pid, generation, members, n_rounds: 0, timeout }
    }

    /// Contributes to the next round and waits for the shares of all members, in the order of their ranks.
    pub async fn gather(&mut self, share: Share) -> Result<Vec<Share>, Lost> {
        self.n_rounds += 1;
        let bell = {
            let mut truth = self.world.truth();
            let round = truth.groups.rounds.entry(self.round()).or_default();
            round.shares.insert(self.pid, share);
            truth.groups.ring();
            truth.groups.bell.clone()
        };
        let deadline = Instant::now() + self.timeout;
        loop {
            let rung = bell.notified();
            if let Some(outcome) = self.look() {
                if outcome.is_err() {
                    sleep(RESET_AFTER).await;
                }
                return outcome;
            }
            timeout_at(deadline, rung).await.map_err(|_| Lost)?;
        }
    }

    fn group(&self) -> GroupId {
        (self.generation, self.members.clone())
    }

    fn round(&self) -> (GroupId, u64) {
        (self.group(), self.n_rounds)
    }

    /// The outcome of the round, if it has one.
    fn look(&self) -> Option<Result<Vec<Share>, Lost>> {
        let mut truth = self.world.truth();
        let truth = &mut *truth;
        if self.is_cut(truth) {
            return None;
        }
        let gone: Vec<Pid> = self.members.iter().copied().filter(|pid| self.is_gone(truth, *pid)).collect();
        let round = truth.groups.rounds.get_mut(&self.round())?;
        let mut missed = gone.iter().filter(|pid| !round.done.contains(pid));
        if round.shares.len() < self.members.len() {
            return missed.next().map(|_| Err(Lost));
        }
        // The last bytes of a member that died may have come through, or not.
        if missed.next().is_some() && truth.rng.bool() {
            return Some(Err(Lost));
        }
        round.done.insert(self.pid);
        Some(Ok(self.in_order(&round.shares)))
    }

    fn in_order(&self, shares: &BTreeMap<Pid, Share>) -> Vec<Share> {
        self.members.iter().map(|pid| shares[pid].clone()).collect()
    }

    /// Whether bytes pass between all members.
    fn is_cut(&self, truth: &Truth) -> bool {
        let mut nodes: Vec<usize> = self.members.iter().map(|pid| truth.processes.get(*pid).node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len() > 1 && nodes.iter().any(|node| truth.islands.contains(node))
    }

    /// Whether a member's connections are closed.
    fn is_gone(&self, truth: &Truth, pid: Pid) -> bool {
        let has_left = truth.groups.left.get(&self.group()).is_some_and(|left| left.contains(&pid));
        let process = truth.processes.get(pid);
        pid != self.pid && (has_left || !truth.processes.is_alive(pid)) && !process.is_silent
    }
}

impl Drop for Seat {
    /// Whoever leaves a group closes its connections.
    fn drop(&mut self) {
        let mut truth = self.world.truth();
        truth.groups.left.entry(self.group()).or_default().push(self.pid);
        truth.groups.ring();
    }
}
