//! `kindred chaos`: faults in the processes of this machine while a job runs, to see that it goes on.
//!
//! It speaks to the coordinator as every other command does; what it does to processes it does with signals, with the rights of
//! whoever runs it. So no coordinator and no worker has a way to be asked for a fault, and on a cluster of many nodes it is run
//! where the fault shall be.

use std::time::Duration;

use kindred_proto::v1;
use serde::Serialize;
use tokio::{
    signal,
    task::JoinSet,
    time::{self, Instant},
};

use crate::{
    args::{Chaos, Format, Global},
    client::Client,
    exit::{Error, Exit},
    output,
};
use fault::Fault;
use processes::Here;

mod fault;
mod processes;

const POLL_EVERY: Duration = Duration::from_millis(200);

/// What a fault does shows within this time: later a generation that still goes on was not met by it.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a job may take to be further than before a fault, and processes to come back.
const PATIENCE: Duration = Duration::from_secs(300);

/// A fault that was done, and what came of it.
#[derive(Debug, Serialize)]
struct Done {
    scenario: &'static str,
    target: String,
    /// Seconds until a newer generation was further than the one before; absent when that one went on, or the job ended.
    recovered_after_s: Option<f64>,
}

/// What is known of the job.
struct Watched<'a> {
    global: &'a Global,
    job_id: &'a str,
}

/// Does faults until there were enough, or the job ends.
pub async fn run(global: &Global, args: Chaos) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let watched = Watched { global, job_id: &args.job };
    watched.ask(&client).await?;
    let here = Here::of(&client.address, &args.job)?;
    let mut holds = JoinSet::new();
    let mut done = Vec::new();
    let ended = tokio::select! {
        ended = faults(&args, &watched, &here, &mut holds, &mut done) => ended,
        _ = signal::ctrl_c() => Ok(None),
    };
    // What is held goes on, however this ends.
    holds.shutdown().await;
    conclude(global.output, &args.job, &done, ended?.as_ref())
}

/// The job, if it ended before there were enough of them.
async fn faults(
    args: &Chaos,
    watched: &Watched<'_>,
    here: &Here,
    holds: &mut JoinSet<()>,
    done: &mut Vec<Done>,
) -> Result<Option<v1::Job>, Error> {
    let mut random = fastrand::Rng::with_seed(args.seed);
    output::note(&format!("seed {}: {} faults in {}", args.seed, args.faults, args.job));
    for number in 1..=args.faults {
        time::sleep(args.every.mul_f64(0.5 + random.f64())).await;
        let before = watched.until(|job| job.state() == v1::JobState::Running).await?;
        if before.state().is_terminal() {
            return Ok(Some(before));
        }
        let fault = next_fault(args, here, &mut random).await?;
        output::note(&format!("{number} of {}: {fault}", args.faults));
        let since = Instant::now();
        fault.inject(args.hold, holds)?;
        let after = watched.until(|job| is_further(job, &before, since.elapsed())).await?;
        let (is_over, is_newer) = (after.state().is_terminal(), after.generation > before.generation);
        let took = (!is_over && is_newer).then(|| since.elapsed().as_secs_f64());
        done.push(Done {
            scenario: fault.scenario.label(),
            target: fault.target.to_string(),
            recovered_after_s: took,
        });
        if is_over {
            return Ok(Some(after));
        }
        let (generation, step) = (after.generation, step_of(&after));
        output::note(&match took {
            Some(took) => format!("  generation {generation} is further, at step {step}, after {took:.1} s"),
            None => format!("  generation {generation} goes on, at step {step}"),
        });
    }
    // The last holds end by themselves, and the job meets them.
    while holds.join_next().await.is_some() {}
    Ok(None)
}

/// Waits for something that a fault can be done to.
async fn next_fault(args: &Chaos, here: &Here, random: &mut fastrand::Rng) -> Result<Fault, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(fault) = Fault::choose(&args.scenario, &here.processes()?, random) {
            return Ok(fault);
        }
        if Instant::now() >= deadline {
            let message = "none of this cluster's processes that such a fault could meet runs on this machine: run \
                           `kindred chaos` where they run, as the user that they run as";
            return Err(Error::new(Exit::Other, message));
        }
        time::sleep(POLL_EVERY).await;
    }
}

