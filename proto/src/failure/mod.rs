//! Faults: the closed list of reasons, and the only table of what each means and which gRPC code it has.

use crate::{
    ids::{NodeId, Rank},
    spec_error::{SpecError, Violation},
    v1,
};

#[cfg(feature = "grpc")]
mod status;
#[cfg(feature = "grpc")]
pub use status::{from_status, to_status};

/// What a fault means for the person or program that meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request, the recipe or the data must change; trying again as it is gives the same.
    User,
    /// Infrastructure: the same request may succeed later.
    Retryable,
    /// A fault of Kindred itself.
    Bug,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident: $kind:ident, $code:ident;)*) => {
        /// Why something failed; the same list as [`v1::FailureReason`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What it means for whoever meets it.
            pub fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)*
                }
            }

            /// The code of a gRPC status that carries it.
            #[cfg(feature = "grpc")]
            pub fn code(self) -> tonic::Code {
                match self {
                    $(Self::$name => tonic::Code::$code,)*
                }
            }
        }

        impl From<Reason> for v1::FailureReason {
            fn from(reason: Reason) -> Self {
                match reason {
                    $(Reason::$name => Self::$name,)*
                }
            }
        }

        impl From<v1::FailureReason> for Reason {
            fn from(reason: v1::FailureReason) -> Self {
                match reason {
                    $(v1::FailureReason::$name => Self::$name,)*
                    v1::FailureReason::Unspecified => Self::Internal,
                }
            }
        }
    };
}

reasons! {
    /// A field of the job spec is missing, unknown or out of bounds.
    SpecInvalid: User, InvalidArgument;
    /// The request id was used before, for another request.
    RequestIdReused: User, AlreadyExists;
    /// The page token is not one that this call gave.
    PageTokenInvalid: User, InvalidArgument;
    /// No such job.
    JobNotFound: User, NotFound;
    /// No such node.
    NodeNotFound: User, NotFound;
    /// No such checkpoint.
    CheckpointNotFound: User, NotFound;
    /// The job's state does not allow it.
    IllegalTransition: User, FailedPrecondition;
    /// The message is of a generation that is over.
    StaleGeneration: Retryable, Aborted;
    /// The other side speaks a protocol that this one does not.
    ProtocolVersionUnsupported: User, FailedPrecondition;
    /// A key of the rendezvous store did not appear in time.
    StoreTimeout: Retryable, DeadlineExceeded;
    /// The process is going down.
    ShuttingDown: Retryable, Unavailable;
    /// Another coordinator leads; the subject is where it listens, and empty while nobody does.
    NotLeader: Retryable, Unavailable;
    /// The journal can not be written.
    JournalUnavailable: Retryable, Unavailable;
    /// The data set is not where the recipe says.
    DataNotFound: User, FailedPrecondition;
    /// A file of the data set can not be read as what it should be.
    DataInvalid: User, FailedPrecondition;
    /// Nodes hold different data under the same path.
    DataDiffers: User, FailedPrecondition;
    /// No checkpoint of the job can be read, though there should be one.
    CheckpointUnreadable: User, DataLoss;
    /// A file could not be written for want of space.
    DiskFull: Retryable, ResourceExhausted;
    /// The loss is not a finite number.
    NotFinite: User, OutOfRange;
    /// A rank's process ended by itself or was killed.
    RankExited: Retryable, Unavailable;
    /// A rank's process said nothing for too long and was killed.
    RankHung: Retryable, DeadlineExceeded;
    /// A node sent no report for longer than its lease.
    NodeLost: Retryable, Unavailable;
    /// Another rank of the group is gone.
    PeerLost: Retryable, Unavailable;
    /// The ranks of a generation did not meet in time.
    MeetingTimeout: Retryable, DeadlineExceeded;
    /// The device can not be used.
    DeviceUnavailable: Retryable, Unavailable;
    /// The device's memory does not hold the job.
    OutOfMemory: User, ResourceExhausted;
    /// Ranks that must agree hold different states.
    StateDiffers: Bug, Internal;
    /// A rank holds another state than most of its peers: its memory or its arithmetic failed.
    StateCorrupt: Retryable, DataLoss;
    /// The other side can not be reached.
    Unreachable: Retryable, Unavailable;
    /// A fault of Kindred that has no reason of its own.
    Internal: Bug, Internal;
    /// Generation after generation ended without a new step.
    NoProgress: Retryable, Aborted;
    /// Somebody cancelled it.
    Cancelled: User, Cancelled;
    /// No token or certificate that is known came with the call.
    Unauthenticated: User, Unauthenticated;
    /// The caller is known, and may not do this.
    PermissionDenied: User, PermissionDenied;
    /// A limit on calls, streams or lines.
    LimitExceeded: Retryable, ResourceExhausted;
    /// No such token.
    TokenNotFound: User, NotFound;
    /// It changed since the caller read it.
    EtagMismatch: User, Aborted;
    /// Events after the marker are not kept any more.
    EventsForgotten: User, OutOfRange;
}

impl Reason {
    /// Its name on the wire, without the prefix: `SPEC_INVALID`.
    pub fn name(self) -> &'static str {
        let full = v1::FailureReason::from(self).as_str_name();
        full.strip_prefix("FAILURE_REASON_").unwrap_or(full)
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name() == name)
    }
}

