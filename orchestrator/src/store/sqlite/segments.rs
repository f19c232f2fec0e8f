//! Segments in SQLite.

use millrace_proto::StreamId;
use sqlx::{Row, sqlite::SqliteRow};

use super::{SqliteStore, events, from_json, holds, int, parsed, tasks, to_json, uint};
use crate::{
    store::{
        Commit, Listing, Result,
        record::{Segment, Tail},
    },
    task::Task,
};

pub(super) async fn commit(store: &SqliteStore, segment: &Segment, open: &[Task]) -> Result<Commit> {
    let mut tx = store.write(Some(&segment.stream)).await?;
    let tail = Tail {
        discontinuity: segment.discontinuity,
        end_ns: segment.start_ns + segment.duration_ns,
        wall_end_ms: segment.wall_ms.map_or(0, |start_ms| start_ms + segment.duration_ns.div_ceil(1_000_000)),
        channels: segment.audio.as_ref().map_or(0, |audio| audio.channels),
    };
    let done = sqlx::query("UPDATE streams SET next_seq = ?, tail = ? WHERE id = ? AND next_seq = ?")
        .bind(int(segment.seq + 1))
        .bind(to_json(&tail))
        .bind(segment.stream.as_str())
        .bind(int(segment.seq))
        .execute(&mut *tx)
        .await?;
    if done.rows_affected() != 1 {
        let next: Option<(i64,)> = sqlx::query_as("SELECT next_seq FROM streams WHERE id = ?")
            .bind(segment.stream.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        tx.leave().await?;
        let repeated = next.is_some_and(|(next,)| uint(next) > segment.seq);
        return Ok(if repeated { Commit::Repeated } else { Commit::Stale });
    }
    sqlx::query(
        "INSERT INTO segments (stream, seq, discontinuity, start_ns, duration_ns, wall_ms, arrived_ms, video, audio,
             state, renditions, hold)
         VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
    )
    .bind(segment.stream.as_str())
    .bind(int(segment.seq))
    .bind(i64::from(segment.discontinuity))
    .bind(int(segment.start_ns))
    .bind(int(segment.duration_ns))
    .bind(segment.wall_ms.map(int))
    .bind(int(segment.arrived_ms))
    .bind(segment.video.as_ref().map(to_json))
    .bind(segment.audio.as_ref().map(to_json))
    .bind(to_json(&segment.state))
    .bind(to_json(&segment.renditions))
    .bind(segment.hold.as_ref().map(to_json))
    .execute(&mut *tx)
    .await?;
    for task in open {
        tasks::insert(&mut tx, task).await?;
    }
    tx.commit().await?;
    Ok(Commit::Done)
}

pub(super) async fn run(store: &SqliteStore, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<Segment>> {
    let rows = sqlx::query("SELECT * FROM segments WHERE stream = ? AND seq >= ? ORDER BY seq LIMIT ?")
        .bind(stream.as_str())
        .bind(int(from))
        .bind(limit)
        .fetch_all(&store.reader)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn list(
    store: &SqliteStore,
    stream: &StreamId,
    from: u64,
    to: u64,
    listing: &Listing,
) -> Result<bool> {
    let mut tx = store.write(Some(stream)).await?;
    let done = sqlx::query(
        "UPDATE streams SET listed_seq = ?, target_duration_s = ?, variants = ?, failed_segments = failed_segments + ?,
             withheld_segments = withheld_segments + ?
         WHERE id = ? AND listed_seq = ? AND next_seq >= ?",
    )
    .bind(int(to))
    .bind(i64::from(listing.target_duration_s))
    .bind(to_json(&listing.variants))
    .bind(int(listing.failed))
    .bind(int(listing.held.len() as u64))
    .bind(stream.as_str())
    .bind(int(from))
    .bind(int(to))
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 1 {
        for (seq, hold) in &listing.held {
            holds::put(&mut tx, stream, *seq, hold).await?;
        }
        for happened in &listing.events {
            events::insert(&mut tx, happened).await?;
        }
    }
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn expire(store: &SqliteStore, stream: &StreamId, to: u64) -> Result<u64> {
    let mut tx = store.write(Some(stream)).await?;
    let first: Option<(i64,)> = sqlx::query_as(
        "UPDATE streams SET first_seq = max(first_seq, min(?1, listed_seq, coalesce(
             (SELECT min(from_seq) FROM clips WHERE stream = ?2 AND state = 'pending'), ?1)))
         WHERE id = ?2 RETURNING first_seq",
    )
    .bind(int(to))
    .bind(stream.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(first.map_or(0, |(first,)| uint(first)))
}

pub(super) async fn forget(store: &SqliteStore, stream: &StreamId, below: u64) -> Result<()> {
    let mut tx = store.write(Some(stream)).await?;
    for sql in [
        "DELETE FROM tasks WHERE stream = ?1 AND seq < ?2 AND seq < (SELECT first_seq FROM streams WHERE id = ?1)",
        "DELETE FROM segments WHERE stream = ?1 AND seq < ?2 AND seq < (SELECT first_seq FROM streams WHERE id = ?1)",
    ] {
        sqlx::query(sql).bind(stream.as_str()).bind(int(below)).execute(&mut *tx).await?;
    }
    tx.commit().await
}

pub(super) fn read(row: &SqliteRow) -> Result<Segment> {
    let text = |column| row.try_get::<String, _>(column);
    let number = |column| row.try_get::<i64, _>(column).map(uint);
    let media = |column| row.try_get::<Option<String>, _>(column)?.map(|text| from_json(&text)).transpose();
    Ok(Segment {
        stream: parsed(&text("stream")?)?,
        seq: number("seq")?,
        discontinuity: number("discontinuity")? as u32,
        start_ns: number("start_ns")?,
        duration_ns: number("duration_ns")?,
        wall_ms: row.try_get::<Option<i64>, _>("wall_ms")?.map(uint),
        arrived_ms: number("arrived_ms")?,
        video: media("video")?,
        audio: media("audio")?,
        state: from_json(&text("state")?)?,
        renditions: from_json(&text("renditions")?)?,
        hold: row.try_get::<Option<String>, _>("hold")?.map(|text| from_json(&text)).transpose()?,
    })
}

#[cfg(test)]
impl SqliteStore {
    /// Makes a stream of so many listed segments out of its first one, for tests of long ones.
    pub(crate) async fn fill(&self, first: &Segment, count: u64) -> Result<()> {
        commit(self, first, &[]).await?;
        let mut tx = self.write(Some(&first.stream)).await?;
        let copies = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?2)
             INSERT INTO segments SELECT stream, n, discontinuity, start_ns + n * duration_ns, duration_ns,
                 wall_ms + n * duration_ns / 1000000, arrived_ms, video, audio, state, renditions, hold
             FROM numbers JOIN segments ON stream = ?1 AND seq = 0 WHERE ?2 > 1";
        let listed = "UPDATE streams SET next_seq = ?2, listed_seq = ?2 WHERE id = ?1";
        for sql in [copies, listed] {
            sqlx::query(sql).bind(first.stream.as_str()).bind(int(count)).execute(&mut *tx).await?;
        }
        tx.commit().await
    }
}
