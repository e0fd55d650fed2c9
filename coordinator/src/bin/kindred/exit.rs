//! How a command ends: one exit code per outcome, and the error that says why.

use std::{error::Error as _, fmt, io, process::ExitCode};

use kindred_proto::{
    failure::{self, Failure, Kind, Reason},
    v1,
};
use tonic::{Code, Status};

/// The table at the end of `--help`; the same numbers as [`Exit`].
pub const HELP: &str = "\
Exit codes:
    0  succeeded
    1  another error
    2  usage, or a spec that does not hold
    3  the coordinator cannot be reached
   10  the job failed by the user's error
   11  the job failed by its infrastructure
   12  the job was cancelled
  130  interrupted";

/// What the shell learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command did what it says, and the job it followed succeeded.
    Succeeded = 0,
    /// Anything that has no code of its own.
    Other = 1,
    /// The command line or the spec must change.
    Invalid = 2,
    /// No coordinator answers.
    Unreachable = 3,
    /// The followed job failed: its spec or data must change.
    FailedByUser = 10,
    /// The followed job failed: nodes, links or Kindred itself.
    FailedByInfrastructure = 11,
    /// The followed job was cancelled.
    Cancelled = 12,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The code for a job in this state; none while it still runs.
    pub fn of(job: &v1::Job) -> Option<Self> {
        match job.state() {
            v1::JobState::Succeeded => Some(Self::Succeeded),
            v1::JobState::Cancelled => Some(Self::Cancelled),
            v1::JobState::Failed => Some(Self::of_failure(job.failure.as_ref())),
            _ => None,
        }
    }

    fn of_failure(failure: Option<&v1::Failure>) -> Self {
        match failure.map(|failure| Failure::from(failure).kind()) {
            Some(Kind::User) => Self::FailedByUser,
            _ => Self::FailedByInfrastructure,
        }
    }
}

/// Why a command could not do what it says.
#[derive(Debug)]
pub struct Error {
    /// What the shell learns.
    pub exit: Exit,
    message: String,
}

impl Error {
    /// An error with this code and this sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The command line, the file or the spec must change.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// No coordinator answers at this address.
    pub fn unreachable(address: &str, why: &str) -> Self {
        let fix = "start one with `kindred up`, or name its address with --coordinator host:port \
                   (or KINDRED_COORDINATOR); one with TLS needs --tls-ca (or KINDRED_TLS_CA)";
        Self::new(Exit::Unreachable, format!("no coordinator answers at {address} ({why}): {fix}"))
    }

    /// A call that was refused or did not arrive.
    pub fn from_status(address: &str, status: &Status) -> Self {
        let failure = failure::from_status(status);
        if failure.reason == Reason::Unreachable || status.source().is_some() {
            return Self::unreachable(address, &root_cause(status));
        }
        let exit = match (failure.reason, status.code()) {
            (Reason::ShuttingDown, _) => Exit::Unreachable,
            (_, Code::InvalidArgument) => Exit::Invalid,
            _ => Exit::Other,
        };
        Self::new(exit, failure.message)
    }
}

/// Whether a call failed because the coordinator is away, so that trying again later makes sense.
pub fn is_lost(status: &Status) -> bool {
    status.code() == Code::Unavailable || status.source().is_some()
}

/// The innermost cause: the layers above it only say that there was an error.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Other, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: Reason) -> v1::Job {
        let failure = Failure::new(reason, "why");
        v1::Job { state: v1::JobState::Failed.into(), failure: Some((&failure).into()), ..Default::default() }
    }

    #[test]
    fn each_outcome_has_its_code() {
        let job = |state: v1::JobState| v1::Job { state: state.into(), ..Default::default() };
        assert_eq!(Exit::of(&job(v1::JobState::Succeeded)), Some(Exit::Succeeded));
        assert_eq!(Exit::of(&job(v1::JobState::Cancelled)), Some(Exit::Cancelled));
        assert_eq!(Exit::of(&job(v1::JobState::Recovering)), None);
        assert_eq!(Exit::of(&failed(Reason::DataNotFound)), Some(Exit::FailedByUser));
        assert_eq!(Exit::of(&failed(Reason::NodeLost)), Some(Exit::FailedByInfrastructure));
        assert_eq!(Exit::of(&failed(Reason::Internal)), Some(Exit::FailedByInfrastructure));
    }

    #[test]
    fn help_lists_every_code() {
        for exit in [Exit::Invalid, Exit::Unreachable, Exit::FailedByUser, Exit::Cancelled, Exit::Interrupted]
        {
            let code = format!("\n{:>5}  ", exit as u8);
            assert!(HELP.contains(&code), "{code:?} is missing");
        }
    }

    #[test]
    fn a_refusal_keeps_its_sentence_and_a_lost_call_names_the_address() {
        let refused =
            Status::from(Failure::new(Reason::SpecInvalid, "recipe.training.epochs: must be at least 1"));
        let error = Error::from_status("host:1", &refused);
        assert_eq!(
            (error.exit, error.to_string()),
            (Exit::Invalid, "recipe.training.epochs: must be at least 1".into())
        );
        let stopping = Status::from(Failure::new(Reason::ShuttingDown, "the coordinator stops"));
        let error = Error::from_status("host:1", &stopping);
        assert_eq!((error.exit, error.to_string()), (Exit::Unreachable, "the coordinator stops".into()));
        let error = Error::from_status("host:1", &Status::unavailable("gone"));
        assert_eq!(error.exit, Exit::Unreachable);
        assert!(error.to_string().contains("host:1") && error.to_string().contains("kindred up"), "{error}");
    }
}
