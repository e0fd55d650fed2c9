//! Failures as gRPC statuses with `google.rpc` details, and back.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::{Failure, Kind, Reason};
use crate::{
    ids::{NodeId, Rank},
    spec_error::Violation,
};

const DOMAIN: &str = "kindred.dev";
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        to_status(failure, RETRY_DELAY)
    }
}

/// A failure as the status that carries it; one that may be tried again says after how long.
pub fn to_status(failure: Failure, retry_after: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(failure.reason.name(), DOMAIN, metadata(&failure));
    if failure.reason == Reason::SpecInvalid {
        details.set_bad_request(field_violations(&failure));
    }
    if failure.kind() == Kind::Retryable {
        details.set_retry_info(Some(retry_after));
    }
    Status::with_error_details(failure.reason.code(), failure.message, details)
}

fn metadata(failure: &Failure) -> HashMap<String, String> {
    let subject = (!failure.subject.is_empty()).then(|| failure.subject.clone());
    let entries = [
        ("subject", subject),
        ("node_id", failure.node_id.as_ref().map(NodeId::to_string)),
        ("rank", failure.rank.map(|rank| rank.to_string())),
    ];
    entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn field_violations(failure: &Failure) -> Vec<FieldViolation> {
    if failure.violations.is_empty() {
        return vec![FieldViolation::new(&failure.subject, &failure.message)];
    }
    failure
        .violations
        .iter()
        .map(|violation| FieldViolation::new(&violation.field, &violation.message))
        .collect()
}

/// Reads a failure back from a status. One that carries no reason of Kindred's gets one by its code.
pub fn from_status(status: &Status) -> Failure {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == DOMAIN);
    let reason = info.and_then(|info| Reason::from_name(&info.reason));
    let text = |key: &str| info.and_then(|info| info.metadata.get(key));
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    Failure {
        reason: reason.unwrap_or_else(|| reason_of(status.code())),
        message: status.message().to_owned(),
        subject: text("subject").cloned().unwrap_or_default(),
        node_id: text("node_id").map(NodeId::new),
        rank: text("rank").and_then(|rank| rank.parse().ok()).map(Rank),
        violations: violations.iter().map(|each| Violation::new(&each.field, &each.description)).collect(),
    }
}

fn reason_of(code: Code) -> Reason {
    match code {
        Code::Unavailable | Code::DeadlineExceeded => Reason::Unreachable,
        Code::Unimplemented => Reason::ProtocolVersionUnsupported,
        Code::Cancelled => Reason::Cancelled,
        _ => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec_error::SpecError;

    #[test]
    fn every_reason_survives_a_status() {
        for &reason in Reason::ALL {
            let failure = Failure::new(reason, "it broke").about("job.yaml").met_by("node-1".into(), Rank(2));
            let back = from_status(&Status::from(failure.clone()));
            assert_eq!(Failure { violations: Vec::new(), ..back }, failure);
        }
    }

    #[test]
    fn a_refused_spec_keeps_its_fields() {
        let violation = Violation::new("recipe.training.epochs", "must be at least 1, not 0");
        let failure = Failure::from(SpecError::from(violation.clone()));
        let status = Status::from(failure.clone());
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(from_status(&status), failure);
        assert_eq!(from_status(&status).violations, [violation]);
    }

    #[test]
    fn only_a_retryable_failure_says_when_to_come_back() {
        let delay = |reason| Status::from(Failure::new(reason, "no")).get_details_retry_info();
        assert!(delay(Reason::JournalUnavailable).is_some());
        assert!(delay(Reason::JobNotFound).is_none());
    }

    #[test]
    fn a_follower_names_the_leader() {
        let status = Status::from(Failure::not_leader(Some("10.0.0.2:7460")));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(from_status(&status).leader(), Some("10.0.0.2:7460"));
        assert_eq!(from_status(&Status::from(Failure::not_leader(None))).leader(), None);
        assert_eq!(Failure::new(Reason::DataNotFound, "no").about("/data").leader(), None);
    }

    #[test]
    fn a_foreign_status_is_read_by_its_code() {
        assert_eq!(from_status(&Status::unavailable("connection refused")).reason, Reason::Unreachable);
        assert_eq!(
            from_status(&Status::unimplemented("no such method")).reason,
            Reason::ProtocolVersionUnsupported
        );
        assert_eq!(from_status(&Status::unknown("what")).reason, Reason::Internal);
    }
}
