//! `kindred eval`: measures a finished encoder, in a job of its own.

use std::path::{Path, absolute};

use kindred_proto::{job_spec, v1};

use crate::{
    args::{Eval, Global},
    client::Client,
    exit::{Error, Exit},
    jobs,
    submit::{check, hand_in, text_of},
};

/// Fills in what the encoder's job says and the file does not, then hands the evaluation in.
pub async fn run(global: &Global, args: Eval) -> Result<Exit, Error> {
    let (name, mut spec) = match &args.file {
        Some(file) => {
            let read = job_spec::from_yaml(&text_of(file)?, &[]);
            (file.display().to_string(), read.map_err(|error| Error::invalid(error.to_string()))?)
        }
        None => ("the evaluation".to_owned(), v1::JobSpec::default()),
    };
    if is_job_id(&args.encoder) {
        let job = jobs::find(&Client::connect(global).await?, args.encoder).await?;
        follow_job(&mut spec, &job)?;
    } else {
        spec.evaluate.get_or_insert_default().encoder = path_on_nodes(&args.encoder);
    }
    if spec.name.is_empty() {
        spec.name = "evaluation".into();
    }
    let data = args.data.iter().map(|data| override_of_data(data));
    let overrides: Vec<String> = data.chain(args.hand_in.overrides.iter().cloned()).collect();
    let spec = check(job_spec::from_yaml(&job_spec::to_yaml(&spec), &overrides), &name)?;
    hand_in(global, v1::CreateJobRequest { spec: Some(spec), ..Default::default() }, args.hand_in).await
}

/// `job-7`; anything else is a path.
fn is_job_id(text: &str) -> bool {
    let number = text.strip_prefix("job-");
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A file that is here is named in full; another path is one on the nodes.
fn path_on_nodes(given: &str) -> String {
    let here = Path::new(given).exists().then(|| absolute(given).ok()).flatten();
    here.map_or_else(|| given.to_owned(), |path| path.display().to_string())
}

/// Takes the encoder, and, where the spec does not say them, images, ranks and device from a job that left one. Of a
/// subset that it was trained on, all images are taken, and the subset is named.
fn follow_job(spec: &mut v1::JobSpec, job: &v1::Job) -> Result<(), Error> {
    let encoder = job.result.as_ref().map(|result| result.encoder_path.clone()).unwrap_or_default();
    if encoder.is_empty() {
        let (id, state) = (&job.id, job.state().label());
        return Err(Error::invalid(format!("{id} has left no encoder: it is {state}, not succeeded")));
    }
    let of_job = job.spec.clone().unwrap_or_default();
    let evaluate = spec.evaluate.get_or_insert_default();
    evaluate.encoder = encoder;
    if evaluate.data.is_none() {
        let recipe = of_job.recipe.and_then(|recipe| recipe.data);
        let data = recipe.or(of_job.evaluate.and_then(|evaluate| evaluate.data)).unwrap_or_default();
        evaluate.trained_on = evaluate.trained_on.or(data.subset);
        evaluate.data = Some(v1::DataSource { mean: vec![], std: vec![], subset: None, ..data });
    }
    spec.ranks = spec.ranks.or(of_job.ranks);
    if spec.device == 0 {
        spec.device = of_job.device;
    }
    if spec.name.is_empty() {
        let name: String = of_job.name.chars().take(58).collect();
        spec.name = format!("eval-{}", name.trim_end_matches('-'));
    }
    Ok(())
}

/// `fashion_mnist` is short for `{fashion_mnist: {}}`.
fn override_of_data(data: &str) -> String {
    let is_word = data.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word { format!("evaluate.data={{{data}: {{}}}}") } else { format!("evaluate.data={data}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_from_a_path() {
        assert!(is_job_id("job-7"));
        for path in ["job-", "job-7/encoder.safetensors", "jobs", "encoder.safetensors", "job-x"] {
            assert!(!is_job_id(path), "{path}");
        }
    }

    #[test]
    fn a_word_is_a_data_set_without_settings() {
        assert_eq!(override_of_data("fashion_mnist"), "evaluate.data={fashion_mnist: {}}");
        assert_eq!(override_of_data("{a: b}"), "evaluate.data={a: b}");
    }

    #[test]
    fn the_spec_goes_before_the_job() {
        let read = |text: &str| job_spec::from_yaml(text, &[]).expect("the text is a job");
        let recipe = "recipe: {data: {fashion_mnist: {root: r}, mean: [0.5], subset: {long_tail: {}}}}";
        let job = v1::Job {
            spec: Some(read(&format!("name: long\nranks: 2\ndevice: cuda\n{recipe}"))),
            result: Some(v1::JobResult { encoder_path: "/e".into(), ..Default::default() }),
            ..Default::default()
        };
        let mut spec = v1::JobSpec::default();
        follow_job(&mut spec, &job).expect("it left an encoder");
        let all = "name: eval-long\nranks: 2\ndevice: cuda\n\
                   evaluate: {encoder: /e, data: {fashion_mnist: {root: r}}, trained_on: {long_tail: {}}}";
        assert_eq!(spec, read(all));
        let mut spec = read("name: own\nranks: 1\ndevice: cpu\nevaluate: {data: {fashion_mnist: {root: s}}}");
        let mut expected = spec.clone();
        expected.evaluate.get_or_insert_default().encoder = "/e".into();
        follow_job(&mut spec, &job).expect("it left an encoder");
        assert_eq!(spec, expected);
        let unfinished =
            v1::Job { id: "job-3".into(), state: v1::JobState::Running.into(), ..Default::default() };
        let error = follow_job(&mut spec, &unfinished).expect_err("it did not");
        assert_eq!(error.to_string(), "job-3 has left no encoder: it is running, not succeeded");
    }
}