impl From<Kind> for v1::FailureKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::User => Self::User,
            Kind::Retryable => Self::Retryable,
            Kind::Bug => Self::Bug,
        }
    }
}

/// Why something failed, in words that a person can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which of the closed list.
    pub reason: Reason,
    /// One sentence, lower-case, without a full stop: what and which.
    pub message: String,
    /// The field of the request, or the path of the file, that must change; empty when there is none.
    pub subject: String,
    /// The node that met it first.
    pub node_id: Option<NodeId>,
    /// The rank that met it first.
    pub rank: Option<Rank>,
    /// The fields at fault when a spec was refused; they travel in a gRPC status only.
    pub violations: Vec<Violation>,
}

impl Failure {
    /// A failure that names no subject, node or rank yet.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            subject: String::new(),
            node_id: None,
            rank: None,
            violations: Vec::new(),
        }
    }

    /// Names the field or the file that must change.
    #[must_use]
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..self }
    }

    /// Names the node and the rank that met it.
    #[must_use]
    pub fn met_by(self, node_id: NodeId, rank: Rank) -> Self {
        Self { node_id: Some(node_id), rank: Some(rank), ..self }
    }

    /// That another coordinator leads, which listens at `leader`; nobody does while that is none.
    pub fn not_leader(leader: Option<&str>) -> Self {
        let message = match leader {
            Some(leader) => format!("this coordinator does not lead: ask the one at {leader}"),
            None => "no coordinator leads at the moment: try again".to_owned(),
        };
        Self::new(Reason::NotLeader, message).about(leader.unwrap_or_default())
    }

    /// Where the coordinator listens that is to be asked instead.
    pub fn leader(&self) -> Option<&str> {
        (self.reason == Reason::NotLeader && !self.subject.is_empty()).then_some(self.subject.as_str())
    }

    /// What it means for whoever meets it.
    pub fn kind(&self) -> Kind {
        self.reason.kind()
    }
}

impl From<&Failure> for v1::Failure {
    fn from(failure: &Failure) -> Self {
        Self {
            kind: v1::FailureKind::from(failure.kind()).into(),
            reason: v1::FailureReason::from(failure.reason).into(),
            message: failure.message.clone(),
            subject: failure.subject.clone(),
            node_id: failure.node_id.as_ref().map(NodeId::to_string).unwrap_or_default(),
            rank: failure.rank.map(|rank| rank.0),
        }
    }
}

impl From<&v1::Failure> for Failure {
    fn from(wire: &v1::Failure) -> Self {
        Self {
            reason: wire.reason().into(),
            message: wire.message.clone(),
            subject: wire.subject.clone(),
            node_id: (!wire.node_id.is_empty()).then(|| NodeId::new(&wire.node_id)),
            rank: wire.rank.map(Rank),
            violations: Vec::new(),
        }
    }
}

/// Faults that one failure lists; the rest is counted, since a gRPC status travels in headers of bounded size.
const MAX_VIOLATIONS: usize = 16;

impl From<SpecError> for Failure {
    fn from(mut error: SpecError) -> Self {
        let n_more = error.violations.len().saturating_sub(MAX_VIOLATIONS);
        error.violations.truncate(MAX_VIOLATIONS);
        let more = if n_more == 0 { String::new() } else { format!("; and {n_more} more") };
        let subject = error.violations.first().map(|first| first.field.clone()).unwrap_or_default();
        let failure = Self::new(Reason::SpecInvalid, format!("{error}{more}")).about(subject);
        Self { violations: error.violations, ..failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_the_wire_has_a_row() {
        let n_wire = (1..1000).filter(|&number| v1::FailureReason::try_from(number).is_ok()).count();
        assert_eq!(Reason::ALL.len(), n_wire);
        for &reason in Reason::ALL {
            assert_eq!(Reason::from(v1::FailureReason::from(reason)), reason);
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
        }
        assert_eq!(Reason::SpecInvalid.name(), "SPEC_INVALID");
    }

    #[test]
    fn a_failure_survives_the_wire() {
        let failure = Failure::new(Reason::DataInvalid, "image 7 is truncated")
            .about("train/cat/7.jpg")
            .met_by(NodeId::new("node-1"), Rank(3));
        assert_eq!(Failure::from(&v1::Failure::from(&failure)), failure);
        assert_eq!(v1::Failure::from(&failure).kind(), v1::FailureKind::User);
    }

    #[test]
    fn a_reason_from_the_future_is_internal() {
        let wire = v1::Failure { reason: 9999, ..Default::default() };
        assert_eq!(Failure::from(&wire).reason, Reason::Internal);
    }

    #[test]
    fn a_refused_spec_counts_what_it_does_not_list() {
        let violations = (0..20).map(|i| Violation::new(format!("field_{i}"), "is wrong")).collect();
        let failure = Failure::from(SpecError { violations });
        assert_eq!(failure.subject, "field_0");
        assert_eq!(failure.violations.len(), MAX_VIOLATIONS);
        assert!(failure.message.ends_with("field_15: is wrong; and 4 more"), "{failure}");
    }
}
