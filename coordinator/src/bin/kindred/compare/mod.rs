//! `kindred compare`: jobs side by side.

use std::collections::BTreeSet;

use kindred_proto::v1;
use serde_json::{Value, json};

use crate::{
    args::{Compare, Format, Global},
    client::Client,
    exit::{Error, Exit},
    jobs, metrics,
    output::{self, Table},
};

mod differences;
mod plot;

use differences::{Difference, differences};
use plot::{Chart, Curve};

/// Prints figures and differences of recipes, and draws curves if asked to.
pub async fn run(global: &Global, args: Compare) -> Result<Exit, Error> {
    let format = args.plot.as_deref().map(plot::Format::of).transpose()?;
    let client = Client::connect(global).await?;
    let mut jobs = Vec::with_capacity(args.jobs.len());
    for job_id in args.jobs {
        jobs.push(jobs::find(&client, job_id).await?);
    }
    match global.output {
        Format::Table => output::result(&tables(&jobs))?,
        other => output::document(other, &document(&jobs))?,
    }
    if let (Some(path), Some(format)) = (args.plot, format) {
        let charts = charts(&client, &jobs, &args.series).await?;
        plot::write(&path, format, &charts)?;
    }
    Ok(Exit::Succeeded)
}

fn tables(jobs: &[v1::Job]) -> String {
    let headings = || std::iter::once(String::new()).chain(jobs.iter().map(|job| job.id.clone()));
    let mut figures = Table::new(headings());
    let of_jobs = |name: &str, value: fn(&v1::Job) -> String| row(name, jobs.iter().map(value));
    figures.row(of_jobs("name", name));
    figures.row(of_jobs("state", |job| job.state().label()));
    for metric in metric_names(jobs) {
        let value = |job| figure(job, &metric).map(|value| format!("{value:.4}")).unwrap_or_default();
        figures.row(row(&metric, jobs.iter().map(value)));
    }
    let mut settings = Table::new(headings());
    let differences = differences(jobs);
    for Difference { field, values } in &differences {
        settings.row(row(field, values.iter().map(|value| value.as_ref().map(text).unwrap_or_default())));
    }
    if differences.is_empty() { figures.to_string() } else { format!("{figures}\n\n{settings}") }
}

fn row(name: &str, values: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(values).collect()
}

fn document(jobs: &[v1::Job]) -> Value {
    let job = |job: &v1::Job| {
        let metrics: serde_json::Map<_, _> = metric_names(std::slice::from_ref(job))
            .into_iter()
            .map(|name| (name.clone(), json!(figure(job, &name))))
            .collect();
        json!({"id": job.id, "name": name(job), "state": job.state().label(), "metrics": metrics})
    };
    let differences: Vec<_> = differences(jobs)
        .into_iter()
        .map(|difference| json!({"field": difference.field, "values": difference.values}))
        .collect();
    json!({"jobs": jobs.iter().map(job).collect::<Vec<_>>(), "differences": differences})
}

fn name(job: &v1::Job) -> String {
    job.spec.as_ref().map(|spec| spec.name.clone()).unwrap_or_default()
}

fn figure(job: &v1::Job, metric: &str) -> Option<f64> {
    job.result.as_ref()?.metrics.get(metric).copied()
}

fn metric_names(jobs: &[v1::Job]) -> BTreeSet<String> {
    let results = jobs.iter().filter_map(|job| job.result.as_ref());
    results.flat_map(|result| result.metrics.keys().cloned()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

async fn charts(client: &Client, jobs: &[v1::Job], series: &[String]) -> Result<Vec<Chart>, Error> {
    let mut charts: Vec<Chart> =
        series.iter().map(|title| Chart { title: title.clone(), curves: Vec::new() }).collect();
    for job in jobs {
        let (job_id, series) = (job.id.clone(), series.to_vec());
        let request = v1::ListMetricsRequest { job_id, series, ..Default::default() };
        let points = metrics::pages(client, request).await?;
        for chart in &mut charts {
            let curve = Curve::of(format!("{} {}", job.id, name(job)), &chart.title, &points);
            chart.curves.extend(curve);
        }
    }
    charts.retain(|chart| !chart.curves.is_empty());
    Ok(charts)
}

#[cfg(test)]
mod tests {
    use kindred_proto::job_spec;

    use super::*;

    fn job(id: &str, settings: &str, metrics: &[(&str, f64)]) -> v1::Job {
        let text = format!("name: n\nrecipe: {{method: {{sce: {{}}}}, training: {settings}}}");
        let metrics = metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        v1::Job {
            id: id.into(),
            state: v1::JobState::Succeeded.into(),
            spec: Some(job_spec::from_yaml(&text, &[]).expect("the text is a job")),
            result: Some(v1::JobResult { metrics, ..Default::default() }),
            ..Default::default()
        }
    }

    fn jobs() -> [v1::Job; 2] {
        let knn = "knn_accuracy_percent";
        [
            job("job-1", "{epochs: 2, seed: 7}", &[(knn, 81.5), ("x", 1.0)]),
            job("job-2", "{epochs: 3, seed: 7}", &[(knn, 80.0)]),
        ]
    }

    #[test]
    fn figures_and_differences_stand_side_by_side() {
        let expected = [
            "                      job-1      job-2",
            "name                  n          n",
            "state                 succeeded  succeeded",
            "knn_accuracy_percent  81.5000    80.0000",
            "x                     1.0000     -",
            "",
            "                        job-1  job-2",
            "recipe.training.epochs  2      3",
        ];
        assert_eq!(tables(&jobs()), expected.join("\n"));
    }

    #[test]
    fn equal_recipes_have_no_second_table() {
        let [one, _] = jobs();
        assert!(!tables(&[one.clone(), one]).contains("recipe"));
    }

    #[test]
    fn a_document_holds_the_same() {
        let document = document(&jobs());
        assert_eq!(document["jobs"][1]["metrics"], json!({"knn_accuracy_percent": 80.0}));
        assert_eq!(document["jobs"][0]["state"], "succeeded");
        assert_eq!(document["differences"], json!([{"field": "recipe.training.epochs", "values": [2, 3]}]));
    }
}
