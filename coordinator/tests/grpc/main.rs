//! The coordinator over real gRPC: an in-process server on a free port, the journal in memory, agents that are fakes.

mod access;
mod agents;
mod checkpoints;
mod cli;
mod events;
mod fixture;
mod follower;
mod jobs;
mod kills;
mod listing;
mod operators;
mod probes;
mod process;
mod shutdown;
mod store;
mod up;
mod updates;
mod web;
