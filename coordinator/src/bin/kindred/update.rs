//! `kindred update`: changes a job that was handed in.

use kindred_proto::v1;
use prost_types::FieldMask;
use uuid::Uuid;

use crate::{
    args::{Format, Global, Update},
    client::Client,
    exit::{Error, Exit},
    output,
};

/// Changes what the options name, and nothing else.
pub async fn run(global: &Global, args: Update) -> Result<Exit, Error> {
    let request = request(args)?;
    let client = Client::connect(global).await?;
    let job = client.answer(client.jobs().update_job(request)).await?.job.unwrap_or_default();
    match global.output {
        Format::Table => output::result(&line(&job))?,
        format => output::document(format, &output::value(&job, "Job"))?,
    }
    Ok(Exit::Succeeded)
}

fn request(args: Update) -> Result<v1::UpdateJobRequest, Error> {
    let mut paths: Vec<String> = vec![];
    let mut name = |is_given: bool, path: &str| paths.extend(is_given.then(|| path.to_owned()));
    name(args.priority.is_some(), "priority");
    name(args.queue.is_some(), "queue");
    name(args.preemptible.is_some(), "preemptible");
    name(args.ranks.is_some(), "ranks");
    name(args.min_ranks.is_some(), "min_ranks");
    name(args.max_ranks.is_some(), "max_ranks");
    let keys = args.labels.iter().map(|(key, _)| key).chain(&args.unlabel);
    keys.for_each(|key| name(true, &format!("labels.{key}")));
    if paths.is_empty() {
        return Err(Error::invalid("nothing is to change: give an option such as --priority 5"));
    }
    let spec = v1::JobSpec {
        priority: args.priority,
        queue: args.queue.unwrap_or_default(),
        preemptible: args.preemptible,
        ranks: args.ranks,
        min_ranks: args.min_ranks,
        max_ranks: args.max_ranks,
        labels: args.labels.into_iter().collect(),
        ..Default::default()
    };
    Ok(v1::UpdateJobRequest {
        job_id: args.job,
        spec: Some(spec),
        update_mask: Some(FieldMask { paths }),
        etag: args.etag,
        request_id: Uuid::new_v4().to_string(),
    })
}

/// What the job is now, as far as it can be changed.
fn line(job: &v1::Job) -> String {
    let spec = job.spec.clone().unwrap_or_default();
    let (ranks, least, most) = (spec.ranks(), spec.min_ranks(), spec.max_ranks());
    let ranks = if least == most { ranks.to_string() } else { format!("{ranks} ({least} to {most})") };
    format!(
        "{} is {}: priority {}, queue {}, ranks {ranks}, etag {}",
        job.id,
        job.state().label(),
        spec.priority(),
        spec.queue,
        job.etag
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Update {
        Update {
            job: "job-1".into(),
            priority: None,
            queue: None,
            preemptible: None,
            ranks: None,
            min_ranks: None,
            max_ranks: None,
            labels: vec![],
            unlabel: vec![],
            etag: String::new(),
        }
    }

    #[test]
    fn the_mask_names_what_was_given() {
        let labels = vec![("team".to_owned(), "vision".to_owned())];
        let args = Update { priority: Some(-5), labels, unlabel: vec!["old".into()], ..nothing() };
        let request = request(args).expect("something changes");
        assert_eq!(request.update_mask.expect("set").paths, ["priority", "labels.team", "labels.old"]);
        let spec = request.spec.expect("set");
        assert_eq!((spec.priority, spec.labels.len()), (Some(-5), 1));
        self::request(nothing()).expect_err("nothing changes");
    }
}
