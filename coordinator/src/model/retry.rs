//! Whose fault it was, and whether a job is tried again.

use kindred_proto::{
    failure::{Failure, Kind, Reason},
    ids::Step,
    v1,
};

use super::{Job, JobChange, Wire, change::Charge};

/// True when a fault only says that another rank is gone.
pub(super) fn is_consequence(fault: &Failure) -> bool {
    matches!(fault.reason, Reason::PeerLost | Reason::MeetingTimeout)
}

/// True when ranks that still train may go on with their state: it is not what the fault is about.
pub(super) fn spares_survivors(fault: &v1::Failure) -> bool {
    Failure::from(fault).kind() == Kind::Retryable
}

/// Which budget pays for a fault.
pub(super) fn charge(fault: &v1::Failure, is_leaving: bool) -> Charge {
    match Failure::from(fault).kind() {
        Kind::User => Charge::User,
        Kind::Retryable if is_leaving => Charge::Nobody,
        Kind::Retryable | Kind::Bug => Charge::Infrastructure,
    }
}

/// The end of a generation by `fault` after `reached`, and of the job where no budget is left.
pub(super) fn end_generation(
    job: &Job,
    fault: &v1::Failure,
    charge: Charge,
    reached: Step,
) -> Vec<JobChange> {
    let mut changes = vec![JobChange::GenerationEnds { fault: Wire(fault.clone()), charge, reached }];
    if let Some(failure) = exhausted(job, fault, charge, reached) {
        changes.push(JobChange::Failed { failure: Wire(failure) });
    }
    changes
}

/// Why the job is not tried again, when a budget is used up.
fn exhausted(job: &Job, fault: &v1::Failure, charge: Charge, reached: Step) -> Option<v1::Failure> {
    let spent = job.spent.after(charge, reached);
    let budget = &job.submission;
    if spent.user > budget.user_failures {
        return Some(fault.clone());
    }
    if spent.infrastructure > budget.infrastructure_failures {
        let message = format!(
            "fault {} of {} allowed: {}",
            spent.infrastructure, budget.infrastructure_failures, fault.message
        );
        return Some(v1::Failure { message, ..fault.clone() });
    }
    if spent.no_progress > budget.no_progress {
        let message = format!(
            "{} generations in a row took no new step; the last: {}",
            spent.no_progress, fault.message
        );
        let failure = v1::Failure::from(&Failure::new(Reason::NoProgress, message));
        return Some(v1::Failure {
            subject: fault.subject.clone(),
            node_id: fault.node_id.clone(),
            rank: fault.rank,
            ..failure
        });
    }
    None
}
