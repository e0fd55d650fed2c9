//! Who may call what: TLS, tokens, node certificates, limits and audit events.
//!
//! [`gate::Gate`] stands before every service. It tells who calls, holds the call against the table of methods
//! ([`table`]) and the limits ([`limits`]), and leaves the [`Caller`] with the request, for what depends on the message:
//! the project of a job, the node of a report. Who may call is part of the model and journaled (`model::access`), so that
//! it outlives a coordinator, and so that all coordinators on one database know the same tokens.
//!
//! Beside its own tokens a coordinator takes those of identity providers that it is told to trust ([`oidc`]); of these nothing is stored.
//!
//! A coordinator without TLS has an open gate: everyone who reaches it may do everything. It listens on loopback only,
//! unless it is told that this is meant.

pub mod audit;
pub mod authority;
pub mod caller;
pub mod gate;
pub mod limits;
pub mod oidc;
pub mod secret;
pub mod table;

mod permission;
mod security;

pub use caller::Caller;
pub use gate::Gate;
pub use security::{Error, Security, TlsFiles, web_tls};
