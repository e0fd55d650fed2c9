//! `kindred submit`: a file becomes a job.

use std::{fs, io, path::Path};

use kindred_proto::{
    job_spec::{self, AnySpec, SpecError},
    v1,
};
use uuid::Uuid;

use crate::{
    args::{Format, Global, HandIn, Submit},
    client::Client,
    exit::{self, Error, Exit},
    explain, output, watch,
};

/// Checks the file here first, so that a mistake needs no coordinator to be found.
pub async fn run(global: &Global, args: Submit) -> Result<Exit, Error> {
    let spec = read(&args.file, &args.hand_in.overrides)?;
    hand_in(global, v1::CreateJobRequest { spec: Some(spec), ..Default::default() }, args.hand_in).await
}

/// Hands in a checked job, prints its id, and follows it if asked to.
pub async fn hand_in(global: &Global, request: v1::CreateJobRequest, args: HandIn) -> Result<Exit, Error> {
    if args.dry_run {
        return dry_run(global, request, args.explain).await;
    }
    let mut client = Client::connect(global).await?;
    let request_id = args.request_id.unwrap_or_else(Uuid::new_v4).to_string();
    let job = create(&mut client, v1::CreateJobRequest { request_id, ..request }).await?;
    if global.output == Format::Table {
        output::result(&job.id)?;
    }
    if args.watch {
        return watch::follow(global, client, job.id).await;
    }
    if global.output != Format::Table {
        output::document(global.output, &output::value(&job, "Job"))?;
    }
    Ok(Exit::Succeeded)
}

/// Prints the job with every default, as the coordinator sees it, or as this program does when there is none; or what would
/// become of it now, which only the coordinator knows.
async fn dry_run(global: &Global, request: v1::CreateJobRequest, explains: bool) -> Result<Exit, Error> {
    let spec = match Client::connect(global).await {
        Ok(client) => {
            let request = v1::CreateJobRequest { validate_only: true, ..request };
            let answer = client.answer(client.jobs().create_job(request)).await?;
            if explains {
                explain::show(global.output, &answer.explanation.unwrap_or_default())?;
                return Ok(Exit::Succeeded);
            }
            answer.job.and_then(|job| job.spec).unwrap_or_default()
        }
        Err(error) if error.exit == Exit::Unreachable && !explains => {
            output::note(&format!(
                "checked here only, since no coordinator answers at {}",
                global.coordinator
            ));
            request.spec.unwrap_or_default()
        }
        Err(error) => return Err(error),
    };
    match global.output {
        Format::Json => output::document(Format::Json, &output::value(&spec, "JobSpec"))?,
        _ => output::result(job_spec::to_yaml(&spec).trim_end())?,
    }
    Ok(Exit::Succeeded)
}

/// Hands the job in; again, under the same request id, where the coordinator went away over it.
async fn create(client: &mut Client, request: v1::CreateJobRequest) -> Result<v1::Job, Error> {
    let may_repeat = !request.request_id.is_empty();
    let answer = match client.call(client.jobs().create_job(request.clone())).await {
        Err(status) if may_repeat && exit::is_lost(&status) => {
            *client = client.after_loss(&status).await?;
            client.answer(client.jobs().create_job(request)).await?
        }
        answered => answered.map_err(|status| client.error(&status))?,
    };
    answer.job.ok_or_else(|| Error::new(Exit::Other, "the coordinator answered without a job"))
}

/// The job in a file, with every default filled in.
pub fn read(file: &Path, overrides: &[String]) -> Result<v1::JobSpec, Error> {
    check(job_spec::from_yaml(&text_of(file)?, overrides), &file.display().to_string())
}

/// The text of a file, or of standard input for `-`.
pub fn text_of(file: &Path) -> Result<String, Error> {
    let text = match file.as_os_str() == "-" {
        true => io::read_to_string(io::stdin()),
        false => fs::read_to_string(file),
    };
    text.map_err(|error| Error::invalid(format!("cannot read {}: {error}", file.display())))
}

/// What was read from `name`, with every default filled in.
pub fn check(read: Result<v1::JobSpec, SpecError>, name: &str) -> Result<v1::JobSpec, Error> {
    match read.and_then(|wire| AnySpec::check(&wire)) {
        Ok(spec) => Ok(spec.to_wire()),
        Err(error) => {
            let faults =
                error.violations.iter().map(|fault| format!("\n  {}: {}", fault.field, fault.message));
            Err(Error::invalid(format!("{name} does not describe a job:{}", faults.collect::<String>())))
        }
    }
}
