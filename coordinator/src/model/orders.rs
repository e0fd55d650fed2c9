//! What each node should run.

use kindred_proto::{ids::NodeId, v1};

use super::{Job, LiveGeneration, Model, Placement};

impl Model {
    /// The ranks that a node should run or stop, in the life of its agent that reported last.
    ///
    /// A rank that is known to have ended is not named any more: its agent may forget it.
    pub fn orders(&self, node_id: &NodeId) -> Vec<v1::OrderedRank> {
        let Some(contact) = self.observed.contact(node_id) else { return vec![] };
        let incarnation = contact.incarnation();
        let is_here =
            |placement: &Placement| placement.node_id == *node_id && placement.incarnation == incarnation;
        let mut orders = vec![];
        for job in self.state.active_jobs() {
            let Some(live) = &job.live else { continue };
            orders.extend(
                joiners(job, live).filter(|(placement, _)| is_here(placement)).map(|(_, order)| order),
            );
            let here =
                live.ranks().filter(|(_, member)| member.ended.is_none() && is_here(&member.placement));
            let mut is_first = true;
            orders.extend(here.map(|(rank, member)| {
                let device_index = member.placement.device_index;
                let kept_checkpoints = if is_first { kept_checkpoints(job) } else { vec![] };
                is_first = false;
                v1::OrderedRank { rank: rank.0, device_index, kept_checkpoints, ..order(job, live) }
            }));
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
        spec: Some(job.submission.spec.0.clone()),
        action: action.into(),
        write_checkpoint: live.writes_checkpoint,
        resume_from: live.resume_from.as_ref().map(|checkpoint| checkpoint.0.clone()),
        hold_commits: !job.ledger.knows(live.generation),
        ..Default::default()
    }
}
