//! `kindred metrics`: the series of a job.

use std::collections::BTreeMap;

use kindred_proto::v1;

use crate::{
    args::{Format, Global, Metrics},
    client::Client,
    exit::{Error, Exit},
    output::{self, Table},
};

const PAGE_SIZE: u32 = 5000;

/// Prints every point of the series asked for; as a table without any, a summary of all.
pub async fn run(global: &Global, args: Metrics) -> Result<Exit, Error> {
    let client = Client::connect(global).await?;
    let wants_points = !args.series.is_empty();
    let Metrics { job: job_id, series, after_step, generation } = args;
    let request = v1::ListMetricsRequest { job_id, series, after_step, generation, ..Default::default() };
    let points = pages(&client, request).await?;
    let table = || if wants_points { points_table(&points) } else { summary_table(&points) };
    output::list(global.output, &points, "MetricPoint", table)?;
    if points.is_empty() && global.output == Format::Table {
        output::note("no points yet");
    }
    Ok(Exit::Succeeded)
}

/// All points that are asked for, by series and step.
pub async fn pages(
    client: &Client,
    mut request: v1::ListMetricsRequest,
) -> Result<Vec<v1::MetricPoint>, Error> {
    request.page_size = PAGE_SIZE;
    let mut points = Vec::new();
    loop {
        let page = client.answer(client.jobs().list_metrics(request.clone())).await?;
        points.extend(page.points);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(points);
        }
    }
}

fn points_table(points: &[v1::MetricPoint]) -> Table {
    let mut table = Table::new(["SERIES", "STEP", "GENERATION", "VALUE"]);
    for point in points {
        let v1::MetricPoint { series, step, generation, value, .. } = point;
        table.row([series.clone(), step.to_string(), generation.to_string(), format!("{value:.6}")]);
    }
    table
}

fn summary_table(points: &[v1::MetricPoint]) -> Table {
    let mut by_series: BTreeMap<&str, Vec<&v1::MetricPoint>> = BTreeMap::new();
    for point in points {
        by_series.entry(&point.series).or_default().push(point);
    }
    let mut table = Table::new(["SERIES", "POINTS", "LAST STEP", "LAST", "LEAST", "MOST"]);
    for (series, points) in by_series {
        let least = points.iter().map(|point| point.value).fold(f64::INFINITY, f64::min);
        let most = points.iter().map(|point| point.value).fold(f64::NEG_INFINITY, f64::max);
        let last = points[points.len() - 1];
        let figures = [last.value, least, most].map(|value| format!("{value:.6}"));
        let [newest, least, most] = figures;
        table.row([series.to_owned(), points.len().to_string(), last.step.to_string(), newest, least, most]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_one_row_per_series() {
        let point = |series: &str, step, value| v1::MetricPoint {
            series: series.into(),
            step,
            value,
            ..Default::default()
        };
        let points = [point("loss", 10, 6.5), point("loss", 20, 5.25), point("lr", 10, 0.5)];
        let table = summary_table(&points).to_string();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["loss", "2", "20", "5.250000", "5.250000", "6.500000"]);
        assert_eq!(rows[2], ["lr", "1", "10", "0.500000", "0.500000", "0.500000"]);
    }
}
