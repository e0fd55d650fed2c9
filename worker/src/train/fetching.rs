//! The recorded checkpoint, from the object store, where no rank of a generation has it on its node.

use std::time::Duration;

use kindred_bridge::{ErrorKind, KeyValueStore};
use kindred_ipc::Start;
use kindred_proto::{
    ids::{CheckpointId, Step},
    v1,
};
use kindred_store::{PATIENCE, Store, Worker};

use super::{Error, job::Job, link::Link, store::LinkStore};
use crate::checkpoint::{self, Recorded, fetch_newest};

/// Set once the first rank has what there was.
const FETCHED: &str = "checkpoint-fetched";

/// How long one question about that may take.
const WAIT: Duration = Duration::from_secs(30);

/// Whether the recorded checkpoint is further than all that the ranks have, and lies in a store. The same on every rank.
pub fn is_needed(start: &Start, most_taken: Step) -> bool {
    start
        .resume_from
        .as_ref()
        .is_some_and(|recorded| !recorded.0.url.is_empty() && most_taken.0 < recorded.0.step)
}

/// The first rank takes the checkpoint to its node's disk, as if it had been written there; the others wait for that, however long
/// it takes, until they are asked to do something else.
///
/// # Errors
/// When the store is away or refuses, the disk fails, or this rank is to stop or to meet a newer generation.
pub fn fetch(job: &Job, most_taken: Step, link: &Link) -> Result<(), Error> {
    let recorded = &job.start.resume_from.as_ref().expect("it is needed because it is recorded").0;
    let keys = LinkStore::new(link, job.start.generation);
    if !job.is_first_rank() {
        return wait(&keys);
    }
    tracing::info!(checkpoint_id = recorded.id, url = recorded.url, "takes the checkpoint from the store");
    let is_own = recorded.job_id == job.start.job_id.as_str();
    // A fork starts from the checkpoint that was named, or from none.
    let beyond = is_own.then_some(most_taken);
    let into = if is_own { job.checkpoints() } else { job.checkpoints_of(&recorded.job_id) };
    let recorded = of_record(recorded, &job.start)?;
    let worker = Worker::start().map_err(Error::Thread)?;
    let is_wanted = || link.stop().is_none() && !link.is_superseded();
    match worker.wait(fetch_newest(&recorded, beyond, &into), is_wanted) {
        Some(fetched) => drop(fetched?),
        None => return Err(superseded()),
    }
    Ok(keys.set(FETCHED, b"")?)
}

fn of_record(recorded: &v1::Checkpoint, start: &Start) -> Result<Recorded, Error> {
    let patience = start.checkpoint_store.as_ref().map(|store| Duration::from_millis(store.patience_ms));
    let id = CheckpointId::new(&recorded.id);
    let checkpoints = recorded.url.strip_suffix(id.as_str()).unwrap_or(&recorded.url);
    let checkpoints = Store::open_to_read(checkpoints, patience.unwrap_or(PATIENCE));
    let checkpoints = checkpoints.map_err(checkpoint::Error::from)?;
    Ok(Recorded { id, checkpoints, manifest_digest: recorded.manifest_digest.clone() })
}

fn wait(keys: &LinkStore) -> Result<(), Error> {
    loop {
        match keys.wait(&[FETCHED.to_owned()], WAIT) {
            // The first rank is still at it, or the coordinator is away: whoever ends this generation says so.
            Err(error) if error.kind == ErrorKind::Timeout => {}
            waited => return Ok(waited?),
        }
    }
}

/// It stops, or meets a newer generation: as when a peer is gone.
fn superseded() -> Error {
    let why = "asked to stop, or to meet a newer generation, while a checkpoint was on its way here";
    Error::Peers(kindred_bridge::Error::new(ErrorKind::PeerLost, why))
}
