//! `kindred jobs`, `get`, `cancel`, `suspend` and `resume`.

use kindred_proto::{
    listing::{Filter, JOB_COLUMNS, Order, quoted},
    v1,
};
use uuid::Uuid;

use crate::{
    accounts,
    args::{Cancel, Format, Global, JobArg, Jobs, Suspend},
    client::Client,
    exit::{Error, Exit},
    output::{self, Table},
    progress, text,
};

const PAGE_SIZE: u32 = 100;

/// Lists jobs, newest first or as asked for.
pub async fn list(global: &Global, args: Jobs) -> Result<Exit, Error> {
    let request = request(&args)?;
    let client = Client::connect(global).await?;
    let jobs = pages(&client, request, args.limit).await?;
    output::list(global.output, &jobs, "Job", || table(&jobs))?;
    Ok(Exit::Succeeded)
}

/// Shows one job.
pub async fn get(global: &Global, args: JobArg) -> Result<Exit, Error> {
    let job = find(&Client::connect(global).await?, args.job).await?;
    show(global.output, &job)
}

/// One job.
pub async fn find(client: &Client, job_id: String) -> Result<v1::Job, Error> {
    let answer = client.answer(client.jobs().get_job(v1::GetJobRequest { job_id })).await?;
    Ok(answer.job.unwrap_or_default())
}

/// Cancels a job; it is cancelled once its ranks are gone.
pub async fn cancel(global: &Global, args: Cancel) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let request_id = Uuid::new_v4().to_string();
    let request = v1::CancelJobRequest { job_id: args.job, reason: args.reason, request_id };
    let job = client.answer(client.jobs().cancel_job(request)).await?.job.unwrap_or_default();
    show_state(global.output, &job)
}

/// Pauses a job; it is suspended once its ranks have written a checkpoint and are gone.
pub async fn suspend(global: &Global, args: Suspend) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let request_id = Uuid::new_v4().to_string();
    let request = v1::SuspendJobRequest { job_id: args.job, reason: args.reason, request_id };
    let job = client.answer(client.jobs().suspend_job(request)).await?.job.unwrap_or_default();
    show_state(global.output, &job)
}

/// Lets a suspended job go on.
pub async fn resume(global: &Global, args: JobArg) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let request = v1::ResumeJobRequest { job_id: args.job, request_id: Uuid::new_v4().to_string() };
    let job = client.answer(client.jobs().resume_job(request)).await?.job.unwrap_or_default();
    show_state(global.output, &job)
}

fn show_state(format: Format, job: &v1::Job) -> Result<Exit, Error> {
    match format {
        Format::Table => output::result(&format!("{} is {}", job.id, job.state().label()))?,
        format => output::document(format, &output::value(job, "Job"))?,
    }
    Ok(Exit::Succeeded)
}

/// What is asked for; a mistake is told before anything is sent.
fn request(args: &Jobs) -> Result<v1::ListJobsRequest, Error> {
    let states = args.state.iter().map(|name| state(name)).collect::<Result<Vec<i32>, Error>>()?;
    Filter::parse(&args.filter, JOB_COLUMNS).map_err(|error| Error::invalid(format!("--filter: {error}")))?;
    Order::parse(&args.order, JOB_COLUMNS).map_err(|error| Error::invalid(format!("--order: {error}")))?;
    let project = args.project.iter().map(|project| format!("project = {}", quoted(project)));
    let labels = args.labels.iter().map(|(key, value)| format!("labels.{} = {}", quoted(key), quoted(value)));
    let own = Some(args.filter.clone()).filter(|filter| !filter.trim().is_empty());
    let terms: Vec<String> = own.into_iter().chain(project).chain(labels).collect();
    let (filter, order_by) = (terms.join(" AND "), args.order.clone());
    Ok(v1::ListJobsRequest { page_size: PAGE_SIZE, states, filter, order_by, ..Default::default() })
}

async fn pages(
    client: &Client,
    mut request: v1::ListJobsRequest,
    limit: usize,
) -> Result<Vec<v1::Job>, Error> {
    let mut jobs = Vec::new();
    loop {
        let page = client.answer(client.jobs().list_jobs(request.clone())).await?;
        jobs.extend(page.jobs);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || jobs.len() >= limit {
            jobs.truncate(limit);
            return Ok(jobs);
        }
    }
}

