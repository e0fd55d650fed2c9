//! The coordinator over real gRPC: an in-process server on a free port, the journal in memory, agents that are fakes.

mod agents;
mod checkpoints;
mod cli;
mod fixture;
mod jobs;
mod probes;
mod process;
mod shutdown;
mod store;
mod up;
