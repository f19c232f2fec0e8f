//! Pushed segments in SQLite.

use millrace_proto::StreamId;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{SqliteStore, from_json, int, parsed, to_json, uint};
use crate::store::{
    Noted, Result,
    record::{Pushed, Starts, Tail},
};

pub(super) async fn note(store: &SqliteStore, push: &Pushed, open_max: u64) -> Result<Noted> {
    let mut tx = store.write(None).await?;
    if let Some(refused) = refused(&mut tx, push, open_max).await? {
        tx.leave().await?;
        return Ok(refused);
    }
    sqlx::query("INSERT INTO pushes (stream, number, sha256, bytes, received_ms) VALUES (?,?,?,?,?)")
        .bind(push.stream.as_str())
        .bind(int(push.number))
        .bind(push.sha256.to_string())
        .bind(int(push.bytes))
        .bind(int(push.received_ms))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Noted::Done)
}

/// Why a pushed segment is not noted, if it is not.
async fn refused(tx: &mut SqliteConnection, push: &Pushed, open_max: u64) -> Result<Option<Noted>> {
    let stream = push.stream.as_str();
    let known: Option<(i64,)> =
        sqlx::query_as("SELECT 1 FROM streams WHERE id = ?").bind(stream).fetch_optional(&mut *tx).await?;
    if known.is_none() {
        return Ok(Some(Noted::Gone));
    }
    let same = sqlx::query("SELECT * FROM pushes WHERE stream = ? AND number = ?")
        .bind(stream)
        .bind(int(push.number))
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(row) = same {
        return Ok(Some(Noted::Known(read(&row)?)));
    }
    if push.number < next_in(tx, &push.stream).await? {
        return Ok(Some(Noted::Passed));
    }
    let (open,): (i64,) = sqlx::query_as("SELECT count(*) FROM pushes WHERE stream = ? AND end_seq IS NULL")
        .bind(stream)
        .fetch_one(&mut *tx)
        .await?;
    Ok((uint(open) >= open_max).then_some(Noted::Full))
}

pub(super) async fn one(store: &SqliteStore, stream: &StreamId, number: u64) -> Result<Option<Pushed>> {
    let row = sqlx::query("SELECT * FROM pushes WHERE stream = ? AND number = ?")
        .bind(stream.as_str())
        .bind(int(number))
        .fetch_optional(&store.reader)
        .await?;
    row.map(|row| read(&row)).transpose()
}

pub(super) async fn open(store: &SqliteStore, stream: &StreamId) -> Result<(u64, Vec<Pushed>)> {
    let mut tx = store.write(None).await?;
    let rows = sqlx::query("SELECT * FROM pushes WHERE stream = ? AND end_seq IS NULL ORDER BY number")
        .bind(stream.as_str())
        .fetch_all(&mut *tx)
        .await?;
    let pushes = rows.iter().map(read).collect::<Result<_>>()?;
    let next = next_in(&mut tx, stream).await?;
    tx.leave().await?;
    Ok((next, pushes))
}

pub(super) async fn streams(store: &SqliteStore) -> Result<Vec<StreamId>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT DISTINCT stream FROM pushes WHERE end_seq IS NULL").fetch_all(&store.reader).await?;
    rows.iter().map(|(id,)| parsed(id)).collect()
}

pub(super) async fn begin(
    store: &SqliteStore,
    stream: &StreamId,
    number: u64,
    first_seq: u64,
    tail: Option<Tail>,
) -> Result<bool> {
    let mut tx = store.write(None).await?;
    let done = sqlx::query(
        "UPDATE pushes SET first_seq = ?3, tail = ?4 WHERE stream = ?1 AND number = ?2 AND first_seq IS NULL
             AND NOT EXISTS (SELECT 1 FROM pushes WHERE stream = ?1 AND number < ?2 AND end_seq IS NULL)",
    )
    .bind(stream.as_str())
    .bind(int(number))
    .bind(int(first_seq))
    .bind(tail.map(|tail| to_json(&tail)))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn settle(store: &SqliteStore, settled: &Pushed) -> Result<()> {
    let mut tx = store.write(None).await?;
    sqlx::query(
        "UPDATE pushes SET end_seq = ?, reason = ?, starts = ?
         WHERE stream = ? AND number = ? AND first_seq IS NOT NULL AND end_seq IS NULL",
    )
    .bind(settled.end_seq.map(int))
    .bind(&settled.reason)
    .bind(to_json(&settled.starts))
    .bind(settled.stream.as_str())
    .bind(int(settled.number))
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// One above the highest number that cutting has begun with.
async fn next_in(tx: &mut SqliteConnection, stream: &StreamId) -> Result<u64> {
    let (next,): (i64,) =
        sqlx::query_as("SELECT coalesce(max(number) + 1, 0) FROM pushes WHERE stream = ? AND first_seq IS NOT NULL")
            .bind(stream.as_str())
            .fetch_one(&mut *tx)
            .await?;
    Ok(uint(next))
}

fn read(row: &SqliteRow) -> Result<Pushed> {
    let number = |column| row.try_get::<i64, _>(column).map(uint);
    let maybe = |column| row.try_get::<Option<i64>, _>(column).map(|value| value.map(uint));
    Ok(Pushed {
        stream: parsed(&row.try_get::<String, _>("stream")?)?,
        number: number("number")?,
        sha256: parsed(&row.try_get::<String, _>("sha256")?)?,
        bytes: number("bytes")?,
        received_ms: number("received_ms")?,
        first_seq: maybe("first_seq")?,
        tail: row.try_get::<Option<String>, _>("tail")?.map(|text| from_json(&text)).transpose()?,
        end_seq: maybe("end_seq")?,
        reason: row.try_get("reason")?,
        starts: row.try_get::<Option<String>, _>("starts")?.map_or(Ok(Starts::default()), |text| from_json(&text))?,
    })
}
