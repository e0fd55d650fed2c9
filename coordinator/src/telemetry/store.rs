//! Storing what agents send.

use std::collections::BTreeMap;

use kindred_proto::{
    ids::{Incarnation, NodeId},
    v1,
};
use prost::Message;
use sqlx::{Sqlite, Transaction, query, query_as};

use super::{Error, LineNumber, Telemetry, to_sql};

type Writing = Transaction<'static, Sqlite>;

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
        self.try_store(node_id, incarnation, batches).await.map_err(|source| self.error(source))
    }

    async fn try_store(
        &self,
        node_id: &NodeId,
        incarnation: &Incarnation,
        batches: &[v1::TelemetryBatch],
    ) -> Result<u64, sqlx::Error> {
        let mut writing = self.writer.begin().await?;
        let stored = received(&mut writing, node_id, incarnation).await?;
        let mut news: Vec<_> = batches.iter().filter(|batch| batch.sequence > stored).collect();
        news.sort_by_key(|batch| batch.sequence);
        let Some(newest) = news.last().map(|batch| batch.sequence) else { return Ok(stored) };

        let mut n_lines = BTreeMap::new();
        let mut newest_line = None;
        for batch in news {
            insert_points(&mut writing, batch).await?;
            for line in &batch.lines {
                newest_line = Some(insert_line(&mut writing, &batch.job_id, line).await?);
            }
            *n_lines.entry(batch.job_id.as_str()).or_insert(0) += batch.lines.len() as u64;
        }
        for (job_id, n_new) in n_lines {
            self.drop_surplus(&mut writing, job_id, n_new).await?;
        }
        note_received(&mut writing, node_id, incarnation, newest).await?;
        writing.commit().await?;
        if let Some(number) = newest_line {
            self.newest_line.send_replace(number);
        }
        Ok(newest)
    }

    /// Drops the oldest lines of a job beyond the bound, and counts them.
    async fn drop_surplus(&self, writing: &mut Writing, job_id: &str, n_new: u64) -> Result<(), sqlx::Error> {
        let (n_kept,): (i64,) = query_as(
            "INSERT INTO line_counts (job_id, n_kept, n_dropped) VALUES (?1, ?2, 0)
             ON CONFLICT (job_id) DO UPDATE SET n_kept = n_kept + ?2 RETURNING n_kept",
        )
        .bind(job_id)
        .bind(to_sql(n_new))
        .fetch_one(&mut **writing)
        .await?;
        let surplus = n_kept - to_sql(self.max_lines_per_job);
        if surplus <= 0 {
            return Ok(());
        }
        query("DELETE FROM lines WHERE number IN (SELECT number FROM lines WHERE job_id = ? ORDER BY number LIMIT ?)")
            .bind(job_id)
            .bind(surplus)
            .execute(&mut **writing)
            .await?;
        query("UPDATE line_counts SET n_kept = n_kept - ?2, n_dropped = n_dropped + ?2 WHERE job_id = ?1")
            .bind(job_id)
            .bind(surplus)
            .execute(&mut **writing)
            .await?;
        Ok(())
    }
}

/// The newest sequence that is stored of this life of the agent; 0 before the first.
async fn received(
    writing: &mut Writing,
    node_id: &NodeId,
    incarnation: &Incarnation,
) -> Result<u64, sqlx::Error> {
    let row: Option<(i64,)> = query_as("SELECT sequence FROM received WHERE node_id = ? AND incarnation = ?")
        .bind(node_id.as_str())
        .bind(incarnation.as_str())
        .fetch_optional(&mut **writing)
        .await?;
    Ok(row.map_or(0, |(sequence,)| super::from_sql(sequence)))
}

async fn note_received(
    writing: &mut Writing,
    node_id: &NodeId,
    incarnation: &Incarnation,
    sequence: u64,
) -> Result<(), sqlx::Error> {
    query("INSERT OR REPLACE INTO received (node_id, incarnation, sequence) VALUES (?, ?, ?)")
        .bind(node_id.as_str())
        .bind(incarnation.as_str())
        .bind(to_sql(sequence))
        .execute(&mut **writing)
        .await?;
    Ok(())
}

async fn insert_points(writing: &mut Writing, batch: &v1::TelemetryBatch) -> Result<(), sqlx::Error> {
    for point in &batch.points {
        query(
            "INSERT OR IGNORE INTO points (job_id, series, step, generation, value, time_unix_ms)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&batch.job_id)
        .bind(&point.series)
        .bind(to_sql(point.step))
        .bind(to_sql(point.generation))
        .bind(point.value)
        .bind(point.time_unix_ms)
        .execute(&mut **writing)
        .await?;
    }
    Ok(())
}

async fn insert_line(
    writing: &mut Writing,
    job_id: &str,
    line: &v1::LogLine,
) -> Result<LineNumber, sqlx::Error> {
    let (number,) = query_as("INSERT INTO lines (job_id, level, body) VALUES (?, ?, ?) RETURNING number")
        .bind(job_id)
        .bind(line.level)
        .bind(line.encode_to_vec())
        .fetch_one(&mut **writing)
        .await?;
    Ok(LineNumber(number))
}
