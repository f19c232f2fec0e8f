//! Marks in SQLite.

use async_trait::async_trait;
use millrace_proto::StreamId;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{SqliteStore, from_json, int, parsed, to_json, uint, word};
use crate::store::{
    Result,
    marks::{Mark, Marks},
    reports::Of,
};

#[async_trait]
impl Marks for SqliteStore {
    async fn marks(&self, of: Of<'_>, from_ms: i64, to_ms: i64, limit: u32) -> Result<Vec<Mark>> {
        let rows = sqlx::query(
            "SELECT * FROM marks WHERE stream = ? AND kind = ? AND track = ? AND end_ms >= ? AND start_ms < ?
             ORDER BY start_ms, number LIMIT ?",
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

    async fn marks_changed(&self, of: Of<'_>, from: u64, limit: u32) -> Result<Vec<Mark>> {
        let rows = sqlx::query(
            "SELECT * FROM marks WHERE stream = ? AND kind = ? AND track = ? AND changed >= ?
             ORDER BY changed, number LIMIT ?",
        )
        .bind(of.stream.as_str())
        .bind(word(&of.kind))
        .bind(of.track)
        .bind(int(from))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(read).collect()
    }

    async fn forget_marks(&self, stream: &StreamId, below_ms: i64) -> Result<()> {
        let mut tx = self.write(Some(stream)).await?;
        sqlx::query("DELETE FROM marks WHERE stream = ? AND end_ms <= ?")
            .bind(stream.as_str())
            .bind(below_ms)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}

/// Writes a mark, over the one with its number if there is one.
pub(super) async fn put(tx: &mut SqliteConnection, mark: &Mark) -> Result<()> {
    let looks: Vec<u8> = mark.looks.iter().map(|number| number.cast_unsigned()).collect();
    sqlx::query(
        "INSERT OR REPLACE INTO marks (stream, kind, track, number, start_ms, end_ms, changed, entry, looks)
         VALUES (?,?,?,?,?,?,?,?,?)",
    )
    .bind(mark.stream.as_str())
    .bind(word(&mark.entry.kind))
    .bind(&mark.entry.track)
    .bind(int(mark.number))
    .bind(mark.entry.start_ms)
    .bind(mark.entry.end_ms)
    .bind(int(mark.changed))
    .bind(to_json(&mark.entry))
    .bind(looks)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Mark> {
    let looks: Vec<u8> = row.try_get("looks")?;
    Ok(Mark {
        stream: parsed(&row.try_get::<String, _>("stream")?)?,
        number: uint(row.try_get("number")?),
        changed: uint(row.try_get("changed")?),
        entry: from_json(&row.try_get::<String, _>("entry")?)?,
        looks: looks.into_iter().map(u8::cast_signed).collect(),
    })
}
