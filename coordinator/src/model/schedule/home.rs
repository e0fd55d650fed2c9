//! Nodes at which a job finds what it goes on from.

use super::{super::Job, supply::Supply};

/// Where the newest checkpoint of a job lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Nodes whose jobs' folder it is in, by place.
    pub sites: Vec<u32>,
    /// Whether a rank has to be on one of them: it is in no object store, so that no other node can read it. Where all of them have been lost
    /// for long it is tried elsewhere: a job that finds no checkpoint says so and fails.
    pub is_needed: bool,
}

impl<'s> Supply<'s> {
    /// Where the job's newest checkpoint lies; none where it has none, or its node is forgotten.
    pub fn home_of(&mut self, job: &Job) -> Option<Home> {
        let checkpoint = job.newest_checkpoint().or(job.origin())?;
        let writer = self.snapshot.site_of(&checkpoint.node_id)?;
        let folder = self.snapshot.sites[writer as usize].node.description.jobs_folder.as_str();
        let sites = if folder.is_empty() { vec![writer] } else { self.with_folder(folder) };
        let is_near = |place: &u32| self.snapshot.sites[*place as usize].is_near;
        let is_needed = checkpoint.url.is_empty() && sites.iter().any(is_near);
        Some(Home { sites, is_needed })
    }
}
