//! `kindred explain`: why a job waits, who holds it up, and what would help.

use kindred_proto::v1::{self, Explanation, explanation::Verdict};

use crate::{
    args::{Format, Global, JobArg},
    client::Client,
    exit::{Error, Exit},
    output,
};

/// Asks the coordinator, and prints its answer.
pub async fn run(global: &Global, args: JobArg) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let request = v1::ExplainJobRequest { job_id: args.job };
    let answer = client.answer(client.jobs().explain_job(request)).await?;
    show(global.output, &answer.explanation.unwrap_or_default())?;
    Ok(Exit::Succeeded)
}

/// Prints an explanation.
pub fn show(format: Format, explanation: &Explanation) -> Result<(), Error> {
    match format {
        Format::Table => output::result(&in_words(explanation))?,
        format => output::document(format, &output::value(explanation, "Explanation"))?,
    }
    Ok(())
}

/// A line for the verdict, and one for each thing that is to be known about it.
fn in_words(explanation: &Explanation) -> String {
    let mut lines = vec![format!("{}: {}", verdict(explanation.verdict()), explanation.reason)];
    if explanation.position > 0 {
        lines.push(format!("turn:      {} of those that wait", explanation.position));
    }
    lines.extend(explanation.blockers.iter().map(|blocker| {
        let who =
            if blocker.why.starts_with("uses") { format!("{} ", blocker.job_id) } else { String::new() };
        format!("held up:   {who}{}", blocker.why)
    }));
    lines.extend(explanation.preemptions.iter().map(|it| {
        let then = if it.shrinks { "goes on with fewer ranks" } else { "writes a checkpoint and waits" };
        let why = if it.gives_back { " gives back what its queue borrowed:" } else { "" };
        format!("preempts:  {} (priority {}){why} {then}", it.job_id, it.priority)
    }));
    lines.extend(explanation.placements.iter().map(|place| {
        format!("placement: rank {} on {}/{}", place.rank, place.node_name, place.device_index)
    }));
    lines.extend(
        explanation.remedies.iter().map(|it| format!("remedy:    {}: {}", it.change, outcome(it.verdict()))),
    );
    lines.join("\n")
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unspecified => "unknown",
        Verdict::Settled => "settled",
        Verdict::Starts => "starts",
        Verdict::Preempts => "preempts",
        Verdict::Waits => "waits",
        Verdict::Cannot => "cannot run",
    }
}

fn outcome(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Starts | Verdict::Settled => "it starts at once",
        Verdict::Preempts => "others give way to it",
        _ => "it starts once others are done",
    }
}

#[cfg(test)]
mod tests {
    use kindred_proto::v1::explanation::{Blocker, Preemption, Remedy};

    use super::*;

    #[test]
    fn an_explanation_is_told_line_by_line() {
        let explanation = Explanation {
            verdict: Verdict::Preempts.into(),
            reason: "needs 2 cpu devices, 0 free: job-1 gives way".into(),
            position: 1,
            blockers: vec![Blocker { why: "job-1 runs on node-a".into(), ..Default::default() }],
            preemptions: vec![
                Preemption { job_id: "job-1".into(), priority: -5, ..Default::default() },
                Preemption { job_id: "job-2".into(), shrinks: true, priority: 5, gives_back: true },
            ],
            remedies: vec![Remedy {
                change: "ask for 1 ranks".into(),
                verdict: Verdict::Starts.into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let expected = "preempts: needs 2 cpu devices, 0 free: job-1 gives way
turn:      1 of those that wait
held up:   job-1 runs on node-a
preempts:  job-1 (priority -5) writes a checkpoint and waits
preempts:  job-2 (priority 5) gives back what its queue borrowed: goes on with fewer ranks
remedy:    ask for 1 ranks: it starts at once";
        assert_eq!(in_words(&explanation), expected);
    }
}
