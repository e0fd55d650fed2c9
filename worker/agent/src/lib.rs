//! Keeps the ranks of one node as the coordinator orders them.
//!
//! [`run`] holds a stream to the coordinator ([`link`]), compares what is ordered with what runs ([`reconcile`]) and
//! starts or stops one process per rank ([`rank`]). A rank speaks to this program only, over a socket of its own; a
//! crash, a hang or an abort of a rank never takes the agent down.
//!
//! Non-goals: deciding who runs where (the coordinator does), and anything about tensors: no torch library is linked.
//! The binary `kindred-worker` is the only caller beside the tests.

pub mod address;
pub mod args;
pub mod config;
pub mod credentials;
pub mod devices;
pub mod host;
pub mod identity;
pub mod joining;
pub mod lease;
pub mod link;
pub mod rank;
pub mod reconcile;
pub mod roots;
pub mod telemetry;
pub mod views;

mod agent;
mod commits;
mod error;
mod known;
mod orders;
pub mod pack;
mod route;
mod sockets;
mod store;
mod uplink;

pub use agent::{run, run_on};
pub use config::Config;
pub use error::Error;
