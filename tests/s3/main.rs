//! Checkpoints on a real S3 server, moto, through a network that fails.
//!
//! The server is fetched by `deploy/setup/moto.sh`, and the programs must be built; `make test-full` does both.

#[allow(dead_code, reason = "the end-to-end tests use all of it")]
#[path = "../e2e/recipes.rs"]
mod recipes;

mod job;
mod objects;
mod proxy;
mod server;
