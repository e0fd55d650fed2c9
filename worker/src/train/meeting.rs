//! How the ranks of a generation come together and begin with one state.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use kindred_bridge::{Backend, GroupOptions, KeyValueStore, Store};
use kindred_ipc::Start;
use kindred_proto::{
    ids::{CheckpointId, NodeId, Step},
    job_spec::DeviceKind,
};
use serde::{Deserialize, Serialize};

use super::{
    Error,
    agreement::{check_data, check_state},
    fetching,
    held::Held,
    job::Job,
    link::Link,
    step::Trainer,
    store::LinkStore,
};
use crate::{
    checkpoint::{Opened, newest_good, recorded},
    collective::{Collective, digest},
};

/// With what the ranks begin.
pub struct Beginning {
    /// Steps taken before.
    pub taken: Step,
    /// Measurements of earlier generations that the result refers to.
    pub metrics: BTreeMap<String, f64>,
    /// Whether this rank writes checkpoints: it is the first one on its node.
    pub is_writer: bool,
    /// Whether what follows the last step is still to be done.
    pub owes: bool,
}

/// What each rank tells the others first.
#[derive(Serialize, Deserialize)]
struct Introduction {
    node_id: NodeId,
    recipe_digest: String,
    taken: Step,
    /// Whether what follows that step is still to be done.
    owes: bool,
    metrics: BTreeMap<String, f64>,
    /// Of what it begins with: where all hold the same, nobody need send it.
    state_digest: [u8; 32],
}

/// Connects this rank with the others of its generation.
///
/// # Errors
/// When they do not come in time.
pub fn connect(start: &Start, device: DeviceKind, link: &Link) -> Result<Collective, Error> {
    if start.world_size.0 == 1 {
        return Ok(Collective::single());
    }
    let patience = Duration::from_millis(start.meeting_timeout_ms);
    let keys = LinkStore::new(link, start.generation);
    await_all(&keys, start, patience).map_err(Error::Meeting)?;
    let store = Store::new(Arc::new(keys), patience).map_err(Error::Meeting)?;
    let collective = Collective::connect(&store, &options(start, device)).map_err(Error::Meeting)?;
    link.watch(start, collective.aborter());
    tracing::info!(world_size = start.world_size.0, "the group is formed");
    Ok(collective)
}

/// Waits until every rank has started. A group itself waits no longer than for one of its operations, and ranks on
/// other nodes may take longer than that to read their data.
fn await_all(keys: &LinkStore, start: &Start, patience: Duration) -> Result<(), kindred_bridge::Error> {
    let key = |rank: u32| format!("started/{rank}");
    keys.set(&key(start.rank.0), b"")?;
    let all: Vec<String> = (0..start.world_size.0).map(key).collect();
    keys.wait(&all, patience)
}

fn options(start: &Start, device: DeviceKind) -> GroupOptions {
    GroupOptions {
        name: "ranks".into(),
        backend: match device {
            DeviceKind::Cpu => Backend::Gloo,
            DeviceKind::Cuda => Backend::Nccl,
        },
        rank: start.rank.0,
        world_size: start.world_size.0,
        timeout: Duration::from_millis(start.collective_timeout_ms),
        address: start.data_address.clone(),
        device_index: start.device_index,
    }
}

/// Compares what the ranks hold, and gives the state of the most advanced one to all unless all have it.
///
/// A rank's state is the one that it holds from an earlier generation; else that of the newest good checkpoint on its node,
/// where a job has none yet that of the other job's checkpoint that it starts from, or the initial one. Where none of them is as far as
/// the recorded checkpoint, and that lies in an object store, the first rank takes it from there.
///
/// # Errors
/// When the ranks' data or recipes differ, a checkpoint is of something else, or the job was further already and
/// nothing of that is left.
pub fn begin(job: &Job, trainer: &Trainer, held: &Held, link: &Link) -> Result<Beginning, Error> {
    let collective = trainer.collective();
    let mut ranks = introduce(&introduction(job, trainer, held)?, collective)?;
    if fetching::is_needed(&job.start, most_taken(&ranks)) {
        fetching::fetch(job, most_taken(&ranks), link)?;
        ranks = introduce(&introduction(job, trainer, held)?, collective)?;
    }
    let nodes: Vec<NodeId> = ranks.iter().map(|rank| rank.node_id.clone()).collect();
    check_data(&job.dataset, &nodes, collective)?;
    check_recipes(&ranks)?;
    let source = most_advanced(&ranks);
    let taken = ranks[source].taken;
    check_progress(job, taken)?;
    if ranks.iter().any(|rank| rank.state_digest != ranks[source].state_digest) {
        let tensors: Vec<_> = trainer.state().into_iter().map(|(_, tensor)| tensor).collect();
        collective.broadcast_(&tensors, source as u32)?;
        check_state(&trainer.state(), taken, collective)?;
    }
    tracing::info!(step = taken.0, source, world_size = ranks.len(), "ranks have met");
    let own_rank = job.start.rank.0 as usize;
    let is_writer = nodes.iter().position(|node_id| *node_id == job.start.node_id) == Some(own_rank);
    let owes = ranks.iter().any(|rank| rank.taken == taken && rank.owes);
    Ok(Beginning { taken, metrics: ranks[source].metrics.clone(), is_writer, owes })
}

