//! Events in SQLite.

use async_trait::async_trait;
use millrace_proto::{StreamId, events::Event};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{SqliteStore, from_json, int, parsed, to_json, uint};
use crate::store::{
    Result,
    events::{Events, Happened},
};

#[async_trait]
impl Events for SqliteStore {
    async fn events(&self, after: u64, stream: Option<&StreamId>, limit: u32) -> Result<Vec<Event>> {
        let rows = match stream {
            Some(stream) => sqlx::query("SELECT * FROM events WHERE stream = ? AND number > ? ORDER BY number LIMIT ?")
                .bind(stream.as_str()),
            None => sqlx::query("SELECT * FROM events WHERE number > ? ORDER BY number LIMIT ?"),
        };
        rows.bind(int(after)).bind(limit).fetch_all(&self.reader).await?.iter().map(read).collect()
    }

    async fn oldest_event(&self) -> Result<Option<u64>> {
        let (oldest,): (Option<i64>,) =
            sqlx::query_as("SELECT min(number) FROM events").fetch_one(&self.reader).await?;
        Ok(oldest.map(uint))
    }

    async fn forget_events(&self, before_ms: u64, count_max: u64) -> Result<u64> {
        // Numbers have no holes, and clocks may go back: what goes is always the beginning.
        let (oldest, newest, young): (Option<i64>, Option<i64>, Option<i64>) = sqlx::query_as(
            "SELECT (SELECT number FROM events ORDER BY number LIMIT 1),
                    (SELECT number FROM events ORDER BY number DESC LIMIT 1),
                    (SELECT number FROM events WHERE created_ms >= ? ORDER BY number LIMIT 1)",
        )
        .bind(int(before_ms))
        .fetch_one(&self.reader)
        .await?;
        let (Some(oldest), Some(newest)) = (oldest, newest) else { return Ok(0) };
        let kept_from = young.unwrap_or(newest + 1).max(newest.saturating_sub(int(count_max)) + 1);
        if kept_from <= oldest {
            return Ok(0);
        }
        let mut tx = self.write(None).await?;
        let done = sqlx::query("DELETE FROM events WHERE number < ?").bind(kept_from).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

/// Writes one, within the change that it tells of.
pub(super) async fn insert(tx: &mut SqliteConnection, happened: &Happened) -> Result<()> {
    sqlx::query("INSERT INTO events (stream, kind, created_ms, body) VALUES (?,?,?,?)")
        .bind(happened.stream.as_str())
        .bind(&happened.kind)
        .bind(int(happened.created_ms))
        .bind(to_json(&happened.body))
        .execute(&mut *tx)
        .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Event> {
    Ok(Event {
        number: uint(row.try_get("number")?),
        kind: row.try_get("kind")?,
        stream: parsed(&row.try_get::<String, _>("stream")?)?,
        created_ms: uint(row.try_get("created_ms")?),
        body: from_json(&row.try_get::<String, _>("body")?)?,
    })
}
