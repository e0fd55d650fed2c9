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
    if global.output == Format::Csv {
        return print_csv(&client, request).await;
    }
    let points = pages(&client, request).await?;
    let table = || if wants_points { points_table(&points) } else { summary_table(&points) };
    output::list(global.output, &points, "MetricPoint", table)?;
    if points.is_empty() && global.output == Format::Table {
        output::note("no points yet");
    }
    Ok(Exit::Succeeded)
}

/// Prints every point as it comes: a long job has millions.
async fn print_csv(client: &Client, mut request: v1::ListMetricsRequest) -> Result<Exit, Error> {
    request.page_size = PAGE_SIZE;
    output::result("series,step,generation,value,time_unix_ms")?;
    loop {
        let page = client.answer(client.jobs().list_metrics(request.clone())).await?;
        let lines: Vec<String> = page.points.iter().map(csv_line).collect();
        if !lines.is_empty() {
            output::result(&lines.join("\n"))?;
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(Exit::Succeeded);
        }
    }
}

/// As RFC 4180 has it; a value in as many digits as give it back exactly.
fn csv_line(point: &v1::MetricPoint) -> String {
    let v1::MetricPoint { series, step, generation, value, time_unix_ms } = point;
    let needs_quotes = series.contains([',', '"', '\n', '\r']);
    let series = if needs_quotes { format!("\"{}\"", series.replace('"', "\"\"")) } else { series.clone() };
    format!("{series},{step},{generation},{value},{time_unix_ms}")
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
    fn a_line_of_values_gives_them_back_exactly() {
        let point = |series: &str, value| {
            csv_line(&v1::MetricPoint {
                series: series.into(),
                step: 3,
                generation: 2,
                value,
                time_unix_ms: 9,
            })
        };
        assert_eq!(point("loss", 0.1 + 0.2), "loss,3,2,0.30000000000000004,9");
        assert_eq!(point("loss", f64::NAN), "loss,3,2,NaN,9");
        assert_eq!(point("a \"b\", c", 1.0), "\"a \"\"b\"\", c\",3,2,1,9");
    }

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
