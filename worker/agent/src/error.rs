//! Why an agent ends by itself.

use std::io;

use kindred_proto::failure::Failure;

use crate::identity;

/// Why an agent cannot run, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The folder of the ranks' sockets.
    #[error("cannot create a folder for the ranks' sockets: {0}")]
    Sockets(io::Error),
    /// The coordinator's address.
    #[error("cannot use the coordinator's address: {0}")]
    Address(#[from] tonic::transport::Error),
    /// The coordinator does not want this agent.
    #[error("the coordinator refused this agent: {0}")]
    Refused(Failure),
}
