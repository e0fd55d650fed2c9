//! Who may call: tokens of users, join tokens, nodes that joined. Of secrets there are digests only.

use std::{collections::BTreeMap, fmt, time::Duration};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::NodeId,
    v1,
};
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Most tokens that are kept at a time, of either kind.
const MAX_TOKENS: usize = 10_000;

/// Entries of one piece of a snapshot.
const PIECE_LEN: usize = 1000;

/// The project of a token that is good for all of them.
pub const ALL_PROJECTS: &str = "*";

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Submits jobs, and cancels and pauses those of its project.
    Submitter,
    /// Takes nodes out of service and back.
    Operator,
    /// Makes tokens, lets nodes join, reads the audit events.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Submitter => "submitter",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Submitter => Self::Submitter,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

/// BLAKE3 of a secret of 256 random bits, or of a public key. Stored as hexadecimal digits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        blake3::Hash::from(digest.0).to_hex().to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = blake3::HexError;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_hex(digits).map(|hash| Self(hash.into()))
    }
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }
}

impl PartialEq for Digest {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from(self.0) == blake3::Hash::from(other.0)
    }
}

impl Eq for Digest {}

/// A user's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// For people.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// In which project; [`ALL_PROJECTS`] for all.
    pub project: String,
    /// Of its secret.
    pub digest: Digest,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; never, when none.
    pub expires_at: Option<Timestamp>,
}

impl Token {
    /// Whether it may still be used.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    fn governs_all(&self, now: Timestamp) -> bool {
        self.role == Role::Admin && self.project == ALL_PROJECTS && self.is_good(now)
    }
}

/// A token with which one node joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Of its secret.
    pub digest: Digest,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The node that used it, and the digest of that node's key: the same one may ask again, where an answer was lost.
    pub used_by: Option<(NodeId, Digest)>,
}

/// What is wished about access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessEvent {
    /// A new user's token.
    Create {
        /// Names it.
        id: String,
        /// What it is.
        token: Token,
    },
    /// A user's token ends.
    Revoke {
        /// Which one.
        id: String,
    },
    /// A new join token.
    Invite {
        /// Names it.
        id: String,
        /// Of its secret.
        digest: Digest,
        /// For how long it is good.
        ttl: Duration,
    },
    /// A node joins.
    Join {
        /// The join token.
        id: String,
        /// Of the secret that came with it.
        digest: Digest,
        /// The node.
        node_id: NodeId,
        /// Of the node's public key.
        key: Digest,
    },
    /// A node's certificate is good no more.
    Expel {
        /// Which node.
        node_id: NodeId,
    },
}

/// What can happen to access; stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessChange {
    /// A user's token was made.
    Created {
        /// Names it.
        id: String,
        /// What it is.
        token: Token,
    },
    /// A user's token ended.
    Revoked {
        /// Which one.
        id: String,
    },
    /// A join token was made.
    Invited {
        /// Names it.
        id: String,
        /// What it is.
        token: JoinToken,
    },
    /// A node joined.
    Joined {
        /// With which join token.
        id: String,
        /// The node.
        node_id: NodeId,
        /// Of its public key.
        key: Digest,
    },
    /// A node's certificate is good no more.
    Expelled {
        /// Which node.
        node_id: NodeId,
    },
}

/// Who may call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    tokens: BTreeMap<String, Token>,
    join_tokens: BTreeMap<String, JoinToken>,
    /// The digest of the key of each node that joined.
    nodes: BTreeMap<NodeId, Digest>,
}

impl Access {
    /// All users' tokens, by id.
    pub fn tokens(&self) -> impl Iterator<Item = (&String, &Token)> {
        self.tokens.iter()
    }

    /// A user's token.
    pub fn token(&self, id: &str) -> Option<&Token> {
        self.tokens.get(id)
    }

    /// The digest of the key of a node that joined.
    pub fn node(&self, node_id: &NodeId) -> Option<Digest> {
        self.nodes.get(node_id).copied()
    }

    /// Whether somebody can make further tokens.
    pub fn has_admin(&self, now: Timestamp) -> bool {
        self.tokens.values().any(|token| token.governs_all(now))
    }

    /// It in parts of some hundred kilobytes, for a snapshot.
    pub(super) fn pieces(&self) -> Vec<Self> {
        let mut pieces = vec![];
        let tokens: Vec<_> = self.tokens.iter().collect();
        for part in tokens.chunks(PIECE_LEN) {
            let tokens = part.iter().map(|(id, token)| ((*id).clone(), (*token).clone())).collect();
            pieces.push(Self { tokens, ..Self::default() });
        }
        let join_tokens: Vec<_> = self.join_tokens.iter().collect();
        for part in join_tokens.chunks(PIECE_LEN) {
            let join_tokens = part.iter().map(|(id, token)| ((*id).clone(), (*token).clone())).collect();
            pieces.push(Self { join_tokens, ..Self::default() });
        }
        let nodes: Vec<_> = self.nodes.iter().collect();
        for part in nodes.chunks(PIECE_LEN) {
            let nodes = part.iter().map(|(id, key)| ((*id).clone(), **key)).collect();
            pieces.push(Self { nodes, ..Self::default() });
        }
        pieces
    }

