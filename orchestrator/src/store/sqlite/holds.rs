//! Segments that are held back, in SQLite.

use async_trait::async_trait;
use millrace_proto::{StreamId, api::HoldState, events::Decided};
use sqlx::SqliteConnection;

use super::{SqliteStore, events, int, segments, to_json, word};
use crate::{
    store::{
        Result,
        events::Happened,
        holds::{Decision, Holds},
        record::{Hold, Segment},
    },
    task::window::ms,
};

#[async_trait]
impl Holds for SqliteStore {
    async fn held(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<Segment>> {
        let rows = sqlx::query(
            "SELECT * FROM segments WHERE stream = ? AND seq >= ? AND hold IS NOT NULL ORDER BY seq LIMIT ?",
        )
        .bind(stream.as_str())
        .bind(int(from))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(segments::read).collect()
    }

    async fn decide(&self, stream: &StreamId, decision: Decision) -> Result<Vec<Segment>> {
        let mut tx = self.write(Some(stream)).await?;
        let rows = sqlx::query(
            "SELECT * FROM segments WHERE stream = ? AND hold IS NOT NULL AND start_ns < ? AND start_ns + duration_ns > ?
             ORDER BY seq",
        )
        .bind(stream.as_str())
        .bind(int(decision.to_ns))
        .bind(int(decision.from_ns))
        .fetch_all(&mut *tx)
        .await?;
        let mut found = rows.iter().map(segments::read).collect::<Result<Vec<_>>>()?;
        let mut changed = Vec::new();
        for segment in &mut found {
            let Some(hold) = segment.hold.as_mut().filter(|hold| hold.state == HoldState::Held) else { continue };
            (hold.state, hold.since_ms) = (decision.state, decision.now_ms);
            put(&mut tx, stream, segment.seq, hold).await?;
            changed.push(segment.clone());
        }
        let (Some(first), Some(last)) = (changed.first(), changed.last()) else {
            tx.leave().await?;
            return Ok(found);
        };
        if decision.state == HoldState::Approved {
            sqlx::query("UPDATE streams SET withheld_segments = withheld_segments - ? WHERE id = ?")
                .bind(int(changed.len() as u64))
                .bind(stream.as_str())
                .execute(&mut *tx)
                .await?;
        }
        let body = Decided {
            segments: changed.iter().map(|segment| segment.seq).collect(),
            start_ms: ms(first.start_ns),
            end_ms: ms(last.start_ns + last.duration_ns),
        };
        let kind = format!("moderation.{}", word(&decision.state));
        events::insert(&mut tx, &Happened::new(kind, stream, decision.now_ms, &body)).await?;
        tx.commit().await?;
        Ok(found)
    }
}

/// Writes that a segment is held back, or what was decided about it.
pub(super) async fn put(tx: &mut SqliteConnection, stream: &StreamId, seq: u64, hold: &Hold) -> Result<()> {
    sqlx::query("UPDATE segments SET hold = ? WHERE stream = ? AND seq = ?")
        .bind(to_json(hold))
        .bind(stream.as_str())
        .bind(int(seq))
        .execute(&mut *tx)
        .await?;
    Ok(())
}
