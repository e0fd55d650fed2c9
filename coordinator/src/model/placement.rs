//! Gang placement: what a scheduling pass decides, as changes.

use std::collections::BTreeMap;

use kindred_proto::{
    ids::{CheckpointId, JobId, NodeId, Rank},
    v1,
};

use super::{
    Change, Job, JobChange, Model, Placement, Plan, Snapshot, Timestamp,
    schedule::{self, Verdict, Wait, Yield},
};

impl Model {
    /// Opens a generation for every job whose turn has come and that fits, says why the others wait, lets jobs of lower priority give
    /// way, and lets more ranks start for jobs that may have more.
    pub fn decide_placement(&self, now: Timestamp) -> Vec<Change> {
        let concerns = |job: &Job| job.wants_placement() || self.larger_sizes(now, job).is_some();
        if !self.state.active_jobs().any(concerns) {
            return vec![];
        }
        let snapshot = self.snapshot(now);
        let plan = schedule::schedule(&snapshot, now);
        changes(&snapshot, &plan, now)
    }

    /// Free devices for more ranks of a job: for the first of these numbers of them that there are devices for.
    pub(super) fn free_devices(
        &self,
        now: Timestamp,
        job: &Job,
        numbers: impl IntoIterator<Item = usize>,
    ) -> Option<Vec<Placement>> {
        let snapshot = self.snapshot(now);
        let devices = schedule::find_devices(&snapshot, job, numbers)?;
        Some(placements(&snapshot, &devices))
    }

    /// Devices of a node that ranks hold, by kind and index, with job and rank.
    pub(super) fn held_devices(&self, node_id: &NodeId) -> BTreeMap<(v1::DeviceKind, u32), (JobId, Rank)> {
        let mut held = BTreeMap::new();
        for job in self.state.jobs_on(node_id) {
            for (rank, member) in job.live.iter().flat_map(|live| live.ranks()) {
                if member.ended.is_none() && member.placement.node_id == *node_id {
                    let device = (job.submission.device_kind(), member.placement.device_index);
                    held.insert(device, (job.id.clone(), rank));
                }
            }
            for (rank, placement) in job.joiners().filter(|(_, placement)| placement.node_id == *node_id) {
                held.insert((job.submission.device_kind(), placement.device_index), (job.id.clone(), rank));
            }
        }
        held
    }
}

/// What a plan changes; reasons that stay are left out.
fn changes(snapshot: &Snapshot<'_>, plan: &Plan, now: Timestamp) -> Vec<Change> {
    let mut changes = vec![];
    for (waiting, verdict) in snapshot.waiting.iter().zip(&plan.verdicts) {
        let job = waiting.job;
        match verdict {
            Verdict::Starts(devices) => {
                changes.push(Change::job(&job.id, now, placed(snapshot, job, devices)));
            }
            Verdict::Waits(Wait { reason, yields, .. }) => {
                if *reason != job.reason {
                    changes.push(Change::job(&job.id, now, JobChange::Waits { reason: reason.clone() }));
                }
                let give_way = |it: &Yield| gives_way(snapshot.running[it.running].job, job, it, now);
                changes.extend(yields.iter().map(give_way));
            }
        }
    }
    changes.extend(plan.growth.iter().map(|(running, devices)| {
        let job = snapshot.running[*running].job;
        let joins =
            JobChange::Joins { generation: job.next_generation(), placements: placements(snapshot, devices) };
        Change::job(&job.id, now, joins)
    }));
    changes
}

fn placed(snapshot: &Snapshot<'_>, job: &Job, devices: &[u32]) -> JobChange {
    JobChange::Placed {
        generation: job.next_generation(),
        placements: placements(snapshot, devices),
        resume_from: job.newest_checkpoint().map(|it| CheckpointId::new(it.id.as_str())),
    }
}

fn gives_way(victim: &Job, to: &Job, told: &Yield, now: Timestamp) -> Change {
    let (own, other) = (&victim.submission.scheduling, &to.submission.scheduling);
    let why = match told.gives_back {
        true => format!("queue {} borrowed what {} is guaranteed", own.queue, other.queue),
        false => format!("priority {}, not {}", other.priority, own.priority),
    };
    let then = if told.shrinks { "goes on with fewer ranks" } else { "waits for its turn" };
    let reason = format!("gives way to {} ({why}): writes a checkpoint and {then}", to.id);
    let change = JobChange::GivesWay { reason, to: Some(to.id.clone()), shrinks: told.shrinks };
    Change::job(&victim.id, now, change)
}

fn placements(snapshot: &Snapshot<'_>, devices: &[u32]) -> Vec<Placement> {
    devices.iter().map(|device| snapshot.placement(*device)).collect()
}
