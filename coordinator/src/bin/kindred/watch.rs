//! `kindred watch`: follows a job to its end, through restarts of the coordinator.

use std::time::Duration;

use kindred_proto::v1;
use tokio::{signal, time};
use tonic::Status;

use crate::{
    args::{Format, Global, JobArg},
    client::Client,
    exit::{Error, Exit},
    outage::Outage,
    output,
    progress::{CURVE_LEN, Display},
    sparkline::curve,
    text,
};

/// The coordinator repeats itself every 15 s, so a longer silence is a lost link.
const SILENCE: Duration = Duration::from_secs(45);

/// Follows the job; the exit code says how it ended.
pub async fn run(global: &Global, args: JobArg) -> Result<Exit, Error> {
    follow(global, Client::connect(global).await?, args.job).await
}

/// Follows a job over a link that is there; Ctrl-C ends the watching, not the job.
pub async fn follow(global: &Global, client: Client, job_id: String) -> Result<Exit, Error> {
    let mut display = Display::for_terminal();
    let ended = tokio::select! {
        ended = until_end(client, &job_id, &mut display) => ended,
        _ = signal::ctrl_c() => {
            display.clear();
            output::note(&format!("{job_id} goes on; see it again with `kindred watch {job_id}`"));
            return Ok(Exit::Interrupted);
        }
    };
    display.clear();
    conclude(global.output, &ended?)
}

/// Reconnects as often as needed and gives the job once it has ended.
async fn until_end(mut client: Client, job_id: &str, display: &mut Display) -> Result<v1::Job, Error> {
    let mut outage = Outage::default();
    loop {
        match one_stream(&client, job_id, display, &mut outage).await {
            Ok(job) => return Ok(job),
            Err(status) => client = outage.wait(client, &status, |text| display.say(text)).await?,
        }
    }
}

/// Shows one stream; fails with the status that ended it when the job had not.
async fn one_stream(
    client: &Client,
    job_id: &str,
    display: &mut Display,
    outage: &mut Outage,
) -> Result<v1::Job, Status> {
    let request = v1::WatchJobRequest { job_id: job_id.to_owned(), ..Default::default() };
    let mut jobs = client.jobs().watch_job(request).await?.into_inner();
    loop {
        let silent = |_| Status::unavailable("nothing heard for too long");
        let ended = || Status::unavailable("the stream ended before the job");
        let answer = time::timeout(SILENCE, jobs.message()).await.map_err(silent)??;
        let job = answer.and_then(|answer| answer.job).ok_or_else(ended)?;
        outage.end(|text| display.say(text));
        if display.wants_curve() {
            display.show_curve(&curve(client, job_id, "loss", CURVE_LEN).await.unwrap_or_default());
        }
        display.show(&job);
        if job.state().is_terminal() {
            return Ok(job);
        }
    }
}

/// Prints how the job ended: results to standard output, the rest to standard error.
fn conclude(format: Format, job: &v1::Job) -> Result<Exit, Error> {
    let exit = Exit::of(job).ok_or_else(|| Error::new(Exit::Other, format!("{} has not ended", job.id)))?;
    if format != Format::Table {
        output::document(format, &output::value(job, "Job"))?;
        return Ok(exit);
    }
    match exit {
        Exit::Succeeded => output::result(&results(job).join("\n"))?,
        Exit::Cancelled => output::note(&format!("{} was cancelled{}", job.id, because(&job.reason))),
        _ => {
            let why = job.failure.as_ref().map(text::failure).unwrap_or_default();
            output::note(&format!("{} failed{}", job.id, because(&why)));
            output::note(&format!("see more with `kindred logs {} --level warn`", job.id));
        }
    }
    Ok(exit)
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

/// `name=value` for every metric by name, then `encoder=PATH`.
fn results(job: &v1::Job) -> Vec<String> {
    let result = job.result.clone().unwrap_or_default();
    let mut lines: Vec<String> = result.metrics.iter().map(|(name, value)| metric(name, *value)).collect();
    lines.sort_unstable();
    lines.push(format!("encoder={}", result.encoder_path));
    lines
}

fn metric(name: &str, value: f64) -> String {
    if name.ends_with("_percent") { format!("{name}={value:.2}") } else { format!("{name}={value}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_end_with_the_encoder() {
        let metrics =
            [("linear_accuracy_percent", 86.238), ("alignment", 0.25), ("knn_accuracy_percent", 84.7)];
        let job = v1::Job {
            result: Some(v1::JobResult {
                metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
                encoder_path: "/jobs/job-1/encoder/encoder.safetensors".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let expected = [
            "alignment=0.25",
            "knn_accuracy_percent=84.70",
            "linear_accuracy_percent=86.24",
            "encoder=/jobs/job-1/encoder/encoder.safetensors",
        ];
        assert_eq!(results(&job), expected);
    }
}
