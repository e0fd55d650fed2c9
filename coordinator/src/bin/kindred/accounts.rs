//! What a job's steps and time went into, and what its faults cost, for `kindred get`.

use kindred_proto::v1;

use crate::text;

/// A name and a value for each thing; empty values where nothing is known.
pub fn lines(job: &v1::Job) -> Vec<(&'static str, String)> {
    let ledger = job.ledger.clone().unwrap_or_default();
    let mut lines = vec![
        ("steps", intervals(&ledger.intervals)),
        ("goodput", goodput(&ledger)),
        ("retries", retries(job)),
        ("last fault", job.last_fault.as_ref().map(text::failure).unwrap_or_default()),
    ];
    lines.extend(consequences(job).map(|failure| ("consequence", text::failure(failure))));
    lines
}

/// Who took which steps.
fn intervals(intervals: &[v1::Interval]) -> String {
    let interval = |it: &v1::Interval| {
        let v1::Interval { first_step, last_step, generation, world_size } = it;
        format!("{first_step}-{last_step} by generation {generation} ({})", count(*world_size, "rank"))
    };
    intervals.iter().map(interval).collect::<Vec<_>>().join(", ")
}

/// The share of the time that counts, and what was lost; nothing before ranks have met.
fn goodput(ledger: &v1::Ledger) -> String {
    let Some(goodput) = ledger.goodput else { return String::new() };
    let (productive, elapsed) = (text::duration(ledger.productive_s), text::duration(ledger.elapsed_s));
    let recomputed = count(ledger.recomputed_steps, "step");
    format!("{:.1} %, {productive} of {elapsed}; {recomputed} recomputed", 100.0 * goodput)
}

/// How much of each retry budget is used.
fn retries(job: &v1::Job) -> String {
    let allowed = job.spec.as_ref().and_then(|spec| spec.retry.as_ref());
    let (Some(used), Some(allowed)) = (&job.retry_used, allowed) else { return String::new() };
    let kinds = [
        ("infrastructure", used.infrastructure_failures, allowed.infrastructure_failures),
        ("without progress", used.no_progress, allowed.no_progress),
        ("user", used.user_failures, allowed.user_failures),
    ];
    let kind = |(name, used, allowed): (&str, Option<u32>, Option<u32>)| {
        format!("{name} {} of {}", used.unwrap_or_default(), allowed.unwrap_or_default())
    };
    kinds.map(kind).join(", ")
}

/// What followed from the last fault.
fn consequences(job: &v1::Job) -> impl Iterator<Item = &v1::Failure> {
    job.faults.iter().filter(|fault| fault.consequence).filter_map(|fault| fault.failure.as_ref())
}

/// `1 step`, `2 steps`.
fn count(n: impl Into<u64>, what: &str) -> String {
    match n.into() {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(job: &v1::Job) -> Vec<(&'static str, String)> {
        lines(job).into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    #[test]
    fn a_job_that_was_never_placed_has_no_accounts() {
        assert_eq!(known(&v1::Job::default()), []);
    }

    #[test]
    fn the_ledger_says_who_took_which_steps_and_what_was_lost() {
        let interval = |generation, world_size, first_step, last_step| v1::Interval {
            generation,
            world_size,
            first_step,
            last_step,
        };
        let ledger = v1::Ledger {
            intervals: vec![interval(1, 2, 1, 103), interval(3, 1, 104, 150)],
            recomputed_steps: 17,
            elapsed_s: 200.0,
            productive_s: 187.0,
            goodput: Some(0.935),
        };
        let job = v1::Job { ledger: Some(ledger), ..Default::default() };
        assert_eq!(
            known(&job),
            [
                ("steps", "1-103 by generation 1 (2 ranks), 104-150 by generation 3 (1 rank)".to_owned()),
                ("goodput", "93.5 %, 3m07s of 3m20s; 17 steps recomputed".to_owned()),
            ]
        );
    }

    #[test]
    fn the_cause_comes_first_and_what_followed_is_marked() {
        let failure = |message: &str, rank| v1::Failure {
            message: message.into(),
            reason: v1::FailureReason::RankExited.into(),
            rank: Some(rank),
            ..Default::default()
        };
        let fault = |failure: &v1::Failure, consequence| v1::Fault {
            generation: 1,
            failure: Some(failure.clone()),
            consequence,
            time: None,
        };
        let (first, second) = (failure("rank 1 ended by signal 9", 1), failure("rank 0 lost a peer", 0));
        let job = v1::Job {
            faults: vec![fault(&first, false), fault(&second, true)],
            last_fault: Some(first),
            ..Default::default()
        };
        assert_eq!(
            known(&job),
            [
                ("last fault", "rank 1 ended by signal 9 (RANK_EXITED, rank 1)".to_owned()),
                ("consequence", "rank 0 lost a peer (RANK_EXITED, rank 0)".to_owned()),
            ]
        );
    }

    #[test]
    fn each_budget_shows_what_is_used_of_it() {
        let budget = |user, infrastructure, no_progress| v1::RetryBudget {
            user_failures: Some(user),
            infrastructure_failures: Some(infrastructure),
            no_progress: Some(no_progress),
        };
        let spec = v1::JobSpec { retry: Some(budget(0, 16, 3)), ..Default::default() };
        let job = v1::Job { spec: Some(spec), retry_used: Some(budget(0, 2, 1)), ..Default::default() };
        assert_eq!(
            known(&job),
            [("retries", "infrastructure 2 of 16, without progress 1 of 3, user 0 of 0".to_owned())]
        );
    }
}
