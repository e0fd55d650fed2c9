//! Reading metric points.

use kindred_proto::{
    ids::{Generation, JobId},
    v1,
};
use sqlx::{Database, Encode, QueryBuilder, Type};

use super::{Error, Telemetry, from_sql, to_sql};
use crate::model::Span;

/// Which points to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricQuery {
    /// Only these series; empty for all.
    pub series: Vec<String>,
    /// Only what this generation said, whether it counts or not; none for what counts.
    pub generation: Option<Generation>,
    /// What counts: of each generation, these steps. Empty where nobody knows, and the newest generation's points count.
    pub spans: Vec<Span>,
    /// Only steps after this one.
    pub after_step: Option<u64>,
    /// Go on after this point.
    pub after: Option<MetricCursor>,
    /// At most so many points.
    pub limit: usize,
}

/// A place in the order of points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricCursor {
    /// The series of the point before.
    pub series: String,
    /// The step of the point before.
    pub step: u64,
}

/// Points by series, then step; where two generations say something of the same step that counts, the newer one's.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricPage {
    /// The points.
    pub points: Vec<v1::MetricPoint>,
    /// Where the next page goes on; none on the last one.
    pub next: Option<MetricCursor>,
}

type Row = (String, i64, i64, Option<f64>, i64);

impl Telemetry {
    /// Reads one page of a job's points.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn points(&self, job_id: &JobId, query: &MetricQuery) -> Result<MetricPage, Error> {
        let newest = match &self.database {
            super::Database::Sqlite(_) => OF_SQLITE,
            super::Database::Postgres(_) => OF_POSTGRES,
        };
        let rows: Result<Vec<Row>, _> = on_either!(self, |pools| {
            statement(newest, job_id, query).build_query_as().fetch_all(&pools.readers).await
        });
        let mut points: Vec<_> = rows.map_err(|source| self.error(source))?.into_iter().map(point).collect();
        let has_more = points.len() > query.limit;
        points.truncate(query.limit);
        let last = points.last().filter(|_| has_more);
        let next = last.map(|point| MetricCursor { series: point.series.clone(), step: point.step });
        Ok(MetricPage { points, next })
    }
}

/// How to take only the newest generation's point of each step.
#[derive(Clone, Copy)]
struct Newest {
    columns: &'static str,
    order: &'static str,
}

/// SQLite promises that the columns beside `max(generation)` come from the row that holds the maximum.
const OF_SQLITE: Newest = Newest {
    columns: "SELECT series, step, max(generation), value, time_unix_ms FROM points WHERE job_id = ",
    order: " GROUP BY series, step ORDER BY series, step LIMIT ",
};

const OF_POSTGRES: Newest = Newest {
    columns: "SELECT DISTINCT ON (series, step) series, step, generation, value, time_unix_ms FROM points
              WHERE job_id = ",
    order: " ORDER BY series, step, generation DESC LIMIT ",
};

/// One point more than asked for says whether there is another page.
fn statement<D: Database>(newest: Newest, job_id: &JobId, query: &MetricQuery) -> QueryBuilder<D>
where
    for<'q> String: Encode<'q, D> + Type<D>,
    for<'q> i64: Encode<'q, D> + Type<D>,
{
    let mut statement = QueryBuilder::new(newest.columns);
    statement.push_bind(job_id.to_string());
    if let Some(step) = query.after_step {
        statement.push(" AND step > ").push_bind(to_sql(step));
    }
    if let Some(cursor) = &query.after {
        statement.push(" AND (series, step) > (").push_bind(cursor.series.clone());
        statement.push(", ").push_bind(to_sql(cursor.step)).push(")");
    }
    if !query.series.is_empty() {
        statement.push(" AND series IN (");
        let mut names = statement.separated(", ");
        for series in &query.series {
            names.push_bind(series.clone());
        }
        statement.push(")");
    }
    match query.generation {
        Some(generation) => drop(statement.push(" AND generation = ").push_bind(to_sql(generation.0))),
        None => only_spans(&mut statement, &query.spans),
    }
    let limit = query.limit.saturating_add(1) as u64;
    statement.push(newest.order).push_bind(to_sql(limit));
    statement
}

/// Lets through what counts.
pub(super) fn only_spans<D: Database>(statement: &mut QueryBuilder<D>, spans: &[Span])
where
    for<'q> i64: Encode<'q, D> + Type<D>,
{
    let mut separator = " AND (";
    for Span { generation, first, last } in spans {
        statement.push(separator).push("(generation = ").push_bind(to_sql(generation.0));
        statement.push(" AND step BETWEEN ").push_bind(to_sql(first.0));
        statement.push(" AND ").push_bind(last.map_or(i64::MAX, |last| to_sql(last.0))).push(")");
        separator = " OR ";
    }
    if !spans.is_empty() {
        statement.push(")");
    }
}

fn point((series, step, generation, value, time_unix_ms): Row) -> v1::MetricPoint {
    v1::MetricPoint {
        series,
        step: from_sql(step),
        generation: from_sql(generation),
        value: value.unwrap_or(f64::NAN),
        time_unix_ms,
    }
}
