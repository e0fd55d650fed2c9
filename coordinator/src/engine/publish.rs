//! The generations whose ranks may meet, and who may call: what anyone may read at any time without asking the engine.

use std::{collections::BTreeMap, sync::Arc};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{Generation, JobId},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::model::{Job, State, access::Access};

/// The live generation of each job that has one, and the next one where ranks start for it; with the token that tells
/// the generation's end.
pub(super) type OpenGenerations = Arc<BTreeMap<(JobId, Generation), CancellationToken>>;

/// The sending end.
pub(super) struct Published {
    open: watch::Sender<OpenGenerations>,
    access: watch::Sender<Arc<Access>>,
}

impl Published {
    pub fn new(state: &State) -> Self {
        let published = Self { open: watch::Sender::default(), access: watch::Sender::default() };
        published.publish_access(state);
        published.publish(state);
        published
    }

    pub fn subscribe(&self) -> (watch::Receiver<OpenGenerations>, watch::Receiver<Arc<Access>>) {
        (self.open.subscribe(), self.access.subscribe())
    }

    /// Called before a change of it is answered, so that a new token is good at once.
    pub fn publish_access(&self, state: &State) {
        self.access.send_if_modified(|access| {
            let has_changed = !Arc::ptr_eq(access, state.access());
            *access = state.access().clone();
            has_changed
        });
    }

    /// Called whenever the state has changed: new generations come, ended ones go and are told so.
    pub fn publish(&self, state: &State) {
        let older = self.open.borrow().clone();
        let newest: BTreeMap<_, _> = state
            .placed_jobs()
            .flat_map(|job| open_generations(job).map(|generation| (job.id.clone(), generation)))
            .map(|scope| {
                let token = older.get(&scope).cloned().unwrap_or_default();
                (scope, token)
            })
            .collect();
        self.open.send_replace(Arc::new(newest.clone()));
        for (scope, token) in older.iter() {
            if !newest.contains_key(scope) {
                token.cancel();
            }
        }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.open.borrow().values().for_each(|token| token.cancel());
    }
}

fn open_generations(job: &Job) -> impl Iterator<Item = Generation> {
    job.live_generation().into_iter().chain(job.joining.as_ref().map(|joining| joining.generation))
}

/// The token that is cancelled when the generation ends.
pub(super) fn find(
    open: &OpenGenerations,
    job_id: &JobId,
    generation: Generation,
) -> Result<CancellationToken, Failure> {
    if let Some(token) = open.get(&(job_id.clone(), generation)) {
        return Ok(token.clone());
    }
    let live = open.keys().find(|(other, _)| other == job_id);
    let live = live.map_or("none is".to_owned(), |(_, live)| format!("generation {live} is"));
    let message = format!("generation {generation} of {job_id} is not live: {live}");
    Err(Failure::new(Reason::StaleGeneration, message))
}
