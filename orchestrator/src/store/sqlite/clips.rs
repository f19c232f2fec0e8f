//! Clips in SQLite.

use async_trait::async_trait;
use millrace_proto::{ClipId, StreamId};
use sqlx::{Row, sqlite::SqliteRow};

use super::{SqliteStore, from_word, int, parsed, uint, word};
use crate::store::{
    Result,
    clips::{Clips, Created},
    record::Clip,
};

#[async_trait]
impl Clips for SqliteStore {
    async fn create_clip(&self, clip: &Clip, clips_max: u64) -> Result<Created> {
        let mut tx = self.write(None).await?;
        let stream = clip.stream.as_str();
        let row: Option<(i64, i64)> = sqlx::query_as(
            "SELECT first_seq, (SELECT count(*) FROM clips WHERE stream = streams.id) FROM streams WHERE id = ?",
        )
        .bind(stream)
        .fetch_optional(&mut *tx)
        .await?;
        let refused = match row {
            None => Some(Created::Gone),
            Some((first, _)) if clip.from_seq < uint(first) => Some(Created::Expired),
            Some((_, count)) if uint(count) >= clips_max => Some(Created::Full),
            Some(_) => None,
        };
        if let Some(refused) = refused {
            tx.leave().await?;
            return Ok(refused);
        }
        sqlx::query(
            "INSERT INTO clips (stream, id, rendition, start_ns, end_ns, from_seq, to_seq, created_ms, state, reason,
                 bytes)
             VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        )
        .bind(stream)
        .bind(clip.id.as_str())
        .bind(&clip.rendition)
        .bind(int(clip.start_ns))
        .bind(int(clip.end_ns))
        .bind(int(clip.from_seq))
        .bind(int(clip.to_seq))
        .bind(int(clip.created_ms))
        .bind(word(&clip.state))
        .bind(&clip.reason)
        .bind(int(clip.bytes))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Created::Done)
    }

    async fn clip(&self, stream: &StreamId, id: &ClipId) -> Result<Option<Clip>> {
        let row = sqlx::query("SELECT * FROM clips WHERE stream = ? AND id = ?")
            .bind(stream.as_str())
            .bind(id.as_str())
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| read(&row)).transpose()
    }

    async fn clips(&self, stream: &StreamId) -> Result<Vec<Clip>> {
        let rows = sqlx::query("SELECT * FROM clips WHERE stream = ? ORDER BY created_ms DESC, id DESC")
            .bind(stream.as_str())
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(read).collect()
    }

    async fn clips_pending(&self, limit: u32) -> Result<Vec<Clip>> {
        let rows = sqlx::query("SELECT * FROM clips WHERE state = 'pending' ORDER BY created_ms LIMIT ?")
            .bind(limit)
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(read).collect()
    }

    async fn settle_clip(&self, clip: &Clip) -> Result<bool> {
        let mut tx = self.write(None).await?;
        let done = sqlx::query(
            "UPDATE clips SET state = ?, reason = ?, bytes = ?, start_ns = ?, end_ns = ?
             WHERE stream = ? AND id = ? AND state = 'pending'",
        )
        .bind(word(&clip.state))
        .bind(&clip.reason)
        .bind(int(clip.bytes))
        .bind(int(clip.start_ns))
        .bind(int(clip.end_ns))
        .bind(clip.stream.as_str())
        .bind(clip.id.as_str())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    async fn delete_clip(&self, stream: &StreamId, id: &ClipId) -> Result<bool> {
        let mut tx = self.write(None).await?;
        let done = sqlx::query("DELETE FROM clips WHERE stream = ? AND id = ?")
            .bind(stream.as_str())
            .bind(id.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }
}

fn read(row: &SqliteRow) -> Result<Clip> {
    let text = |column| row.try_get::<String, _>(column);
    let number = |column| row.try_get::<i64, _>(column).map(uint);
    Ok(Clip {
        id: parsed(&text("id")?)?,
        stream: parsed(&text("stream")?)?,
        rendition: text("rendition")?,
        start_ns: number("start_ns")?,
        end_ns: number("end_ns")?,
        from_seq: number("from_seq")?,
        to_seq: number("to_seq")?,
        created_ms: number("created_ms")?,
        state: from_word(&text("state")?)?,
        reason: row.try_get("reason")?,
        bytes: number("bytes")?,
    })
}
