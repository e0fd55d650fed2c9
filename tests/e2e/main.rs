//! A whole cluster on one machine: real coordinator, agents, ranks and images.
//!
//! The programs must be built (`cargo build --workspace --bins`) and Fashion-MNIST fetched (`make setup`); `make test`
//! does both.

mod bad_input;
mod chaos;
mod checkpoints;
mod elastic;
mod evaluation;
mod faults;
mod finishes;
mod hosts;
mod joining;
mod leaders;
mod lineage;
mod object_store;
mod recipes;
mod scheduling;
mod upgrade;
mod views;
