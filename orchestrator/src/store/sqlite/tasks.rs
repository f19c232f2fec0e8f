//! Tasks and their leases in SQLite.

use millrace_proto::{Address, StreamId, TaskId};
use sqlx::SqliteConnection;

use super::{SqliteStore, events, from_json, int, marks, reports, to_json, uint};
use crate::{
    store::{Result, Settlement},
    task::{State, Task},
};

/// The columns that tasks are found by.
#[expect(clippy::struct_field_names, reason = "the columns' names, with their unit")]
struct Keys {
    ready_ms: Option<i64>,
    due_ms: Option<i64>,
    checking_ms: Option<i64>,
}

impl Keys {
    fn of(task: &Task) -> Self {
        let mut keys = Self { ready_ms: None, due_ms: task.due_ms().map(int), checking_ms: None };
        match &task.state {
            State::Waiting { not_before_ms } => keys.ready_ms = Some(int(*not_before_ms)),
            State::Checking { since_ms, .. } => keys.checking_ms = Some(int(*since_ms)),
            State::Leased { .. } | State::Accepted { .. } | State::Failed { .. } => {}
        }
        keys
    }
}

pub(super) async fn insert(tx: &mut SqliteConnection, task: &Task) -> Result<()> {
    let keys = Keys::of(task);
    sqlx::query(
        "INSERT INTO tasks (id, stream, version, live, created_ms, seq, ready_ms, due_ms, checking_ms, record)
         VALUES (?,?,?,?,?,?,?,?,?,?)",
    )
    .bind(task.id.as_str())
    .bind(task.stream.as_str())
    .bind(int(task.version))
    .bind(task.live)
    .bind(int(task.created_ms))
    .bind(int(task.seq))
    .bind(keys.ready_ms)
    .bind(keys.due_ms)
    .bind(keys.checking_ms)
    .bind(to_json(task))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

pub(super) async fn one(store: &SqliteStore, id: &TaskId) -> Result<Option<Task>> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT record FROM tasks WHERE id = ?").bind(id.as_str()).fetch_optional(&store.reader).await?;
    row.map(|(record,)| from_json(&record)).transpose()
}

fn read(rows: &[(String,)]) -> Result<Vec<Task>> {
    rows.iter().map(|(record,)| from_json(record)).collect()
}

pub(super) async fn ready(store: &SqliteStore, now_ms: u64, limit: u32) -> Result<Vec<Task>> {
    let rows = sqlx::query_as(
        "SELECT record FROM tasks WHERE ready_ms IS NOT NULL AND ready_ms <= ?
         ORDER BY live DESC, created_ms, seq LIMIT ?",
    )
    .bind(int(now_ms))
    .bind(limit)
    .fetch_all(&store.reader)
    .await?;
    read(&rows)
}

pub(super) async fn due(store: &SqliteStore, now_ms: u64, limit: u32) -> Result<Vec<Task>> {
    let rows = sqlx::query_as("SELECT record FROM tasks WHERE due_ms <= ? ORDER BY due_ms LIMIT ?")
        .bind(int(now_ms))
        .bind(limit)
        .fetch_all(&store.reader)
        .await?;
    read(&rows)
}

pub(super) async fn checking(store: &SqliteStore, limit: u32) -> Result<Vec<Task>> {
    let rows = sqlx::query_as("SELECT record FROM tasks WHERE checking_ms IS NOT NULL ORDER BY checking_ms LIMIT ?")
        .bind(limit)
        .fetch_all(&store.reader)
        .await?;
    read(&rows)
}

pub(super) async fn held(store: &SqliteStore, worker: Address) -> Result<Vec<Task>> {
    let rows = sqlx::query_as(
        "SELECT record FROM tasks WHERE id IN (SELECT task FROM leases WHERE worker = ?) ORDER BY created_ms, seq",
    )
    .bind(worker.to_string())
    .fetch_all(&store.reader)
    .await?;
    read(&rows)
}

pub(super) async fn open(store: &SqliteStore, stream: &StreamId) -> Result<u64> {
    let (count,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM tasks
         WHERE stream = ? AND (ready_ms IS NOT NULL OR due_ms IS NOT NULL OR checking_ms IS NOT NULL)",
    )
    .bind(stream.as_str())
    .fetch_one(&store.reader)
    .await?;
    Ok(uint(count))
}

pub(super) async fn swap(store: &SqliteStore, task: &Task, settlement: &Settlement) -> Result<bool> {
    let keys = Keys::of(task);
    let shows = settlement.segment.is_some() || settlement.report.is_some();
    let mut tx = store.write(shows.then_some(&task.stream)).await?;
    let done = sqlx::query(
        "UPDATE tasks SET version = ?, ready_ms = ?, due_ms = ?, checking_ms = ?, record = ?
         WHERE id = ? AND version = ?",
    )
    .bind(int(task.version))
    .bind(keys.ready_ms)
    .bind(keys.due_ms)
    .bind(keys.checking_ms)
    .bind(to_json(task))
    .bind(task.id.as_str())
    .bind(int(task.version) - 1)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() != 1 {
        tx.leave().await?;
        return Ok(false);
    }
    hold(&mut tx, task).await?;
    if let Some((state, renditions)) = &settlement.segment {
        sqlx::query("UPDATE segments SET state = ?, renditions = ? WHERE stream = ? AND seq = ?")
            .bind(to_json(state))
            .bind(to_json(renditions))
            .bind(task.stream.as_str())
            .bind(int(task.seq))
            .execute(&mut *tx)
            .await?;
    }
    if let Some((chain, report)) = &settlement.report
        && reports::step(&mut tx, report.number, chain).await?
    {
        reports::insert(&mut tx, report).await?;
        for mark in &settlement.marks {
            marks::put(&mut tx, mark).await?;
        }
    }
    if let Some(worker) = settlement.accepted {
        sqlx::query("UPDATE workers SET accepted = accepted + 1 WHERE address = ?")
            .bind(worker.to_string())
            .execute(&mut *tx)
            .await?;
    }
    for worker in &settlement.failed {
        sqlx::query("UPDATE workers SET failed = failed + 1 WHERE address = ?")
            .bind(worker.to_string())
            .execute(&mut *tx)
            .await?;
    }
    for happened in &settlement.events {
        events::insert(&mut tx, happened).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Keeps the table of who holds what in step with the task.
async fn hold(tx: &mut SqliteConnection, task: &Task) -> Result<()> {
    sqlx::query("DELETE FROM leases WHERE task = ?").bind(task.id.as_str()).execute(&mut *tx).await?;
    for lease in task.leases() {
        sqlx::query("INSERT INTO leases (worker, task) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(lease.worker.to_string())
            .bind(task.id.as_str())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
