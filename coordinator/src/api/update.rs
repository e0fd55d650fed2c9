//! `UpdateJob`: what of a job's spec a mask names.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
    job_spec::AnySpec,
    v1,
};

use super::jobs::check_request_id;
use crate::engine::Handle;

/// What may change; `labels` also one by one.
const PATHS: &str = "priority, queue, preemptible, labels, labels.KEY, min_ranks, max_ranks, ranks";

/// Changes a job.
pub async fn update(handle: &Handle, request: v1::UpdateJobRequest) -> Result<v1::Job, Failure> {
    check_request_id(&request.request_id)?;
    let mask = request.update_mask.unwrap_or_default();
    let wanted = request.spec.unwrap_or_default();
    if mask.paths.is_empty() {
        return Err(refused(format!("update_mask: names nothing: give one or more of {PATHS}")));
    }
    let edit = |known: &v1::JobSpec| {
        let mut spec = known.clone();
        for path in &mask.paths {
            lay_over(&mut spec, &wanted, path)?;
        }
        follow_ranks(&mut spec, known, &mask.paths);
        Ok(AnySpec::check(&spec)?)
    };
    handle.update_job(&JobId::new(request.job_id), &request.request_id, &request.etag, edit).await
}

fn lay_over(spec: &mut v1::JobSpec, wanted: &v1::JobSpec, path: &str) -> Result<(), Failure> {
    match path {
        "priority" => spec.priority = wanted.priority,
        "queue" => spec.queue.clone_from(&wanted.queue),
        "preemptible" => spec.preemptible = wanted.preemptible,
        "labels" => spec.labels.clone_from(&wanted.labels),
        "min_ranks" => spec.min_ranks = wanted.min_ranks,
        "max_ranks" => spec.max_ranks = wanted.max_ranks,
        "ranks" => spec.ranks = wanted.ranks,
        path => {
            let Some(key) = path.strip_prefix("labels.") else {
                let shown: String = path.chars().take(64).collect();
                let message = format!("update_mask: {shown:?} cannot change: name some of {PATHS}");
                return Err(refused(message));
            };
            spec.labels.remove(key);
            spec.labels.extend(wanted.labels.get(key).map(|label| (key.to_owned(), label.clone())));
        }
    }
    Ok(())
}

/// The bounds of a job's ranks that are the number itself, as by default, stay so when that changes.
fn follow_ranks(spec: &mut v1::JobSpec, known: &v1::JobSpec, paths: &[String]) {
    let names = |name: &str| paths.iter().any(|path| path == name);
    if !names("ranks") {
        return;
    }
    if known.min_ranks == known.ranks && !names("min_ranks") {
        spec.min_ranks = None;
    }
    if known.max_ranks == known.ranks && !names("max_ranks") {
        spec.max_ranks = None;
    }
}

fn refused(message: String) -> Failure {
    Failure::new(Reason::SpecInvalid, message).about("update_mask")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_mask_names_what_changes_and_nothing_else_does() {
        let known = v1::JobSpec {
            priority: Some(3),
            labels: [label("a", "1"), label("b", "2")].into(),
            ..Default::default()
        };
        let wanted =
            v1::JobSpec { name: "other".to_owned(), labels: [label("a", "9")].into(), ..Default::default() };
        let after = |paths: &[&str]| {
            let mut spec = known.clone();
            paths.iter().try_for_each(|path| lay_over(&mut spec, &wanted, path)).map(|()| spec)
        };
        let one_by_one = after(&["labels.a", "labels.b", "labels.c"]).expect("labels may change");
        assert_eq!((one_by_one.labels, one_by_one.priority), ([label("a", "9")].into(), Some(3)));
        assert_eq!(after(&["priority"]).expect("it may change").priority, None, "its default");
        for path in ["name", "recipe", "labels.", "spec.priority", ""] {
            match after(&[path]) {
                Ok(spec) => assert_eq!((path, &spec.labels), ("labels.", &known.labels)),
                Err(failure) => assert_eq!(failure.subject, "update_mask"),
            }
        }
    }

    #[test]
    fn bounds_that_were_not_given_follow_the_number_of_ranks() {
        let known =
            v1::JobSpec { ranks: Some(2), min_ranks: Some(1), max_ranks: Some(2), ..Default::default() };
        let mut spec = v1::JobSpec { ranks: Some(4), ..known.clone() };
        follow_ranks(&mut spec, &known, &["ranks".to_owned()]);
        assert_eq!((spec.min_ranks, spec.max_ranks), (Some(1), None));
    }
}
