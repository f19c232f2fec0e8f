//! Streams in SQLite.

use millrace_proto::{StreamId, api::StreamState, events::Moved, profile::Rung};
use sqlx::{Row, sqlite::SqliteRow};

use super::{SqliteStore, events, from_json, from_word, int, parsed, reports, to_json, uint, word};
use crate::store::{
    Move, Result,
    events::Happened,
    record::{Fetched, Stream},
    reports::Chain,
};

pub(super) async fn create(store: &SqliteStore, stream: &Stream) -> Result<bool> {
    let mut tx = store.write(Some(&stream.id)).await?;
    let done = sqlx::query(
        "INSERT INTO streams (id, name, source, profile, listed, created_ms, key_sha256, state, state_since_ms, reason,
             grace_ends_ms, next_seq, listed_seq, failed_segments, tail, rungs, target_duration_s, variants,
             source_bytes, source_bytes_total, url, fetched)
         VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(stream.id.as_str())
    .bind(&stream.name)
    .bind(word(&stream.source))
    .bind(to_json(&stream.profile))
    .bind(stream.listed)
    .bind(int(stream.created_ms))
    .bind(stream.key_sha256.map(|hash| hash.to_string()))
    .bind(word(&stream.state))
    .bind(int(stream.state_since_ms))
    .bind(&stream.reason)
    .bind(int(stream.grace_ends_ms))
    .bind(int(stream.next_seq))
    .bind(int(stream.listed_seq))
    .bind(int(stream.failed_segments))
    .bind(stream.tail.map(|tail| to_json(&tail)))
    .bind(to_json(&stream.rungs))
    .bind(i64::from(stream.target_duration_s))
    .bind(to_json(&stream.variants))
    .bind(int(stream.source_bytes))
    .bind(stream.source_bytes_total.map(int))
    .bind(&stream.url)
    .bind(stream.fetched.as_ref().map(to_json))
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 1 {
        for chain in Chain::of(stream) {
            reports::begin(&mut tx, &chain).await?;
        }
    }
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn one(store: &SqliteStore, id: &StreamId) -> Result<Option<Stream>> {
    let row = sqlx::query("SELECT * FROM streams WHERE id = ?").bind(id.as_str()).fetch_optional(&store.reader).await?;
    row.map(|row| read(&row)).transpose()
}

pub(super) async fn page(store: &SqliteStore, after: Option<&StreamId>, limit: u32) -> Result<Vec<Stream>> {
    let rows = match after {
        None => sqlx::query("SELECT * FROM streams ORDER BY created_ms DESC, id DESC LIMIT ?"),
        Some(id) => sqlx::query(
            "SELECT * FROM streams WHERE (created_ms, id) < (SELECT created_ms, id FROM streams WHERE id = ?)
             ORDER BY created_ms DESC, id DESC LIMIT ?",
        )
        .bind(id.as_str()),
    }
    .bind(limit)
    .fetch_all(&store.reader)
    .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn in_states(store: &SqliteStore, states: &[StreamState]) -> Result<Vec<Stream>> {
    let words: Vec<String> = states.iter().map(word).collect();
    let rows = sqlx::query("SELECT * FROM streams WHERE state IN (SELECT value FROM json_each(?)) ORDER BY id")
        .bind(to_json(&words))
        .fetch_all(&store.reader)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn step(store: &SqliteStore, id: &StreamId, step: &Move<'_>) -> Result<bool> {
    let from: Vec<String> = step.from.iter().map(word).collect();
    let mut tx = store.write(Some(id)).await?;
    let done = sqlx::query(
        "UPDATE streams SET state = ?, state_since_ms = ?, reason = ?, grace_ends_ms = ?
         WHERE id = ? AND state IN (SELECT value FROM json_each(?))",
    )
    .bind(word(&step.to))
    .bind(int(step.now_ms))
    .bind(&step.reason)
    .bind(int(step.grace_ends_ms))
    .bind(id.as_str())
    .bind(to_json(&from))
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 1 {
        let body = Moved { reason: step.reason.clone() };
        let kind = format!("stream.{}", word(&step.to));
        events::insert(&mut tx, &Happened::new(kind, id, step.now_ms, &body)).await?;
    }
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn note_upload(store: &SqliteStore, id: &StreamId, bytes: u64, total: Option<u64>) -> Result<bool> {
    let mut tx = store.write(Some(id)).await?;
    let done = sqlx::query(
        "UPDATE streams SET source_bytes = ?, source_bytes_total = ?
         WHERE id = ? AND state = 'waiting' AND (source = 'file' OR fetched ->> '$.kind' = 'file')",
    )
    .bind(int(bytes))
    .bind(total.map(int))
    .bind(id.as_str())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn note_fetched(store: &SqliteStore, id: &StreamId, fetched: &Fetched) -> Result<bool> {
    let mut tx = store.write(Some(id)).await?;
    let done = sqlx::query("UPDATE streams SET fetched = ? WHERE id = ?")
        .bind(to_json(fetched))
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn fix_rungs(store: &SqliteStore, id: &StreamId, rungs: &[Rung]) -> Result<Vec<Rung>> {
    let mut tx = store.write(Some(id)).await?;
    sqlx::query("UPDATE streams SET rungs = ? WHERE id = ? AND rungs = '[]'")
        .bind(to_json(&rungs))
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
    let fixed: Option<(String,)> =
        sqlx::query_as("SELECT rungs FROM streams WHERE id = ?").bind(id.as_str()).fetch_optional(&mut *tx).await?;
    tx.commit().await?;
    fixed.map_or(Ok(Vec::new()), |(text,)| from_json(&text))
}

pub(super) async fn delete(store: &SqliteStore, id: &StreamId) -> Result<bool> {
    let mut tx = store.write(Some(id)).await?;
    let done = sqlx::query("DELETE FROM streams WHERE id = ?").bind(id.as_str()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

fn read(row: &SqliteRow) -> Result<Stream> {
    let text = |column| row.try_get::<String, _>(column);
    let number = |column| row.try_get::<i64, _>(column).map(uint);
    Ok(Stream {
        id: parsed(&text("id")?)?,
        name: text("name")?,
        source: from_word(&text("source")?)?,
        url: row.try_get("url")?,
        fetched: row.try_get::<Option<String>, _>("fetched")?.map(|text| from_json(&text)).transpose()?,
        profile: from_json(&text("profile")?)?,
        listed: row.try_get("listed")?,
        created_ms: number("created_ms")?,
        key_sha256: row.try_get::<Option<String>, _>("key_sha256")?.map(|text| parsed(&text)).transpose()?,
        state: from_word(&text("state")?)?,
        state_since_ms: number("state_since_ms")?,
        reason: row.try_get("reason")?,
        grace_ends_ms: number("grace_ends_ms")?,
        next_seq: number("next_seq")?,
        first_seq: number("first_seq")?,
        listed_seq: number("listed_seq")?,
        failed_segments: number("failed_segments")?,
        withheld_segments: number("withheld_segments")?,
        tail: row.try_get::<Option<String>, _>("tail")?.map(|text| from_json(&text)).transpose()?,
        rungs: from_json(&text("rungs")?)?,
        target_duration_s: number("target_duration_s")? as u32,
        variants: from_json(&text("variants")?)?,
        source_bytes: number("source_bytes")?,
        source_bytes_total: row.try_get::<Option<i64>, _>("source_bytes_total")?.map(uint),
    })
}
