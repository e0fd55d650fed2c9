//! The coordinator: it decides which node runs which rank of which job, and never links libtorch.

pub mod access;
pub mod api;
pub mod config;
pub mod engine;
pub mod journal;
pub mod model;
pub mod postgres;
pub mod rendezvous;
pub mod server;
mod sql;
pub mod state_dir;
pub mod telemetry;
pub mod timing;
pub mod web;
