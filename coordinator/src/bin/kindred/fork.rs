//! `kindred fork`: a new job that starts from a checkpoint of another one.

use kindred_proto::{job_spec, v1};

use crate::{
    args::{Fork, Global},
    client::Client,
    exit::Error,
    exit::Exit,
    jobs,
    submit::{check, hand_in},
};

/// Hands in the other job's spec with every default that it had, but for what is set anew.
pub async fn run(global: &Global, args: Fork) -> Result<Exit, Error> {
    let source = jobs::find(&Client::connect(global).await?, args.job).await?;
    let text = job_spec::to_yaml(&source.spec.unwrap_or_default());
    let spec = check(job_spec::from_yaml(&text, &args.hand_in.overrides), &source.id)?;
    let checkpoint_id = args.checkpoint.unwrap_or_default();
    let fork_of = v1::create_job_request::ForkOf { job_id: source.id, checkpoint_id };
    let request = v1::CreateJobRequest { spec: Some(spec), fork_of: Some(fork_of), ..Default::default() };
    hand_in(global, request, args.hand_in).await
}
