//! What each node should run.

use std::sync::Arc;

use kindred_proto::{ids::NodeId, v1};

use super::{Job, LiveGeneration, Model, Placement};

/// What a node should do with one rank.
#[derive(Clone, Debug)]
pub struct Order {
    /// All but the spec, which is by far the most of it and is kept once for all ranks of a job.
    rank: v1::OrderedRank,
    job: Arc<Job>,
}

impl Order {
    /// As agents get it.
    pub fn to_wire(&self) -> v1::OrderedRank {
        v1::OrderedRank { spec: Some(self.job.submission.spec.0.clone()), ..self.rank.clone() }
    }
}

impl PartialEq for Order {
    /// The spec of a job never changes.
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Model {
    /// The ranks that a node should run or stop, in the life of its agent that reported last.
    ///
    /// A rank that is known to have ended is not named any more: its agent may forget it.
    pub fn orders(&self, node_id: &NodeId) -> Vec<Order> {
        let Some(contact) = self.observed.contact(node_id) else { return vec![] };
        let is_here =
            |placement: &Placement| placement.node_id == *node_id && contact.is_of(&placement.incarnation);
        let mut orders = vec![];
        for job in self.state.jobs_on(node_id) {
            let Some(live) = &job.live else { continue };
            let ordered = |rank| Order { rank, job: job.clone() };
            let joiners = joiners(job, live).filter(|(placement, _)| is_here(placement));
            orders.extend(joiners.map(|(_, rank)| ordered(rank)));
            let here =
                live.ranks().filter(|(_, member)| member.ended.is_none() && is_here(&member.placement));
            let mut is_first = true;
            let here = here.map(|(rank, member)| {
                let device_index = member.placement.device_index;
                let kept_checkpoints = if is_first { kept_checkpoints(job) } else { vec![] };
                is_first = false;
                let order =
                    v1::OrderedRank { rank: rank.0, device_index, kept_checkpoints, ..order(job, live) };
                match self.hangs(job, live, rank).filter(|_| live.ending_since.is_none()) {
                    Some(kill_reason) => v1::OrderedRank {
                        action: v1::ordered_rank::Action::Kill.into(),
                        kill_reason,
                        ..order
                    },
                    None => order,
                }
            });
            orders.extend(here.map(ordered));
        }
        orders
    }
}

/// The orders of those that join.
fn joiners<'a>(
    job: &'a Job,
    live: &'a LiveGeneration,
) -> impl Iterator<Item = (&'a Placement, v1::OrderedRank)> {
    let generation = job.joining.as_ref().map_or(0, |joining| joining.generation.0);
    let world_size = live.world_size().0 + job.joiners().count() as u32;
    job.joiners().map(move |(rank, placement)| {
        let (rank, device_index) = (rank.0, placement.device_index);
        (
            placement,
            v1::OrderedRank {
                generation,
                rank,
                world_size,
                device_index,
                hold_commits: true,
                ..order(job, live)
            },
        )
    })
}

fn kept_checkpoints(job: &Job) -> Vec<String> {
    job.checkpoints.iter().map(|checkpoint| checkpoint.0.id.clone()).collect()
}

fn order(job: &Job, live: &LiveGeneration) -> v1::OrderedRank {
    use v1::ordered_rank::Action;
    let action = if live.ending_since.is_some() { Action::Stop } else { Action::Run };
    v1::OrderedRank {
        job_id: job.id.to_string(),
        generation: live.generation.0,
        world_size: live.world_size().0,
        action: action.into(),
        write_checkpoint: live.writes_checkpoint,
        resume_from: live.resume_from.as_ref().map(|checkpoint| checkpoint.0.clone()),
        hold_commits: !job.ledger.knows(live.generation),
        job_created_unix_ms: job.created_at.0,
        n_losses: job.spent.infrastructure,
        trained_ms: u64::try_from(job.ledger.productive(None).as_millis()).unwrap_or(u64::MAX),
        ..Default::default()
    }
}
