//! A job whose nodes are taken from it ends with the bits of one that was left alone.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::service::Service;

const LIMIT: Duration = Duration::from_secs(180);
const N_STEPS: u64 = 300;

impl Service {
    /// Runs until the job is over, in an allocation of its own that is given back then.
    async fn is_over(&self, job: &str, allocation: &str) -> Result<()> {
        let ended =
            || Ok(["COMPLETED", "FAILED"].contains(&self.slurm.field(allocation, "JobState")?.as_str()));
        self.until(&format!("{job} ends and gives its nodes back"), LIMIT, ended).await?;
        ensure!(self.slurm.field(allocation, "JobState")? == "COMPLETED");
        ensure!(self.job(job)?["state"] == "JOB_STATE_SUCCEEDED", "{}", self.job(job)?);
        Ok(())
    }

    /// Waits until a generation of the job has taken a step.
    async fn trains_in(&self, job: &str, generation: u64) -> Result<()> {
        let trains = || {
            let job = self.job(job)?;
            let Some(newest) = job["ledger"]["intervals"].as_array().and_then(|all| all.last()) else {
                return Ok(false);
            };
            let (first, last) = (number(&newest["first_step"])?, number(&newest["last_step"])?);
            Ok(number(&newest["generation"])? == generation && last > first + 10)
        };
        self.until(&format!("{job} trains in generation {generation}"), LIMIT, trains).await
    }

    async fn runs_again(&self, allocation: &str, n_restarts: u32) -> Result<()> {
        let again = || Ok(self.slurm.field(allocation, "Restarts")? == n_restarts.to_string());
        self.until("Slurm starts it again", LIMIT, again).await
    }
}

/// First a job of higher priority takes the nodes, with notice; then they are taken at once.
#[tokio::test]
async fn a_preempted_job_ends_with_the_same_bits() -> Result<()> {
    let service = Service::start().await?;
    let straight = service.submit("straight", N_STEPS)?;
    let allocation = service.allocate(&straight)?;
    service.is_over(&straight, &allocation).await?;

    let preempted = service.submit("preempted", N_STEPS)?;
    let allocation = service.allocate(&preempted)?;
    service.trains_in(&preempted, 1).await?;
    service.slurm.ask(
        "sbatch",
        &["--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true"],
    )?;
    service.runs_again(&allocation, 1).await?;
    service.trains_in(&preempted, 2).await?;
    service.slurm.ask("scontrol", &["requeue", &allocation])?;
    service.runs_again(&allocation, 2).await?;
    service.is_over(&preempted, &allocation).await?;

    let job = service.job(&preempted)?;
    ensure!(number(&job["generation"])? == 3, "it was placed three times: {job}");
    ensure!(number(&job["ledger"]["recomputed_steps"])? == 0, "no step is taken twice: {job}");
    ensure!(service.left(&straight)? == service.left(&preempted)?, "other bits than without preemption");
    service.finish()
}

/// Slurm's own `scancel` ends the workers for good: nobody asks for nodes again.
#[tokio::test]
async fn a_cancelled_allocation_stays_cancelled() -> Result<()> {
    let service = Service::start().await?;
    let job = service.submit("left", 10_000)?;
    let allocation = service.allocate(&job)?;
    service.trains_in(&job, 1).await?;
    service.slurm.ask("scancel", &[&allocation])?;
    let over = || Ok(service.slurm.field(&allocation, "JobState")? == "CANCELLED");
    service.until("the allocation is over", LIMIT, over).await?;
    let waits = || Ok(service.job(&job)?["newest_checkpoint"]["step"] != serde_json::Value::Null);
    service.until("the job wrote a checkpoint", LIMIT, waits).await?;
    ensure!(service.slurm.field(&allocation, "Restarts")? == "0");
    service.finish()
}

/// 64-bit numbers are text in the API's JSON.
fn number(value: &serde_json::Value) -> Result<u64> {
    let text = value.as_str().and_then(|text| text.parse().ok());
    value.as_u64().or(text).with_context(|| format!("no number: {value}"))
}
