//! Ranks that are slow inside a step: who they are, and when one hangs.

use std::time::Duration;

use kindred_proto::{ids::Rank, v1};
use v1::stall::Section;

use super::{Job, LiveGeneration, Model, rank::Seat};

impl Model {
    /// What people are told of a job of which ranks are slow; none while all take their steps.
    pub(super) fn slow_reason(&self, job: &Job) -> Option<String> {
        let live = job.live.as_ref().filter(|live| live.ending_since.is_none())?;
        let slow = self.slow(job, live);
        let named: Vec<String> = slow.iter().map(|(seat, stall)| describe(*seat, stall)).collect();
        (!named.is_empty()).then(|| named.join("; "))
    }

    /// Why a rank's process is to be killed: it has been in a part of its own for the detection budget longer than is slow, while
    /// another rank waits for it. Where several are slow, it is what they share that is, and killing them mends nothing. Nor is one
    /// killed in the backward pass, where it may wait for others itself.
    pub(super) fn hangs(&self, job: &Job, live: &LiveGeneration, rank: Rank) -> Option<String> {
        let slow = self.slow(job, live);
        let [(seat, stall)] = slow.as_slice() else { return None };
        let is_its_own = stall.section() != Section::Backward;
        let limit = Duration::from_millis(stall.limit_ms) + self.rules.lease;
        let is_waited_for = Seat::open(job, live)
            .filter_map(|seat| self.stall(seat))
            .any(|stall| stall.section() == Section::Reduce);
        let is_time = Duration::from_millis(stall.for_ms) >= limit;
        let is_hung = seat.rank == rank && is_its_own && is_time && is_waited_for;
        is_hung.then(|| {
            let (seconds, part) = (seconds(stall), part(stall.section()));
            format!(
                "was {part} for {seconds} after step {}, and others waited: it is hung, and was killed",
                stall.step
            )
        })
    }

    /// The ranks that are slow on their own account. Where one waits for others, those are.
    fn slow<'a>(&'a self, job: &'a Job, live: &'a LiveGeneration) -> Vec<(Seat<'a>, &'a v1::Stall)> {
        let stalls = Seat::open(job, live).filter_map(|seat| Some((seat, self.stall(seat)?)));
        stalls.filter(|(_, stall)| stall.section() != Section::Reduce).collect()
    }

    fn stall(&self, seat: Seat<'_>) -> Option<&v1::Stall> {
        self.observed_rank(seat)?.stall.as_ref()
    }
}

fn describe(seat: Seat<'_>, stall: &v1::Stall) -> String {
    let (rank, node) = (seat.rank, &seat.member.placement.node_name);
    let (seconds, part) = (seconds(stall), part(stall.section()));
    format!("rank {rank} on {node} is slow: {part} for {seconds} after step {}", stall.step)
}

fn seconds(stall: &v1::Stall) -> String {
    format!("{:.1} s", Duration::from_millis(stall.for_ms).as_secs_f64())
}

fn part(section: Section) -> &'static str {
    match section {
        Section::Unspecified => "somewhere",
        Section::Data => "waiting for images",
        Section::Forward => "in the forward pass",
        Section::Backward => "in the backward pass",
        Section::Reduce => "waiting for other ranks",
        Section::Optimiser => "in the optimiser",
        Section::Checkpoint => "writing a checkpoint",
    }
}
