//! Workers that `kindred slurm` starts under a real Slurm: munged, slurmctld and two slurmd on this machine.
//!
//! Slurm is installed by `deploy/setup/slurm.sh`, and the programs must be built; `make test-full` does both.

#[allow(dead_code, reason = "the end-to-end tests use all of it")]
#[path = "../e2e/recipes.rs"]
mod recipes;

mod preemption;
mod server;
mod service;
