//! `kindred checkpoints`: what a job can start again from.

use kindred_proto::v1;
use uuid::Uuid;

use crate::{
    args::{CheckpointAction, CheckpointArg, Checkpoints, Format, Global},
    client::Client,
    exit::{Error, Exit},
    output::{self, Table},
    text,
};

/// Lists a job's checkpoints, or pins one.
pub async fn run(global: &Global, args: Checkpoints) -> Result<Exit, Error> {
    match args.action {
        Some(CheckpointAction::Pin(of)) => pin(global, of, false).await,
        Some(CheckpointAction::Unpin(of)) => pin(global, of, true).await,
        None => list(global, args.job.unwrap_or_default()).await,
    }
}

async fn pin(global: &Global, of: CheckpointArg, unpin: bool) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let CheckpointArg { job: job_id, checkpoint: checkpoint_id } = of;
    let request_id = Uuid::new_v4().to_string();
    let request = v1::PinCheckpointRequest { job_id, checkpoint_id, unpin, request_id };
    let answer = client.answer(client.jobs().pin_checkpoint(request)).await?;
    let checkpoint = answer.checkpoint.unwrap_or_default();
    let what = if checkpoint.pinned { "is pinned" } else { "is left to the job's policy" };
    match global.output {
        Format::Table => output::result(&format!("{} of {} {what}", checkpoint.id, checkpoint.job_id))?,
        format => output::document(format, &output::value(&checkpoint, "Checkpoint"))?,
    }
    Ok(Exit::Succeeded)
}

/// Newest first.
async fn list(global: &Global, job_id: String) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let mut request = v1::ListCheckpointsRequest { job_id, ..Default::default() };
    let mut checkpoints = Vec::new();
    loop {
        let page = client.answer(client.jobs().list_checkpoints(request.clone())).await?;
        checkpoints.extend(page.checkpoints);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    output::list(global.output, &checkpoints, "Checkpoint", || table(&checkpoints))?;
    Ok(Exit::Succeeded)
}

fn table(checkpoints: &[v1::Checkpoint]) -> Table {
    let mut table =
        Table::new(["ID", "STEP", "EPOCH", "SIZE", "KNN", "PINNED", "WRITTEN", "NODE", "PATH", "URL"]);
    for checkpoint in checkpoints {
        table.row([
            checkpoint.id.clone(),
            checkpoint.step.to_string(),
            format!("{:.2}", checkpoint.epoch),
            text::size(checkpoint.size_bytes),
            text::percent(checkpoint.knn_accuracy_percent),
            if checkpoint.pinned { "yes".into() } else { String::new() },
            text::time(checkpoint.time_unix_ms),
            checkpoint.node_id.clone(),
            checkpoint.path.clone(),
            checkpoint.url.clone(),
        ]);
    }
    table
}
