//! Who calls.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::NodeId,
};
use tonic::Request;

use crate::model::access::{ALL_PROJECTS, Digest, Role};

/// Who calls, as the gate found out; with every request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What it showed.
    pub identity: Identity,
    /// What the call is about, for the audit event.
    object: Arc<Mutex<String>>,
}

/// What a caller showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nothing, and nothing is asked for: the coordinator has no tokens.
    Open,
    /// Nothing that is known.
    Nobody,
    /// A user's token.
    User {
        /// The token's id.
        id: String,
        /// Its name.
        name: String,
        /// What it allows.
        role: Role,
        /// Where.
        project: String,
    },
    /// The certificate of a node.
    Node {
        /// Which one.
        node_id: NodeId,
        /// Of its public key.
        key: Digest,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("anyone"),
            Self::Nobody => f.write_str("nobody"),
            Self::User { id, name, .. } => write!(f, "token {name} ({id})"),
            Self::Node { node_id, .. } => write!(f, "node {node_id}"),
        }
    }
}

impl Caller {
    /// A caller who showed this.
    pub fn new(identity: Identity) -> Self {
        Self { identity, object: Arc::default() }
    }

    /// Who sent this request; where there is no gate, anyone.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| Self::new(Identity::Open))
    }

    /// Notes what the call is about.
    pub fn is_about(&self, object: impl Into<String>) {
        // Whatever it is, it is short.
        let object: String = object.into().chars().take(128).collect();
        *self.object.lock().unwrap_or_else(PoisonError::into_inner) = object;
    }

    /// What the call is about, as far as it was said.
    pub fn object(&self) -> String {
        self.object.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What events call it; empty where nobody is asked who they are.
    pub fn name(&self) -> String {
        match &self.identity {
            Identity::Open => String::new(),
            identity => identity.to_string(),
        }
    }

    /// The one project whose jobs it may see; none for all.
    pub fn project(&self) -> Option<&str> {
        match &self.identity {
            Identity::User { project, .. } if project != ALL_PROJECTS => Some(project),
            _ => None,
        }
    }

    /// # Errors
    /// `PERMISSION_DENIED` when it is for another project.
    pub fn check_project(&self, wanted: &str) -> Result<(), Failure> {
        match self.project() {
            Some(own) if own != wanted => {
                let message =
                    format!("this token is for project {own}, not {wanted}: use one of that project");
                Err(Failure::new(Reason::PermissionDenied, message).about("project"))
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    /// `PERMISSION_DENIED` when it is for one project only.
    pub fn check_all_projects(&self) -> Result<(), Failure> {
        match self.project() {
            None => Ok(()),
            Some(own) => {
                let message = format!("this is about all projects, and the token is for {own} only");
                Err(Failure::new(Reason::PermissionDenied, message).about("project"))
            }
        }
    }

    /// # Errors
    /// `PERMISSION_DENIED` when it is another node.
    pub fn check_node(&self, node_id: &str) -> Result<(), Failure> {
        match &self.identity {
            Identity::Node { node_id: own, .. } if own.as_str() != node_id => {
                let message = format!("the certificate is of node {own}, and the message of {node_id:?}");
                Err(Failure::new(Reason::PermissionDenied, message).about("node_id"))
            }
            _ => Ok(()),
        }
    }
}
