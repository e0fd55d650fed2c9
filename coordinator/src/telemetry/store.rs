//! Storing what agents send, and letting go of what is not wanted any more.

use std::collections::BTreeMap;

use kindred_proto::{
    ids::{Incarnation, JobId, NodeId},
    v1,
};
use prost::Message;
use sqlx::{Pool, QueryBuilder, Transaction, query, query_scalar};

use super::{Error, LineNumber, Telemetry, from_sql, to_sql};

/// Most points or lines of one statement: SQLite takes 32,766 values, PostgreSQL 65,535.
const MOST_ROWS: usize = 1000;

/// Most points or lines that are removed while others wait to be stored.
const MOST_REMOVED: i64 = 5000;

/// What came, and where it goes.
struct Delivery<'a> {
    node_id: &'a NodeId,
    incarnation: &'a Incarnation,
    batches: &'a [v1::TelemetryBatch],
    max_lines_per_job: u64,
}

impl Telemetry {
    /// Stores all batches or none; returns the newest sequence that is stored of this life of the agent.
    ///
    /// Batches that came before are passed over.
    ///
    /// # Errors
    /// When they are not stored; the agent sends them again.
    ///
    /// # Cancel safety
    /// Dropping it stores nothing.
    pub async fn store(
        &self,
        node_id: &NodeId,
        incarnation: &Incarnation,
        batches: &[v1::TelemetryBatch],
    ) -> Result<u64, Error> {
        let delivery = Delivery { node_id, incarnation, batches, max_lines_per_job: self.max_lines_per_job };
        let stored = match &self.database {
            super::Database::Sqlite(pools) => sqlite::store(&pools.writer, delivery).await,
            super::Database::Postgres(pools) => postgres::store(&pools.writer, delivery).await,
        };
        let (newest, newest_line) = stored.map_err(|source| self.error(source))?;
        if let Some(number) = newest_line {
            self.newest_line.send_replace(number);
        }
        Ok(newest)
    }

    /// Removes all points and lines of a job, a few at a time.
    ///
    /// # Errors
    /// When some are left.
    pub async fn forget(&self, job_id: &JobId) -> Result<(), Error> {
        let points = "DELETE FROM points WHERE job_id = $1 AND (series, step, generation) IN
                      (SELECT series, step, generation FROM points WHERE job_id = $1 LIMIT $2)";
        let lines = "DELETE FROM lines WHERE number IN (SELECT number FROM lines WHERE job_id = $1 LIMIT $2)";
        for statement in [points, lines] {
            while self.remove(statement, job_id).await? > 0 {}
        }
        let counts = "DELETE FROM line_counts WHERE job_id = $1";
        let removed = on_either!(self, |pools| query(counts)
            .bind(job_id.as_str())
            .execute(&pools.writer)
            .await
            .map(drop));
        removed.map_err(|source| self.error(source))
    }

    async fn remove(&self, statement: &'static str, job_id: &JobId) -> Result<u64, Error> {
        let removed = on_either!(self, |pools| query(statement)
            .bind(job_id.as_str())
            .bind(MOST_REMOVED)
            .execute(&pools.writer)
            .await
            .map(|done| done.rows_affected()));
        removed.map_err(|source| self.error(source))
    }
}

