//! What became of one rank.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::Rank,
    v1,
};

use super::{Job, LiveGeneration, Member, Model, Outcome, Timestamp, Wire, observed::Contact};

/// What became of a node whose agent said good-bye.
const LEAVES: &str = "whose agent leaves";

/// One rank of a job's newest generation, with what it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Seat<'a> {
    pub job: &'a Job,
    pub live: &'a LiveGeneration,
    pub rank: Rank,
    pub member: &'a Member,
}

impl<'a> Seat<'a> {
    /// All ranks of a job's newest generation.
    pub fn all(job: &'a Job, live: &'a LiveGeneration) -> impl Iterator<Item = Self> {
        live.ranks().map(move |(rank, member)| Self { job, live, rank, member })
    }

    /// The ranks that are not known to have ended.
    pub fn open(job: &'a Job, live: &'a LiveGeneration) -> impl Iterator<Item = Self> {
        Self::all(job, live).filter(|seat| seat.member.ended.is_none())
    }

    fn node_name(&self) -> &str {
        &self.member.placement.node_name
    }

    fn lost(&self, why: &str) -> Outcome {
        self.fault(Reason::NodeLost, format!("rank {} was lost with {}, {why}", self.rank, self.node_name()))
    }

    fn fault(&self, reason: Reason, message: String) -> Outcome {
        self.failed(Failure::new(reason, message))
    }

    fn failed(&self, failure: Failure) -> Outcome {
        let node_id = failure.node_id.unwrap_or_else(|| self.member.placement.node_id.clone());
        let rank = failure.rank.unwrap_or(self.rank);
        let fault = Failure { node_id: Some(node_id), rank: Some(rank), ..failure };
        Outcome::Failed { fault: Wire(v1::Failure::from(&fault)) }
    }

    /// How a rank ended that its agent still names; none while it goes on.
    fn ended(&self, seen: &v1::ObservedRank, contact: &Contact) -> Option<Outcome> {
        match seen.state() {
            v1::RankState::Finished if self.rank == Rank(0) && seen.result.is_none() => {
                let message = format!("rank 0 on {} finished without a result", self.node_name());
                Some(self.fault(Reason::Internal, message))
            }
            v1::RankState::Finished => Some(Outcome::Finished { result: seen.result.clone().map(Wire) }),
            v1::RankState::Failed => Some(match &seen.failure {
                Some(failure) => self.failed(Failure::from(failure)),
                None => {
                    let message =
                        format!("rank {} on {} failed without a reason", self.rank, self.node_name());
                    self.fault(Reason::RankExited, message)
                }
            }),
            v1::RankState::Stopped if self.live.ending_since.is_some() => Some(Outcome::Stopped),
            v1::RankState::Stopped if contact.report.leaving => Some(self.lost(LEAVES)),
            v1::RankState::Stopped => Some(self.lost("where it was stopped without an order")),
            _ => None,
        }
    }
}

impl Model {
    /// How a rank ended; none while it goes on, or nobody can know better yet.
    pub(super) fn outcome(&self, now: Timestamp, seat: Seat<'_>) -> Option<Outcome> {
        let placement = &seat.member.placement;
        if let Some(contact) = self.observed.contact(&placement.node_id) {
            if !contact.is_of(&placement.incarnation) {
                return Some(seat.lost("whose agent started anew"));
            }
            let outcome = match self.observed_rank(seat) {
                Some(seen) => seat.ended(seen, contact),
                None => self.absent(seat, contact),
            };
            if outcome.is_some() {
                return outcome;
            }
        }
        let silence = format!("which sent no report for {} s", self.rules.lease.as_secs_f64());
        self.is_lost(now, &placement.node_id).then(|| seat.lost(&silence))
    }

    /// How a rank ended that its agent does not name: not at all while the order may be on its way.
    fn absent(&self, seat: Seat<'_>, contact: &Contact) -> Option<Outcome> {
        if contact.report.leaving {
            return Some(seat.lost(LEAVES));
        }
        let stopped_for = seat.live.ending_since.map(|since| contact.last_report.since(since));
        stopped_for.is_some_and(|time| time > self.rules.lease).then_some(Outcome::Stopped)
    }

    /// The rank as its agent last saw it, in the life that it was placed on.
    pub(super) fn observed_rank(&self, seat: Seat<'_>) -> Option<&v1::ObservedRank> {
        let placement = &seat.member.placement;
        let contact = self.observed.contact(&placement.node_id)?;
        let is_same_life = contact.is_of(&placement.incarnation);
        contact.rank(&seat.job.id, seat.live.generation, seat.rank).filter(|_| is_same_life)
    }

    /// True while a rank holds a state that the job could go on with.
    pub(super) fn holds_state(&self, seat: Seat<'_>) -> bool {
        use v1::RankState::{Parted, Training};
        let seen = self.observed_rank(seat);
        seat.member.ended.is_none() && seen.is_some_and(|seen| matches!(seen.state(), Training | Parted))
    }

    /// True when a rank has lost its peers and waits for others.
    pub(super) fn has_parted(&self, seat: Seat<'_>) -> bool {
        self.observed_rank(seat).is_some_and(|seen| seen.state() == v1::RankState::Parted)
    }

    /// True once a rank trains, or is through with it.
    pub(super) fn is_training(&self, seat: Seat<'_>) -> bool {
        let seen = self.observed_rank(seat);
        seat.member.ended.is_some() || seen.is_some_and(|seen| seen.state() == v1::RankState::Training)
    }
}
