//! Batches in, points and lines out.

use std::ops::RangeInclusive;

use kindred_proto::{
    ids::{Generation, Incarnation, JobId, NodeId, Step},
    v1,
};
use kindred_tests::postgres::Postgres as Server;
use tempfile::TempDir;

use super::*;
use crate::model::Span;

async fn open(max_lines_per_job: u64) -> (Telemetry, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let telemetry = Telemetry::open(folder.path().join("telemetry"), max_lines_per_job).await;
    (telemetry.expect("a new file"), folder)
}

async fn open_on(server: &Server, name: &str, max_lines_per_job: u64) -> Telemetry {
    let database: crate::postgres::Database =
        server.create(name).expect("a new database").parse().expect("an address");
    database.prepare().await.expect("new tables");
    Telemetry::connect(name, database.options(), max_lines_per_job).await.expect("a connection")
}

impl Telemetry {
    /// Lets every write fail from now on, as a file that cannot be written does, or work again.
    pub(crate) async fn set_failing(&self, is_failing: bool) {
        let pragma = if is_failing { "PRAGMA query_only = ON" } else { "PRAGMA query_only = OFF" };
        let Database::Sqlite(pools) = &self.database else { panic!("only a file can be made to fail") };
        sqlx::query(pragma).execute(&pools.writer).await.expect("a pragma always works");
    }
}

async fn store(telemetry: &Telemetry, incarnation: &str, batches: &[v1::TelemetryBatch]) -> u64 {
    let (node_id, incarnation) = (NodeId::new("node-1"), Incarnation::new(incarnation));
    telemetry.store(&node_id, &incarnation, batches).await.expect("they can be stored")
}

fn job() -> JobId {
    JobId::new("job-1")
}

fn batch(sequence: u64) -> v1::TelemetryBatch {
    v1::TelemetryBatch { sequence, job_id: job().to_string(), points: vec![], lines: vec![] }
}

fn points(sequence: u64, points: &[(&str, u64, u64, f64)]) -> v1::TelemetryBatch {
    let point = |&(series, step, generation, value): &(&str, u64, u64, f64)| v1::MetricPoint {
        series: series.to_owned(),
        step,
        generation,
        value,
        time_unix_ms: 7,
    };
    v1::TelemetryBatch { points: points.iter().map(point).collect(), ..batch(sequence) }
}

fn lines(sequence: u64, numbers: RangeInclusive<u64>) -> v1::TelemetryBatch {
    let line = |number: u64| {
        let level = if number.is_multiple_of(2) { v1::LogLevel::Info } else { v1::LogLevel::Warn };
        v1::LogLine { message: format!("line {number}"), level: level.into(), ..Default::default() }
    };
    v1::TelemetryBatch { lines: numbers.map(line).collect(), ..batch(sequence) }
}

async fn read_points(telemetry: &Telemetry, query: MetricQuery) -> Vec<(String, u64, u64, f64)> {
    let page = telemetry.points(&job(), &query).await.expect("they can be read");
    page.points.into_iter().map(|it| (it.series, it.step, it.generation, it.value)).collect()
}

async fn read_lines(telemetry: &Telemetry, after: LineNumber, min_level: v1::LogLevel) -> Vec<String> {
    let read = telemetry.lines_after(&job(), after, min_level).await.expect("they can be read");
    read.lines.into_iter().map(|line| line.message).collect()
}

fn all() -> MetricQuery {
    MetricQuery { limit: 100, ..Default::default() }
}

/// Runs each on a file, and all of them on a real PostgreSQL server; the number is the bound of a job's lines.
macro_rules! on_each_database {
    ($($name:ident($max_lines:literal);)*) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let (telemetry, _folder) = super::open($max_lines).await;
                    super::$name(&telemetry).await;
                }
            )*
        }

        #[tokio::test]
        async fn postgres_does_the_same() {
            let Some(server) = Server::start().await.expect("a server") else { return };
            $(
                let telemetry = open_on(&server, stringify!($name), $max_lines).await;
                $name(&telemetry).await;
                telemetry.close().await;
            )*
        }
    };
}