/// The same statements for another database, whose types sqlx keeps apart.
macro_rules! on {
    ($module:ident, $database:ty) => {
        mod $module {
            use super::*;

            type Writing = Transaction<'static, $database>;

            /// The newest sequence that is stored, and the number of the newest line where any came.
            pub async fn store(
                writer: &Pool<$database>,
                delivery: Delivery<'_>,
            ) -> Result<(u64, Option<LineNumber>), sqlx::Error> {
                let mut writing = writer.begin().await?;
                let stored = received(&mut writing, &delivery).await?;
                let mut news: Vec<_> =
                    delivery.batches.iter().filter(|batch| batch.sequence > stored).collect();
                news.sort_by_key(|batch| batch.sequence);
                let Some(newest) = news.last().map(|batch| batch.sequence) else { return Ok((stored, None)) };
                let points: Vec<_> = news.iter().flat_map(|it| it.points.iter().map(|point| (&it.job_id, point))).collect();
                let lines: Vec<_> = news.iter().flat_map(|it| it.lines.iter().map(|line| (&it.job_id, line))).collect();
                insert_points(&mut writing, &points).await?;
                let newest_line = insert_lines(&mut writing, &lines).await?;
                let mut n_lines = BTreeMap::new();
                for (job_id, _) in lines {
                    *n_lines.entry(job_id).or_insert(0) += 1;
                }
                for (job_id, n_new) in n_lines {
                    drop_surplus(&mut writing, job_id, n_new, delivery.max_lines_per_job).await?;
                }
                note_received(&mut writing, &delivery, newest).await?;
                writing.commit().await?;
                Ok((newest, newest_line))
            }

            /// The newest sequence that is stored of this life of the agent; 0 before the first.
            async fn received(writing: &mut Writing, delivery: &Delivery<'_>) -> Result<u64, sqlx::Error> {
                let sequence = query_scalar("SELECT sequence FROM received WHERE node_id = $1 AND incarnation = $2")
                    .bind(delivery.node_id.as_str())
                    .bind(delivery.incarnation.as_str())
                    .fetch_optional(&mut **writing)
                    .await?;
                Ok(sequence.map_or(0, from_sql))
            }

            async fn note_received(
                writing: &mut Writing,
                delivery: &Delivery<'_>,
                sequence: u64,
            ) -> Result<(), sqlx::Error> {
                query(
                    "INSERT INTO received (node_id, incarnation, sequence) VALUES ($1, $2, $3) ON CONFLICT (node_id)
                     DO UPDATE SET incarnation = excluded.incarnation, sequence = excluded.sequence",
                )
                .bind(delivery.node_id.as_str())
                .bind(delivery.incarnation.as_str())
                .bind(to_sql(sequence))
                .execute(&mut **writing)
                .await?;
                Ok(())
            }

            async fn insert_points(
                writing: &mut Writing,
                points: &[(&String, &v1::MetricPoint)],
            ) -> Result<(), sqlx::Error> {
                for points in points.chunks(MOST_ROWS) {
                    let mut insert = QueryBuilder::<$database>::new(
                        "INSERT INTO points (job_id, series, step, generation, value, time_unix_ms) ",
                    );
                    insert.push_values(points, |mut row, (job_id, point)| {
                        row.push_bind(job_id.as_str())
                            .push_bind(&point.series)
                            .push_bind(to_sql(point.step))
                            .push_bind(to_sql(point.generation))
                            .push_bind(point.value)
                            .push_bind(point.time_unix_ms);
                    });
                    insert.push(" ON CONFLICT DO NOTHING").build().execute(&mut **writing).await?;
                }
                Ok(())
            }

            /// The newest one's number.
            async fn insert_lines(
                writing: &mut Writing,
                lines: &[(&String, &v1::LogLine)],
            ) -> Result<Option<LineNumber>, sqlx::Error> {
                let mut newest = None;
                for lines in lines.chunks(MOST_ROWS) {
                    let mut insert =
                        QueryBuilder::<$database>::new("INSERT INTO lines (job_id, level, body) ");
                    insert.push_values(lines, |mut row, (job_id, line)| {
                        row.push_bind(job_id.as_str()).push_bind(line.level).push_bind(line.encode_to_vec());
                    });
                    let numbers: Vec<i64> = insert
                        .push(" RETURNING number")
                        .build_query_scalar()
                        .fetch_all(&mut **writing)
                        .await?;
                    newest = newest.max(numbers.into_iter().max().map(LineNumber));
                }
                Ok(newest)
            }

            /// Drops the oldest lines of a job beyond the bound, and counts them.
            async fn drop_surplus(
                writing: &mut Writing,
                job_id: &str,
                n_new: i64,
                max_lines: u64,
            ) -> Result<(), sqlx::Error> {
                let n_kept: i64 = query_scalar(
                    "INSERT INTO line_counts (job_id, n_kept, n_dropped) VALUES ($1, $2, 0)
                     ON CONFLICT (job_id) DO UPDATE SET n_kept = line_counts.n_kept + $2 RETURNING n_kept",
                )
                .bind(job_id)
                .bind(n_new)
                .fetch_one(&mut **writing)
                .await?;
                let surplus = n_kept - to_sql(max_lines);
                if surplus <= 0 {
                    return Ok(());
                }
                query(
                    "DELETE FROM lines WHERE number IN
                     (SELECT number FROM lines WHERE job_id = $1 ORDER BY number LIMIT $2)",
                )
                .bind(job_id)
                .bind(surplus)
                .execute(&mut **writing)
                .await?;
                query("UPDATE line_counts SET n_kept = n_kept - $2, n_dropped = n_dropped + $2 WHERE job_id = $1")
                    .bind(job_id)
                    .bind(surplus)
                    .execute(&mut **writing)
                    .await?;
                Ok(())
            }
        }
    };
}

on!(sqlite, sqlx::Sqlite);
on!(postgres, sqlx::Postgres);
