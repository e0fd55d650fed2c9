//! Reading whole series in few buckets, with the extremes of each: what a chart of 100,000 steps is drawn from.
//!
//! The database adds up, so that points do not travel. Each series has buckets of its own width: one that is measured once an
//! epoch keeps all its points beside one that has a point per step.

use futures_util::future::try_join_all;
use kindred_proto::{ids::JobId, v1};
use sqlx::{Database, Encode, QueryBuilder, Type};

use super::{Error, Telemetry, from_sql, points::only_spans, to_sql};
use crate::model::Span;

/// Which series to read, and how finely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurveQuery {
    /// Only these series; empty for all.
    pub series: Vec<String>,
    /// What counts, as in [`super::MetricQuery`].
    pub spans: Vec<Span>,
    /// Only steps after this one; points of step 0 come where it is 0.
    pub after_step: u64,
    /// Only steps up to this one.
    pub until_step: Option<u64>,
    /// Most buckets of each series.
    pub max_buckets: u64,
    /// Most series; the first ones by name.
    pub most_series: usize,
}

/// Series in buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// By name.
    pub curves: Vec<v1::Curve>,
    /// Names of all series that the job has.
    pub series: Vec<String>,
}

/// A series, and its first and last step.
type Extent = (String, i64, i64);

/// First and last step, points, finite ones, least, most, mean, time of the last.
type Row = (i64, i64, i64, i64, Option<f64>, Option<f64>, Option<f64>, i64);

impl Telemetry {
    /// Reads a job's series in buckets.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn curves(&self, job_id: &JobId, query: &CurveQuery) -> Result<Curves, Error> {
        let extents: Result<Vec<Extent>, _> = on_either!(self, |pools| sqlx::query_as(EXTENTS)
            .bind(job_id.as_str())
            .fetch_all(&pools.readers)
            .await);
        let extents = extents.map_err(|source| self.error(source))?;
        let is_wanted = |name: &String| query.series.is_empty() || query.series.contains(name);
        let wanted = extents.iter().filter(|(name, ..)| is_wanted(name)).take(query.most_series);
        // Beside one another, as far as there are connections that read.
        let curves = try_join_all(wanted.map(|extent| self.curve(job_id, query, extent))).await?;
        Ok(Curves { curves, series: extents.into_iter().map(|(name, ..)| name).collect() })
    }

    async fn curve(&self, job_id: &JobId, query: &CurveQuery, extent: &Extent) -> Result<v1::Curve, Error> {
        let (series, first, last) = extent;
        let range = Range::of(query, from_sql(*first), from_sql(*last));
        let Some(range) = range else { return Ok(v1::Curve { series: series.clone(), buckets: vec![] }) };
        let counting = match (&self.database, query.spans.len()) {
            // The points of one generation have one for each step.
            (_, 1) => OF_ONE,
            (super::Database::Sqlite(_), _) => OF_SQLITE,
            (super::Database::Postgres(_), _) => OF_POSTGRES,
        };
        let rows: Result<Vec<Row>, _> = on_either!(self, |pools| {
            let mut statement = statement(counting, job_id, series, range, &query.spans);
            statement.build_query_as().fetch_all(&pools.readers).await
        });
        let rows = rows.map_err(|source| self.error(source))?;
        Ok(v1::Curve { series: series.clone(), buckets: rows.into_iter().map(bucket).collect() })
    }
}

/// The steps of a series that are asked for, and the width of its buckets.
#[derive(Clone, Copy)]
struct Range {
    first: u64,
    last: u64,
    width: u64,
}

impl Range {
    /// None when there are no such steps.
    fn of(query: &CurveQuery, first: u64, last: u64) -> Option<Self> {
        let first = if query.after_step > 0 { first.max(query.after_step + 1) } else { first };
        let last = query.until_step.map_or(last, |until| last.min(until));
        let n_steps = last.checked_sub(first)? + 1;
        Some(Self { first, last, width: n_steps.div_ceil(query.max_buckets.max(1)) })
    }
}

/// Jumps from name to name by the index instead of reading all points.
const EXTENTS: &str = "WITH RECURSIVE names (series) AS (
        SELECT (SELECT min(series) FROM points WHERE job_id = $1)
        UNION ALL
        SELECT (SELECT min(series) FROM points WHERE job_id = $1 AND series > names.series)
        FROM names WHERE series IS NOT NULL
    )
    SELECT series,
        (SELECT min(step) FROM points WHERE job_id = $1 AND series = names.series),
        (SELECT max(step) FROM points WHERE job_id = $1 AND series = names.series)
    FROM names WHERE series IS NOT NULL ORDER BY series";

/// How to take only the newest generation's point of each step.
#[derive(Clone, Copy)]
struct Counting {
    columns: &'static str,
    order: &'static str,
}

const OF_ONE: Counting = Counting { columns: "SELECT step, value, time_unix_ms", order: "" };

/// SQLite promises that the columns beside `max(generation)` come from the row that holds the maximum.
const OF_SQLITE: Counting =
    Counting { columns: "SELECT step, max(generation), value, time_unix_ms", order: " GROUP BY step" };

const OF_POSTGRES: Counting = Counting {
    columns: "SELECT DISTINCT ON (step) step, value, time_unix_ms",
    order: " ORDER BY step, generation DESC",
};

/// NaN is stored as NULL; infinities are none of the extremes either.
const FINITE: &str =
    "CASE WHEN value BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308 THEN value END";

fn statement<D: Database>(
    counting: Counting,
    job_id: &JobId,
    series: &str,
    range: Range,
    spans: &[Span],
) -> QueryBuilder<D>
where
    for<'q> String: Encode<'q, D> + Type<D>,
    for<'q> i64: Encode<'q, D> + Type<D>,
{
    let Range { first, last, width } = range;
    let mut statement = QueryBuilder::new(format!(
        "SELECT min(step), max(step), count(*), count({FINITE}), min({FINITE}), max({FINITE}), avg({FINITE}),
            max(time_unix_ms) FROM ({} FROM points WHERE job_id = ",
        counting.columns
    ));
    statement.push_bind(job_id.to_string()).push(" AND series = ").push_bind(series.to_owned());
    statement.push(" AND step BETWEEN ").push_bind(to_sql(first));
    statement.push(" AND ").push_bind(to_sql(last));
    only_spans(&mut statement, spans);
    statement.push(counting.order).push(") AS counting GROUP BY (step - ").push_bind(to_sql(first));
    statement.push(") / ").push_bind(to_sql(width)).push(" ORDER BY 1");
    statement
}

fn bucket((first, last, n_points, n_finite, least, most, mean, time): Row) -> v1::CurveBucket {
    // A mean of numbers near the largest overflows, and one of equal numbers may be rounded.
    let mean = mean.zip(least).zip(most).map(|((mean, least), most)| mean.clamp(least, most));
    v1::CurveBucket {
        first_step: from_sql(first),
        last_step: from_sql(last),
        least,
        most,
        mean,
        n_points: from_sql(n_points),
        n_not_finite: from_sql(n_points - n_finite),
        last_time_unix_ms: time,
    }
}
