//! Checkpoints: the state of a job after a step, on a node's disk.
//!
//! A checkpoint is a folder `step-…-gN` below `JOB_DIR/checkpoints` with two files: `state.safetensors`, and
//! `manifest.json` that names the first with its size and digest. Both are written and synced in a folder that
//! starts with a dot; renaming that folder into place is the commit. So a folder without a manifest does not
//! exist, and a manifest's digests hold (invariant C1).
//!
//! Non-goals: what the state consists of (the caller hands over named tensors), whether this rank may commit
//! (the agent knows). In an object store it is the same two files: `remote`.

mod error;
mod files;
mod manifest;
mod read;
mod remote;
mod retention;
mod snapshot;
mod tensors;
mod write;

pub use error::Error;
pub use files::{digest_of_file, write_synced};
pub use manifest::{FileEntry, MANIFEST_FILE, Manifest, STATE_FILE};
pub use read::{Opened, newest_good, recorded};
pub use remote::{Recorded, Remote, fetch_newest};
pub use retention::{Earlier, remove_all_but, remove_leftovers, set_aside_others};
pub use snapshot::Snapshot;
pub use tensors::encode;
pub use write::{Staged, stage};
