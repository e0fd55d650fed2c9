//! `kindred checkpoints`: what a job can start again from.

use kindred_proto::v1;

use crate::{
    args::{Global, JobArg},
    client::Client,
    exit::{Error, Exit},
    output::{self, Table},
    text,
};

/// Lists a job's checkpoints, newest first.
pub async fn run(global: &Global, args: JobArg) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let mut request = v1::ListCheckpointsRequest { job_id: args.job, ..Default::default() };
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
    let mut table = Table::new(["ID", "STEP", "EPOCH", "SIZE", "KNN", "WRITTEN", "NODE", "PATH"]);
    for checkpoint in checkpoints {
        table.row([
            checkpoint.id.clone(),
            checkpoint.step.to_string(),
            format!("{:.2}", checkpoint.epoch),
            text::size(checkpoint.size_bytes),
            text::percent(checkpoint.knn_accuracy_percent),
            text::time(checkpoint.time_unix_ms),
            checkpoint.node_id.clone(),
            checkpoint.path.clone(),
        ]);
    }
    table
}
