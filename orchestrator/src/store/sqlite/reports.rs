//! Chains of windows and reports in SQLite.

use async_trait::async_trait;
use millrace_proto::StreamId;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{SqliteStore, from_json, from_word, int, marks, parsed, tasks, to_json, uint, word};
use crate::{
    store::{
        Result,
        marks::Mark,
        reports::{Chain, Of, Report, Reports},
    },
    task::Task,
};

#[async_trait]
impl Reports for SqliteStore {
    async fn chains(&self, stream: &StreamId) -> Result<Vec<Chain>> {
        let rows = sqlx::query("SELECT * FROM chains WHERE stream = ? ORDER BY kind, track")
            .bind(stream.as_str())
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(read_chain).collect()
    }

    async fn chains_open(&self) -> Result<Vec<Chain>> {
        let rows = sqlx::query("SELECT * FROM chains WHERE open = 1 ORDER BY stream, kind, track");
        rows.fetch_all(&self.reader).await?.iter().map(read_chain).collect()
    }

    async fn plan_window(&self, chain: &Chain, task: &Task) -> Result<bool> {
        let mut tx = self.write(None).await?;
        let fits: Option<(i64,)> = sqlx::query_as(
            "SELECT 1 FROM chains WHERE stream = ? AND kind = ? AND track = ? AND number = ? AND open = 1
                 AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = ?)",
        )
        .bind(chain.stream.as_str())
        .bind(word(&chain.kind))
        .bind(&chain.track)
        .bind(int(chain.number))
        .bind(task.id.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        if fits.is_none() {
            tx.leave().await?;
            return Ok(false);
        }
        tasks::insert(&mut tx, task).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn step_chain(&self, number: u64, next: &Chain, report: Option<&Report>, marks: &[Mark]) -> Result<bool> {
        let mut tx = self.write(Some(&next.stream)).await?;
        if !step(&mut tx, number, next).await? {
            tx.leave().await?;
            return Ok(false);
        }
        if let Some(report) = report {
            insert(&mut tx, report).await?;
        }
        for mark in marks {
            marks::put(&mut tx, mark).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn reports(&self, of: Of<'_>, from_ms: i64, to_ms: i64, limit: u32) -> Result<Vec<Report>> {
        let rows = sqlx::query(
            "SELECT * FROM reports WHERE stream = ? AND kind = ? AND track = ? AND end_ms > ? AND start_ms < ?
             ORDER BY end_ms, number LIMIT ?",
        )
        .bind(of.stream.as_str())
        .bind(word(&of.kind))
        .bind(of.track)
        .bind(from_ms)
        .bind(to_ms)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(read).collect()
    }

    async fn reports_over(&self, stream: &StreamId, below_ms: i64, limit: u32) -> Result<Vec<Report>> {
        let rows = sqlx::query("SELECT * FROM reports WHERE stream = ? AND end_ms <= ? ORDER BY end_ms LIMIT ?")
            .bind(stream.as_str())
            .bind(below_ms)
            .bind(limit)
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(read).collect()
    }

    async fn forget_report(&self, report: &Report) -> Result<()> {
        let mut tx = self.write(Some(&report.stream)).await?;
        sqlx::query("DELETE FROM reports WHERE stream = ? AND kind = ? AND track = ? AND number = ?")
            .bind(report.stream.as_str())
            .bind(word(&report.kind))
            .bind(&report.track)
            .bind(int(report.number))
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}

/// Writes a new stream's chains.
pub(super) async fn begin(tx: &mut SqliteConnection, chain: &Chain) -> Result<()> {
    sqlx::query(
        "INSERT INTO chains (stream, kind, track, number, seq, position_ms, seen_ms, context, label, open)
         VALUES (?,?,?,?,?,?,?,?,?,?)",
    )
    .bind(chain.stream.as_str())
    .bind(word(&chain.kind))
    .bind(&chain.track)
    .bind(int(chain.number))
    .bind(int(chain.seq))
    .bind(chain.position_ms)
    .bind(chain.seen_ms)
    .bind(&chain.context)
    .bind(&chain.label)
    .bind(chain.open)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Writes a chain over the one with `number`. False if that is not there.
pub(super) async fn step(tx: &mut SqliteConnection, number: u64, next: &Chain) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE chains SET number = ?, seq = ?, position_ms = ?, seen_ms = ?, context = ?,
             carry = coalesce(?, carry), label = coalesce(label, ?), open = ?
         WHERE stream = ? AND kind = ? AND track = ? AND number = ?",
    )
    .bind(int(next.number))
    .bind(int(next.seq))
    .bind(next.position_ms)
    .bind(next.seen_ms)
    .bind(&next.context)
    .bind(&next.carry)
    .bind(&next.label)
    .bind(next.open)
    .bind(next.stream.as_str())
    .bind(word(&next.kind))
    .bind(&next.track)
    .bind(int(number))
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn insert(tx: &mut SqliteConnection, report: &Report) -> Result<()> {
    sqlx::query(
        "INSERT INTO reports (stream, kind, track, number, start_ms, end_ms, created_ms, found, reason)
         VALUES (?,?,?,?,?,?,?,?,?)",
    )
    .bind(report.stream.as_str())
    .bind(word(&report.kind))
    .bind(&report.track)
    .bind(int(report.number))
    .bind(report.start_ms)
    .bind(report.end_ms)
    .bind(int(report.created_ms))
    .bind(report.found.as_ref().map(to_json))
    .bind(&report.reason)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

fn read_chain(row: &SqliteRow) -> Result<Chain> {
    Ok(Chain {
        stream: parsed(&row.try_get::<String, _>("stream")?)?,
        kind: from_word(&row.try_get::<String, _>("kind")?)?,
        track: row.try_get("track")?,
        number: uint(row.try_get("number")?),
        seq: uint(row.try_get("seq")?),
        position_ms: row.try_get("position_ms")?,
        seen_ms: row.try_get("seen_ms")?,
        context: row.try_get("context")?,
        carry: row.try_get("carry")?,
        label: row.try_get("label")?,
        open: row.try_get("open")?,
    })
}

fn read(row: &SqliteRow) -> Result<Report> {
    Ok(Report {
        stream: parsed(&row.try_get::<String, _>("stream")?)?,
        kind: from_word(&row.try_get::<String, _>("kind")?)?,
        track: row.try_get("track")?,
        number: uint(row.try_get("number")?),
        start_ms: row.try_get("start_ms")?,
        end_ms: row.try_get("end_ms")?,
        created_ms: uint(row.try_get("created_ms")?),
        found: row.try_get::<Option<String>, _>("found")?.map(|text| from_json(&text)).transpose()?,
        reason: row.try_get("reason")?,
    })
}