on_each_database! {
    a_step_that_two_generations_took_has_the_newer_ones_value(10);
    only_what_counts_is_read_unless_a_generation_is_asked_for(10);
    points_are_chosen_by_series_and_step_and_read_in_pages(10);
    values_that_are_no_numbers_are_kept(10);
    a_repeated_batch_is_stored_once(10);
    each_life_of_an_agent_counts_from_the_start(10);
    lines_are_read_from_the_tail_by_level(10);
    the_oldest_lines_are_dropped_and_counted(4);
    new_lines_ring(10);
    all_of_a_job_is_forgotten(10);
    curves_hold_each_point_once_with_the_extremes(10);
    curves_of_no_points_and_of_other_steps_are_empty(10);
}

mod curves;
use curves::{
    curves_hold_each_point_once_with_the_extremes, curves_of_no_points_and_of_other_steps_are_empty,
};

async fn all_of_a_job_is_forgotten(telemetry: &Telemetry) {
    let other = v1::TelemetryBatch { job_id: "job-2".to_owned(), ..lines(2, 3..=3) };
    store(telemetry, "a", &[points(1, &[("loss", 1, 1, 5.0)]), other, lines(3, 1..=12)]).await;
    telemetry.forget(&job()).await.expect("it can be removed");
    assert_eq!(read_points(telemetry, all()).await, vec![]);
    assert_eq!(read_lines(telemetry, LineNumber(0), v1::LogLevel::Unspecified).await.len(), 0);
    assert_eq!(telemetry.n_dropped(&job()).await.expect("it can be read"), 0);
    let left = telemetry.lines_after(&"job-2".into(), LineNumber(0), v1::LogLevel::Unspecified).await;
    assert_eq!(left.expect("it can be read").lines.len(), 1, "other jobs keep theirs");
}

async fn a_step_that_two_generations_took_has_the_newer_ones_value(telemetry: &Telemetry) {
    store(telemetry, "a", &[points(1, &[("loss", 1, 1, 5.0), ("loss", 2, 1, 4.0), ("lr", 1, 1, 0.1)])]).await;
    store(telemetry, "a", &[points(2, &[("loss", 2, 3, 3.5), ("loss", 2, 2, 3.0), ("loss", 2, 3, 9.0)])])
        .await;
    let expected = [("loss", 1, 1, 5.0), ("loss", 2, 3, 3.5), ("lr", 1, 1, 0.1)];
    assert_eq!(read_points(telemetry, all()).await, expected.map(|(s, t, g, v)| (s.to_owned(), t, g, v)));
}

async fn only_what_counts_is_read_unless_a_generation_is_asked_for(telemetry: &Telemetry) {
    let steps = |generation: u64, range: RangeInclusive<u64>| {
        range.map(|step| ("loss", step, generation, generation as f64)).collect::<Vec<_>>()
    };
    // Generation 1 trained on to step 9 behind a partition, generation 2 went on from step 4 and is at step 6.
    store(telemetry, "a", &[points(1, &steps(1, 1..=9)), points(2, &steps(2, 4..=6))]).await;
    let span = |generation, first, last| Span {
        generation: Generation(generation),
        first: Step(first),
        last: Option::map(last, Step),
    };
    let counting = MetricQuery { spans: vec![span(1, 0, Some(4)), span(2, 4, None)], ..all() };
    let read = |points: Vec<(String, u64, u64, f64)>| {
        points.into_iter().map(|(_, step, generation, _)| (step, generation)).collect::<Vec<_>>()
    };
    let counted = read(read_points(telemetry, counting.clone()).await);
    assert_eq!(counted, [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]);
    let asked = MetricQuery { generation: Some(Generation(1)), ..counting };
    assert_eq!(read(read_points(telemetry, asked).await), (1..=9).map(|step| (step, 1)).collect::<Vec<_>>());
}