fn introduction(job: &Job, trainer: &Trainer, held: &Held) -> Result<Introduction, Error> {
    let (taken, metrics) = match held.taken() {
        Some(taken) => (taken, held.metrics().clone()),
        None => match load_newest(job, trainer)? {
            Some(checkpoint) => (checkpoint.manifest.step, checkpoint.manifest.metrics),
            None => (Step(0), BTreeMap::new()),
        },
    };
    Ok(Introduction {
        node_id: job.start.node_id.clone(),
        recipe_digest: job.recipe_digest.clone(),
        taken,
        owes: held.owes(),
        metrics,
        state_digest: digest(&trainer.state().into_iter().map(|(_, tensor)| tensor).collect::<Vec<_>>()),
    })
}

fn load_newest(job: &Job, trainer: &Trainer) -> Result<Option<Opened>, Error> {
    let found = match newest_good(&job.checkpoints())? {
        Some(own) => {
            own.check_origin(&job.recipe_digest, job.dataset.digest())?;
            Some(own)
        }
        // Recipe and data of a fork may be others: the tensors must be the same.
        None => find_origin(job),
    };
    if let Some(checkpoint) = &found {
        checkpoint.restore(&trainer.state())?;
    }
    Ok(found)
}

/// The other job's checkpoint that a fork starts from, where this node has it: at the path that was recorded, or in that job's
/// folder beside this one's.
fn find_origin(job: &Job) -> Option<Opened> {
    let source = &job.start.resume_from.as_ref()?.0;
    if source.job_id == job.start.job_id.as_str() {
        return None;
    }
    let folders = [PathBuf::from(&source.path), job.checkpoints_of(&source.job_id).join(&source.id)];
    folders.iter().find_map(|folder| {
        recorded(folder, &source.manifest_digest).unwrap_or_else(|error| {
            tracing::warn!(%error, "the checkpoint to start from is unreadable here");
            None
        })
    })
}

fn introduce(own: &Introduction, collective: &Collective) -> Result<Vec<Introduction>, Error> {
    let own = serde_json::to_vec(own).expect("string keys and finite numbers");
    let all = collective.gather_bytes(&own)?;
    let ranks: Result<_, _> = all.iter().map(|bytes| serde_json::from_slice(bytes)).collect();
    Ok(ranks.expect("ranks are of one version"))
}

fn check_recipes(ranks: &[Introduction]) -> Result<(), Error> {
    let differs = ranks.iter().position(|rank| rank.recipe_digest != ranks[0].recipe_digest);
    match differs {
        Some(rank) => Err(Error::StateDiffers { rank: rank as u32, what: "recipe".into(), step: Step(0) }),
        None => Ok(()),
    }
}

/// The rank with most steps; the lowest among equals.
fn most_advanced(ranks: &[Introduction]) -> usize {
    ranks.iter().position(|rank| rank.taken == most_taken(ranks)).unwrap_or(0)
}

fn most_taken(ranks: &[Introduction]) -> Step {
    ranks.iter().map(|rank| rank.taken).max().unwrap_or(Step(0))
}

/// Compares where the ranks are with where the coordinator knows the job to have been.
fn check_progress(job: &Job, taken: Step) -> Result<(), Error> {
    let Some(recorded) = job.start.resume_from.as_ref().map(|recorded| &recorded.0) else { return Ok(()) };
    if taken == Step(0) {
        return Err(Error::NothingToResume {
            id: CheckpointId::new(&recorded.id),
            path: recorded.path.clone(),
            node_id: recorded.node_id.clone(),
            url: Some(recorded.url.clone()).filter(|url| !url.is_empty()),
        });
    }
    if taken.0 < recorded.step {
        let (checkpoint_id, step) = (&recorded.id, taken.0);
        tracing::warn!(
            step,
            checkpoint_id,
            "the recorded checkpoint is on none of these nodes, an older one is used"
        );
    }
    Ok(())
}