fn state(name: &str) -> Result<i32, Error> {
    let known = v1::JobState::ALL;
    let found = known.iter().find(|state| state.label() == name.to_lowercase());
    found.map(|&state| state.into()).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(|state| state.label()).collect();
        Error::invalid(format!("--state: {name:?} is none of {}", names.join(", ")))
    })
}

fn table(jobs: &[v1::Job]) -> Table {
    let mut table = Table::new(["ID", "NAME", "STATE", "STEP", "EPOCH", "KNN", "AGE", "REASON"]);
    for job in jobs {
        let progress = job.progress.clone().unwrap_or_default();
        let has_steps = progress.total_steps > 0;
        let of = |text: String| if has_steps { text } else { String::new() };
        table.row([
            job.id.clone(),
            job.spec.as_ref().map(|spec| spec.name.clone()).unwrap_or_default(),
            job.state().label(),
            of(format!("{}/{}", progress.step, progress.total_steps)),
            of(progress::epoch(&progress).unwrap_or_default()),
            text::percent(progress.knn_accuracy_percent),
            text::age(job.create_time.as_ref()),
            reason(job),
        ]);
    }
    table
}

fn show(format: Format, job: &v1::Job) -> Result<Exit, Error> {
    match format {
        Format::Table => output::result(&details(job))?,
        format => output::document(format, &output::value(job, "Job"))?,
    }
    Ok(Exit::Succeeded)
}

/// One line per thing that is known.
fn details(job: &v1::Job) -> String {
    let time =
        |time: &Option<prost_types::Timestamp>| time.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut lines = vec![
        ("job", job.id.clone()),
        ("name", job.spec.as_ref().map(|spec| spec.name.clone()).unwrap_or_default()),
        ("state", job.state().label()),
        ("reason", reason(job)),
        ("generation", job.generation.to_string()),
        ("ranks", placements(&job.placements)),
        ("progress", job.progress.as_ref().map(progress::line).unwrap_or_default()),
        ("checkpoint", job.newest_checkpoint.as_ref().map(|newest| newest.id.clone()).unwrap_or_default()),
        ("forked from", job.forked_from.as_ref().map(origin).unwrap_or_default()),
    ];
    lines.extend(accounts::lines(job));
    lines.extend([
        ("created", time(&job.create_time)),
        ("started", time(&job.start_time)),
        ("ended", time(&job.end_time)),
        ("etag", job.etag.clone()),
        ("encoder", job.result.as_ref().map(|result| result.encoder_path.clone()).unwrap_or_default()),
    ]);
    let known = lines.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| format!("{name:<12}{value}")).collect::<Vec<_>>().join("\n")
}

fn origin(source: &v1::Checkpoint) -> String {
    format!("{} of {}", source.id, source.job_id)
}

fn reason(job: &v1::Job) -> String {
    job.failure.as_ref().map_or_else(|| job.reason.clone(), text::failure)
}

fn placements(placements: &[v1::Placement]) -> String {
    let places = placements
        .iter()
        .map(|place| format!("{} on {}/{}", place.rank, place.node_name, place.device_index));
    places.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_named_as_it_is_shown() {
        assert_eq!(state("Running").expect("known"), i32::from(v1::JobState::Running));
        let error = state("runing").expect_err("misspelt");
        assert!(error.to_string().contains("pending, starting, running"), "{error}");
    }

    #[test]
    fn options_become_terms_of_one_filter() {
        let args = Jobs {
            state: vec!["running".into()],
            project: Some("vision".into()),
            labels: vec![("k8s.io/team".into(), "a b".into())],
            filter: "priority > 0".into(),
            order: "priority desc".into(),
            limit: 5,
        };
        let request = request(&args).expect("all is well");
        assert_eq!(request.filter, r#"priority > 0 AND project = "vision" AND labels."k8s.io/team" = "a b""#);
        Filter::parse(&request.filter, JOB_COLUMNS).expect("it is understood");
        let wrong = Jobs { order: "prio".into(), ..args };
        let error = self::request(&wrong).expect_err("no such field").to_string();
        assert!(error.starts_with("--order: at character 1: there is no field `prio`"), "{error}");
    }

    #[test]
    fn details_leave_out_what_is_not_known() {
        let job = v1::Job {
            id: "job-1".into(),
            state: v1::JobState::Pending.into(),
            reason: "needs 2 ranks, 1 free".into(),
            ..Default::default()
        };
        let expected =
            "job         job-1\nstate       pending\nreason      needs 2 ranks, 1 free\ngeneration  0";
        assert_eq!(details(&job), expected);
    }
}
