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

use crate::model::{
    Projects, Timestamp,
    access::{Digest, Role},
};

/// Who calls, as the gate found out; with every request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What it showed.
    pub identity: Identity,
    /// Where it may do what it calls.
    pub projects: Projects,
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
    /// A token of an identity provider.
    SignedIn(Arc<SignedIn>),
    /// The certificate of a node.
    Node {
        /// Which one.
        node_id: NodeId,
        /// Of its public key.
        key: Digest,
    },
}

/// Somebody for whom an identity provider vouches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The provider, as its tokens name it.
    pub issuer: String,
    /// Who it is, for the provider; never given to somebody else.
    pub subject: String,
    /// Who it is, for people.
    pub name: String,
    /// The groups that the provider says.
    pub groups: Vec<String>,
    /// What those allow; nothing, when empty.
    pub grants: Vec<Grant>,
    /// Until when the provider vouches, with what clocks may differ.
    pub good_until: Timestamp,
}

/// A role in a project.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The project; [`ALL_PROJECTS`](crate::model::access::ALL_PROJECTS) for all.
    pub project: String,
    /// What may be done there.
    pub role: Role,
}

impl fmt::Display for SignedIn {
    /// People are told apart by subject and issuer; names may change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.issuer.split_once("://").map_or(self.issuer.as_str(), |(_, place)| place);
        if self.name == self.subject {
            return write!(f, "user {} ({host})", self.name);
        }
        write!(f, "user {} ({} at {host})", self.name, self.subject)
    }
}

impl Identity {
    /// What it allows, and where: role and project.
    pub fn grants(&self) -> Vec<(Role, &str)> {
        match self {
            Self::User { role, project, .. } => vec![(*role, project)],
            Self::SignedIn(user) => {
                user.grants.iter().map(|grant| (grant.role, grant.project.as_str())).collect()
            }
            Self::Open | Self::Nobody | Self::Node { .. } => vec![],
        }
    }

    /// The projects in which it allows at least this.
    pub fn projects_with(&self, wanted: Role) -> Projects {
        let grants = self.grants().into_iter();
        grants.filter(|(role, _)| *role >= wanted).map(|(_, project)| project).collect()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("anyone"),
            Self::Nobody => f.write_str("nobody"),
            Self::User { id, name, .. } => write!(f, "token {name} ({id})"),
            Self::SignedIn(user) => user.fmt(f),
            Self::Node { node_id, .. } => write!(f, "node {node_id}"),
        }
    }
}

impl Caller {
    /// A caller who showed this.
    pub fn new(identity: Identity) -> Self {
        Self { identity, projects: Projects::All, object: Arc::default() }
    }

    /// The same, who may do what it calls in these projects.
    #[must_use]
    pub fn within(self, projects: Projects) -> Self {
        Self { projects, ..self }
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

    /// # Errors
    /// `PERMISSION_DENIED` when it may not do this there.
    pub fn check_project(&self, wanted: &str) -> Result<(), Failure> {
        if self.projects.contain(wanted) {
            return Ok(());
        }
        let own = &self.projects;
        let message = match &self.identity {
            Identity::SignedIn(_) => format!("you may do this in {own}, not in {wanted}: name one of those"),
            _ => format!("this token is for project {own}, not {wanted}: use one of that project"),
        };
        Err(Failure::new(Reason::PermissionDenied, message).about("project"))
    }

    /// # Errors
    /// `PERMISSION_DENIED` when it is for some projects only.
    pub fn check_all_projects(&self) -> Result<(), Failure> {
        if self.projects == Projects::All {
            return Ok(());
        }
        let message = format!("this is about all projects, and the token is for {} only", self.projects);
        Err(Failure::new(Reason::PermissionDenied, message).about("project"))
    }

    /// What is said of something of this project that it may not do this to: what it may not even see is not there.
    pub fn refusal_in(&self, project: &str, not_there: Failure) -> Failure {
        if !self.identity.projects_with(Role::Viewer).contain(project) {
            return not_there;
        }
        let message = format!("your role in {project} does not allow this: ask an admin for another one");
        Failure::new(Reason::PermissionDenied, message).about("project")
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
