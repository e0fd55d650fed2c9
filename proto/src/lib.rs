//! The contract between users, coordinator, agents and ranks: messages, ids, checked specs, failures.
//!
//! No I/O, no async, no torch. The feature `grpc` adds clients, servers and status details.

pub mod failure;
pub mod ids;
pub mod job_spec;
pub mod json;
pub mod listing;
pub mod recipe;
mod scope;
mod spec_error;
mod states;

/// The messages as they travel, generated from `kindred/v1/*.proto`.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/kindred.v1.rs"));
}

/// The descriptors of `kindred.v1`, for reflection and for the mapping between YAML and messages.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kindred.v1.bin"));