/// Whether a job is further than before a fault: in a newer generation, or in the same one after enough time to show that the
/// fault did not end it.
fn is_further(job: &v1::Job, before: &v1::Job, passed: Duration) -> bool {
    let is_settled = job.generation > before.generation || passed >= SETTLE;
    is_settled && job.state() == v1::JobState::Running && step_of(job) > step_of(before)
}

fn step_of(job: &v1::Job) -> u64 {
    job.progress.as_ref().map_or(0, |progress| progress.step)
}

impl Watched<'_> {
    async fn ask(&self, client: &Client) -> Result<v1::Job, Error> {
        let request = v1::GetJobRequest { job_id: self.job_id.to_owned() };
        let answer = client.answer(client.jobs().get_job(request)).await?;
        answer.job.ok_or_else(|| Error::new(Exit::Other, "the answer holds no job"))
    }

    /// Waits until `is_so` holds of the job, or it has ended; the coordinator may be away meanwhile.
    async fn until(&self, is_so: impl Fn(&v1::Job) -> bool) -> Result<v1::Job, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = match Client::connect(self.global).await {
                Ok(client) => self.ask(&client).await,
                Err(error) => Err(error),
            };
            let trouble = match asked {
                Ok(job) if is_so(&job) || job.state().is_terminal() => return Ok(job),
                Ok(job) => format!("{} is {} at step {}", job.id, job.state().label(), step_of(&job)),
                Err(error) if error.exit == Exit::Unreachable => error.to_string(),
                Err(error) => return Err(error),
            };
            if Instant::now() >= deadline {
                let message = format!("no recovery within {} s: {trouble}", PATIENCE.as_secs());
                return Err(Error::new(Exit::FailedByInfrastructure, message));
            }
            time::sleep(POLL_EVERY).await;
        }
    }
}

/// Says what was done; the exit code is the job's where it ended.
fn conclude(format: Format, job_id: &str, done: &[Done], ended: Option<&v1::Job>) -> Result<Exit, Error> {
    if format == Format::Table {
        output::result(&summary(job_id, done, ended))?;
    } else {
        let value = serde_json::to_value(done).map_err(std::io::Error::other)?;
        output::document(format, &value)?;
    }
    Ok(ended.and_then(Exit::of).unwrap_or(Exit::Succeeded))
}

fn summary(job_id: &str, done: &[Done], ended: Option<&v1::Job>) -> String {
    let mut times: Vec<f64> = done.iter().filter_map(|fault| fault.recovered_after_s).collect();
    times.sort_by(f64::total_cmp);
    let recovered = match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(longest)) => {
            format!(
                ", {} met by a newer generation, which was further after {median:.1} s (median), {longest:.1} s (longest)",
                times.len()
            )
        }
        _ => String::new(),
    };
    let state = ended.map_or("goes on".to_owned(), |job| format!("is {}", job.state().label()));
    format!("faults: {}{recovered}; {job_id} {state}", done.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_further_in_a_newer_generation_or_when_time_has_passed() {
        let job = |generation, step| v1::Job {
            state: v1::JobState::Running.into(),
            generation,
            progress: Some(v1::Progress { step, ..Default::default() }),
            ..Default::default()
        };
        let before = job(2, 10);
        assert!(!is_further(&job(2, 12), &before, Duration::ZERO), "what was on its way");
        assert!(is_further(&job(2, 12), &before, SETTLE));
        assert!(is_further(&job(3, 11), &before, Duration::ZERO));
        assert!(!is_further(&job(3, 10), &before, SETTLE));
    }

    #[test]
    fn the_summary_says_how_long_recoveries_took_and_how_the_job_is() {
        let done = |recovered_after_s| Done {
            scenario: "kill",
            target: "a rank (process 7)".into(),
            recovered_after_s,
        };
        let faults = [done(Some(2.0)), done(Some(0.5)), done(Some(7.25)), done(None)];
        let job = v1::Job { state: v1::JobState::Succeeded.into(), ..Default::default() };
        assert_eq!(
            summary("job-1", &faults, Some(&job)),
            "faults: 4, 3 met by a newer generation, which was further after 2.0 s (median), 7.2 s (longest); job-1 is \
             succeeded"
        );
        assert_eq!(summary("job-1", &[], None), "faults: 0; job-1 goes on");
    }
}