    /// Puts a part of it back.
    pub(super) fn extend(&mut self, piece: Self) {
        self.tokens.extend(piece.tokens);
        self.join_tokens.extend(piece.join_tokens);
        self.nodes.extend(piece.nodes);
    }

    /// Says what `event` changes; nothing changes yet.
    ///
    /// # Errors
    /// The refusal, with its reason.
    pub fn decide(&self, now: Timestamp, event: &AccessEvent) -> Result<Option<AccessChange>, Failure> {
        match event.clone() {
            AccessEvent::Create { id, token } => {
                self.check_room(self.tokens.len())?;
                Ok(Some(AccessChange::Created { id, token }))
            }
            AccessEvent::Revoke { id } => self.decide_revocation(now, id).map(Some),
            AccessEvent::Invite { id, digest, ttl } => {
                self.check_room(self.join_tokens.len())?;
                let token = JoinToken { digest, expires_at: now.plus(ttl), used_by: None };
                Ok(Some(AccessChange::Invited { id, token }))
            }
            AccessEvent::Join { id, digest, node_id, key } => self.decide_join(now, id, digest, node_id, key),
            AccessEvent::Expel { node_id } => match self.nodes.contains_key(&node_id) {
                true => Ok(Some(AccessChange::Expelled { node_id })),
                false => {
                    let message = format!("node {node_id} has not joined with a certificate");
                    Err(Failure::new(Reason::NodeNotFound, message).about("node_id"))
                }
            },
        }
    }

    fn check_room(&self, n_kept: usize) -> Result<(), Failure> {
        if n_kept < MAX_TOKENS {
            return Ok(());
        }
        let message = format!("there are {MAX_TOKENS} tokens already: revoke some that nobody uses");
        Err(Failure::new(Reason::LimitExceeded, message))
    }

    fn decide_revocation(&self, now: Timestamp, id: String) -> Result<AccessChange, Failure> {
        let Some(token) = self.tokens.get(&id) else {
            return Err(
                Failure::new(Reason::TokenNotFound, format!("there is no token {id}")).about("token_id")
            );
        };
        let mut others = self.tokens.iter().filter(|(other, _)| **other != id);
        if token.governs_all(now) && !others.any(|(_, other)| other.governs_all(now)) {
            let message =
                format!("{id} is the last token of an admin of all projects: create another one first");
            return Err(Failure::new(Reason::IllegalTransition, message).about("token_id"));
        }
        Ok(AccessChange::Revoked { id })
    }

    fn decide_join(
        &self,
        now: Timestamp,
        id: String,
        digest: Digest,
        node_id: NodeId,
        key: Digest,
    ) -> Result<Option<AccessChange>, Failure> {
        let refuse = |message: String| Err(Failure::new(Reason::Unauthenticated, message));
        let Some(token) = self.join_tokens.get(&id).filter(|token| token.digest == digest) else {
            return refuse(
                "the join token is not known: make one with `kindred nodes join-token`".to_owned(),
            );
        };
        let again = Some((node_id.clone(), key));
        if token.used_by.is_some() && token.used_by != again {
            return refuse(
                "the join token was used before: make another one with `kindred nodes join-token`".to_owned(),
            );
        }
        if now >= token.expires_at {
            return refuse(
                "the join token has expired: make another one with `kindred nodes join-token`".to_owned(),
            );
        }
        if self.nodes.get(&node_id).is_some_and(|known| *known != key) {
            let message = format!(
                "node {node_id} joined before with another key: give this worker a new --state folder, \
                 or let the old one go with `kindred nodes expel {node_id}`"
            );
            return Err(Failure::new(Reason::PermissionDenied, message).about("node_id"));
        }
        let is_repeated = token.used_by == again && self.nodes.contains_key(&node_id);
        Ok((!is_repeated).then_some(AccessChange::Joined { id, node_id, key }))
    }

    /// Lets a stored change happen.
    pub fn evolve(&mut self, at: Timestamp, change: &AccessChange) {
        match change {
            AccessChange::Created { id, token } => {
                self.tokens.retain(|_, token| token.is_good(at));
                self.tokens.insert(id.clone(), token.clone());
            }
            AccessChange::Revoked { id } => drop(self.tokens.remove(id)),
            AccessChange::Invited { id, token } => {
                self.join_tokens.retain(|_, token| at < token.expires_at);
                self.join_tokens.insert(id.clone(), token.clone());
            }
            AccessChange::Joined { id, node_id, key } => {
                if let Some(token) = self.join_tokens.get_mut(id) {
                    token.used_by = Some((node_id.clone(), *key));
                }
                self.nodes.insert(node_id.clone(), *key);
            }
            AccessChange::Expelled { node_id } => drop(self.nodes.remove(node_id)),
        }
    }
}
