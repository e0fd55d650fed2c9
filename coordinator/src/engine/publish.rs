//! What others may read at any time without asking the engine.

use std::{collections::BTreeMap, sync::Arc};

use kindred_proto::ids::{Generation, JobId};
use tokio::sync::watch;

use crate::model::State;

/// The live generation of each job that has one; an ending one has left.
pub type LiveGenerations = Arc<BTreeMap<JobId, Generation>>;

/// The sending ends.
pub(super) struct Published {
    live_generations: watch::Sender<LiveGenerations>,
}

impl Published {
    pub fn new(state: &State) -> Self {
        Self { live_generations: watch::Sender::new(Arc::new(live_generations(state))) }
    }

    pub fn live_generations(&self) -> watch::Receiver<LiveGenerations> {
        self.live_generations.subscribe()
    }

    /// Called whenever the state has changed.
    pub fn publish(&self, state: &State) {
        let newest = live_generations(state);
        self.live_generations.send_if_modified(|published| {
            let has_changed = **published != newest;
            if has_changed {
                *published = Arc::new(newest);
            }
            has_changed
        });
    }
}

fn live_generations(state: &State) -> BTreeMap<JobId, Generation> {
    state.active_jobs().filter_map(|job| Some((job.id.clone(), job.live_generation()?))).collect()
}