async fn points_are_chosen_by_series_and_step_and_read_in_pages(telemetry: &Telemetry) {
    let steps: Vec<_> = (1..=5).flat_map(|step| [("a", step, 1, 0.0), ("b", step, 1, 1.0)]).collect();
    store(telemetry, "a", &[points(1, &steps)]).await;
    let only = MetricQuery { series: vec!["b".to_owned()], after_step: Some(3), ..all() };
    assert_eq!(read_points(telemetry, only).await.len(), 2);

    let mut query = MetricQuery { limit: 4, ..Default::default() };
    let mut seen = vec![];
    loop {
        let page = telemetry.points(&job(), &query).await.expect("a page");
        seen.extend(page.points.iter().map(|point| (point.series.clone(), point.step)));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let expected: Vec<_> =
        ["a", "b"].into_iter().flat_map(|s| (1..=5).map(move |step| (s.to_owned(), step))).collect();
    assert_eq!(seen, expected);
}

async fn values_that_are_no_numbers_are_kept(telemetry: &Telemetry) {
    store(telemetry, "a", &[points(1, &[("loss", 1, 1, f64::NAN), ("loss", 2, 1, f64::INFINITY)])]).await;
    let values: Vec<_> = read_points(telemetry, all()).await.into_iter().map(|point| point.3).collect();
    assert!(values[0].is_nan());
    assert_eq!(values[1], f64::INFINITY);
}

async fn a_repeated_batch_is_stored_once(telemetry: &Telemetry) {
    assert_eq!(store(telemetry, "a", &[lines(1, 1..=2)]).await, 1);
    assert_eq!(store(telemetry, "a", &[lines(1, 1..=2), lines(2, 3..=3)]).await, 2);
    assert_eq!(store(telemetry, "a", &[lines(1, 1..=2)]).await, 2);
    let read = read_lines(telemetry, LineNumber(0), v1::LogLevel::Unspecified).await;
    assert_eq!(read, ["line 1", "line 2", "line 3"]);
}

async fn each_life_of_an_agent_counts_from_the_start(telemetry: &Telemetry) {
    store(telemetry, "a", &[lines(7, 1..=1)]).await;
    assert_eq!(store(telemetry, "b", &[lines(1, 2..=2)]).await, 1);
    assert_eq!(read_lines(telemetry, LineNumber(0), v1::LogLevel::Unspecified).await.len(), 2);
}

async fn lines_are_read_from_the_tail_by_level(telemetry: &Telemetry) {
    store(telemetry, "a", &[lines(1, 1..=6)]).await;
    let after = telemetry.tail(&job(), v1::LogLevel::Warn, 2).await.expect("it can be read");
    assert_eq!(read_lines(telemetry, after, v1::LogLevel::Warn).await, ["line 3", "line 5"]);
    let after = telemetry.tail(&job(), v1::LogLevel::Warn, 9).await.expect("it can be read");
    assert_eq!(read_lines(telemetry, after, v1::LogLevel::Warn).await.len(), 3);
}

async fn the_oldest_lines_are_dropped_and_counted(telemetry: &Telemetry) {
    store(telemetry, "a", &[lines(1, 1..=3), lines(2, 4..=6)]).await;
    store(telemetry, "a", &[lines(3, 7..=7)]).await;
    let read = read_lines(telemetry, LineNumber(0), v1::LogLevel::Unspecified).await;
    assert_eq!(read, ["line 4", "line 5", "line 6", "line 7"]);
    assert_eq!(telemetry.n_dropped(&job()).await.expect("it can be read"), 3);
}

async fn new_lines_ring(telemetry: &Telemetry) {
    let mut bell = telemetry.newest_line();
    store(telemetry, "a", &[lines(1, 1..=2)]).await;
    bell.changed().await.expect("the telemetry lives");
    assert_eq!(*bell.borrow_and_update(), LineNumber(2));
}

#[tokio::test]
async fn an_unreachable_file_is_named() {
    let error = Telemetry::open("/nowhere/telemetry.sqlite", 1).await.expect_err("no such folder");
    assert!(error.to_string().contains("/nowhere/telemetry.sqlite"), "{error}");
}
