//! Jobs and nodes as users see them.

use kindred_proto::v1;

use super::{Fault, Job, JobState, LiveGeneration, Model, Node, Timestamp};

impl Model {
    /// A job as users see it; times run up to the last news of it.
    pub fn job_view(&self, job: &Job) -> v1::Job {
        let heard_at = self.reached(job).map_or(job.changed_at, |reached| reached.at);
        self.job_view_at(heard_at.max(job.changed_at), job)
    }

    /// A job as users see it; times run up to `now`.
    pub fn job_view_at(&self, now: Timestamp, job: &Job) -> v1::Job {
        v1::Job {
            id: job.id.to_string(),
            spec: Some(job.submission.spec.0.clone()),
            state: v1::JobState::from(job.state).into(),
            reason: self.slow_reason(job).unwrap_or_else(|| job.reason.clone()),
            failure: job.failure.as_ref().map(|failure| failure.0.clone()),
            generation: job.generation.0,
            progress: self.observed.progress(&job.id).cloned(),
            create_time: Some(timestamp(job.created_at)),
            start_time: job.started_at.map(timestamp),
            end_time: job.ended_at.map(timestamp),
            revision: job.revision,
            newest_checkpoint: job.newest_checkpoint().cloned(),
            result: job.result.as_ref().map(|result| result.0.clone()),
            placements: job.live.as_ref().map(placements).unwrap_or_default(),
            infrastructure_failures: job.spent.infrastructure,
            last_fault: job.last_fault.as_ref().map(|fault| fault.0.clone()),
            ledger: job.placed_at.map(|placed_at| self.ledger_view(job, placed_at, now)),
            retry_used: Some(v1::RetryBudget {
                user_failures: Some(job.spent.user),
                infrastructure_failures: Some(job.spent.infrastructure),
                no_progress: Some(job.spent.no_progress),
            }),
            faults: job.faults.by_cause().enumerate().map(fault).collect(),
            preemptions: job.n_preemptions,
            etag: job.etag(),
            forked_from: job.submission.fork_of.as_ref().map(|source| source.0.clone()),
        }
    }

    fn ledger_view(&self, job: &Job, placed_at: Timestamp, now: Timestamp) -> v1::Ledger {
        let live = self.reached(job);
        let elapsed_s = job.ended_at.unwrap_or(now).since(placed_at).as_secs_f64();
        let productive_s = job.ledger.productive(live).as_secs_f64();
        let goodput = (productive_s / elapsed_s.max(f64::MIN_POSITIVE)).min(1.0);
        let interval = |it: super::Interval| v1::Interval {
            generation: it.generation.0,
            world_size: it.world_size.0,
            first_step: it.first.0,
            last_step: it.last.0,
        };
        v1::Ledger {
            intervals: job.ledger.intervals(live).map(interval).collect(),
            recomputed_steps: job.ledger.recomputed(live),
            elapsed_s,
            productive_s,
            goodput: job.ledger.is_any().then_some(goodput),
        }
    }

    /// A node as users see it.
    pub fn node_view(&self, now: Timestamp, node: &Node) -> v1::Node {
        let description = &node.description;
        let contact = self.observed.contact(&node.id);
        let state = self.standing(now, &node.id);
        v1::Node {
            id: node.id.to_string(),
            name: description.name.clone(),
            state: state.into(),
            reason: self.standing_reason(now, state, node),
            devices: self.device_views(node),
            agent_version: description.agent_version.clone(),
            data_address: description.data_address.clone(),
            last_report_time: contact.map(|contact| timestamp(contact.last_report)),
            labels: description.labels.clone().into_iter().collect(),
            cordoned: node.cordon.is_some(),
            draining: node.is_draining(),
            quarantined_until: node.present_quarantine(now).map(|quarantine| timestamp(quarantine.until)),
            recent_faults: u32::try_from(node.faults.len()).unwrap_or(u32::MAX),
        }
    }

    fn device_views(&self, node: &Node) -> Vec<v1::Device> {
        let held = self.held_devices(&node.id);
        let view = |device: &v1::Device| {
            let holder = held.get(&(device.kind(), device.index));
            let job_id = holder.map(|(job_id, _)| job_id.to_string()).unwrap_or_default();
            v1::Device { job_id, rank: holder.map(|(_, rank)| rank.0), ..device.clone() }
        };
        node.description.devices.iter().map(|device| view(device)).collect()
    }

    fn standing_reason(&self, now: Timestamp, state: v1::NodeState, node: &Node) -> String {
        let silence = self.observed.silence(now, &node.id).as_secs();
        match state {
            v1::NodeState::Lost => format!("sent no report for {silence} s"),
            v1::NodeState::Suspect => format!("has no stream, last heard {silence} s ago"),
            v1::NodeState::Leaving => "its agent stops and takes no work".to_owned(),
            _ => node.exclusion(now).unwrap_or_default(),
        }
    }
}

impl From<JobState> for v1::JobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Pending => Self::Pending,
            JobState::Starting => Self::Starting,
            JobState::Running => Self::Running,
            JobState::Recovering => Self::Recovering,
            JobState::Suspending => Self::Suspending,
            JobState::Suspended => Self::Suspended,
            JobState::Cancelling => Self::Cancelling,
            JobState::Succeeded => Self::Succeeded,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

/// The first one is the cause.
fn fault((index, fault): (usize, &Fault)) -> v1::Fault {
    v1::Fault {
        generation: fault.generation.0,
        failure: Some(fault.failure.0.clone()),
        consequence: index > 0,
        time: Some(timestamp(fault.at)),
    }
}

fn placements(live: &LiveGeneration) -> Vec<v1::Placement> {
    let view = |(rank, member): (kindred_proto::ids::Rank, &super::Member)| v1::Placement {
        rank: rank.0,
        node_id: member.placement.node_id.to_string(),
        node_name: member.placement.node_name.clone(),
        device_index: member.placement.device_index,
    };
    live.ranks().map(view).collect()
}

pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1000) * 1_000_000).expect("less than a second of nanoseconds");
    prost_types::Timestamp { seconds: at.0.div_euclid(1000), nanos }
}
