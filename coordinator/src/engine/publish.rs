//! The live generations, which anyone may read at any time without asking the engine.

use std::{collections::BTreeMap, sync::Arc};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{Generation, JobId},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::model::State;

/// The live generation of each job that has one, with the token that tells its end.
pub(super) type LiveGenerations = Arc<BTreeMap<JobId, (Generation, CancellationToken)>>;

/// The sending end.
pub(super) struct Published {
    live: watch::Sender<LiveGenerations>,
}

impl Published {
    pub fn new(state: &State) -> Self {
        let published = Self { live: watch::Sender::default() };
        published.publish(state);
        published
    }

    pub fn subscribe(&self) -> watch::Receiver<LiveGenerations> {
        self.live.subscribe()
    }

    /// Called whenever the state has changed: new generations come, ended ones go and are told so.
    pub fn publish(&self, state: &State) {
        let older = self.live.borrow().clone();
        let newest: BTreeMap<_, _> = state
            .active_jobs()
            .filter_map(|job| Some((job.id.clone(), job.live_generation()?)))
            .map(|(job_id, generation)| {
                let known = older.get(&job_id).filter(|(known, _)| *known == generation);
                let token = known.map(|(_, token)| token.clone()).unwrap_or_default();
                (job_id, (generation, token))
            })
            .collect();
        self.live.send_replace(Arc::new(newest.clone()));
        for (job_id, (generation, token)) in older.iter() {
            if newest.get(job_id).is_none_or(|(live, _)| live != generation) {
                token.cancel();
            }
        }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.live.borrow().values().for_each(|(_, token)| token.cancel());
    }
}

/// The token that is cancelled when the generation ends.
pub(super) fn find(
    live: &LiveGenerations,
    job_id: &JobId,
    generation: Generation,
) -> Result<CancellationToken, Failure> {
    match live.get(job_id) {
        Some((live, token)) if *live == generation => Ok(token.clone()),
        Some((live, _)) => {
            let message = format!("generation {generation} of {job_id} is not live: generation {live} is");
            Err(Failure::new(Reason::StaleGeneration, message))
        }
        None => {
            let message = format!("generation {generation} of {job_id} is not live: none is");
            Err(Failure::new(Reason::StaleGeneration, message))
        }
    }
}
