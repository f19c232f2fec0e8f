//! The embedded store: one SQLite file.
//!
//! One connection writes, so that a change never waits for another one's lock inside a transaction; a few read.
//! `synchronous = FULL`: what was committed survives a power cut.

mod catalogs;
mod clips;
mod events;
mod holds;
mod marks;
mod pushes;
mod reports;
mod segments;
mod streams;
mod tasks;
mod workers;
mod writer;

use std::{path::Path, str::FromStr, time::Duration};

use async_trait::async_trait;
use millrace_proto::{Address, StreamId, TaskId, api::StreamState, offer::Offer, profile::Rung};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Connection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Commit, Error, Kind, Listing, Move, Noted, Result, Settlement, Store,
    record::{Fetched, Pushed, Segment, Stream, Tail, Worker},
};
use crate::task::Task;
use writer::{Write, Writer};

/// Bumped with every change of the schema; a file of another version is refused rather than misread.
const SCHEMA_VERSION: i64 = SCHEMAS.len() as i64;

/// The n-th makes version n of version n - 1; the first one begins with nothing.
const SCHEMAS: [&str; 11] = [
    include_str!("sqlite/schema.sql"),
    include_str!("sqlite/pushes.sql"),
    include_str!("sqlite/urls.sql"),
    include_str!("sqlite/clips.sql"),
    include_str!("sqlite/rungs.sql"),
    include_str!("sqlite/starts.sql"),
    include_str!("sqlite/reports.sql"),
    include_str!("sqlite/marks.sql"),
    include_str!("sqlite/events.sql"),
    include_str!("sqlite/catalogs.sql"),
    include_str!("sqlite/holds.sql"),
];

const READERS: u32 = 4;

/// The embedded store.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: Writer,
    reader: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, made if absent.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        // SQLite rolls back by itself when the disk is full. The driver does not see that and takes the connection
        // to be inside a transaction from then on: such a one is replaced.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            .connect_with(options.clone())
            .await?;
        let writer = Writer::new(writer);
        prepare(&writer).await?;
        // Who read the schema before it was changed would find columns that it did not count.
        let reader = SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await?;
        Ok(Self { writer, reader })
    }

    /// A store that lives as long as this value; for the simulation.
    pub async fn in_memory() -> Result<Self> {
        let options = SqliteConnectOptions::from_str("sqlite::memory:")?;
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        let writer = Writer::new(pool.clone());
        prepare(&writer).await?;
        Ok(Self { writer, reader: pool })
    }

    /// Begins a change of a stream's records or of its segments', or of others.
    async fn write(&self, stream: Option<&StreamId>) -> Result<Write> {
        self.writer.begin(stream).await
    }
}

/// Brings the schema to this program's version.
async fn prepare(writer: &Writer) -> Result<()> {
    let mut tx = writer.begin(None).await?;
    let (version,): (i64,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut *tx).await?;
    let Some(missing) = usize::try_from(version).ok().and_then(|version| SCHEMAS.get(version..)) else {
        let text = format!("its schema has version {version}, this program knows {SCHEMA_VERSION}");
        return Err(Error::new(Kind::Damaged, text));
    };
    for schema in missing {
        sqlx::raw_sql(*schema).execute(&mut *tx).await?;
    }
    tx.commit().await
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        let kind = match source {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => Kind::Damaged,
            _ => Kind::Unavailable,
        };
        Self::new(kind, source)
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records have text keys and finite numbers")
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| Error::new(Kind::Damaged, source))
}

/// The text of an enum that serialises to a plain word.
fn word(value: &impl Serialize) -> String {
    to_json(value).trim_matches('"').to_owned()
}

fn from_word<T: DeserializeOwned>(text: &str) -> Result<T> {
    from_json(&format!("\"{text}\""))
}

fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> Result<T> {
    text.parse().map_err(|source| Error::new(Kind::Damaged, source))
}

/// SQLite's integers are signed; all counts and times here stay far below 2^63.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_stream(&self, stream: &Stream) -> Result<bool> {
        streams::create(self, stream).await
    }
    async fn stream(&self, id: &StreamId) -> Result<Option<Stream>> {
        streams::one(self, id).await
    }
    async fn streams(&self, after: Option<&StreamId>, limit: u32) -> Result<Vec<Stream>> {
        streams::page(self, after, limit).await
    }
    async fn streams_in(&self, states: &[StreamState]) -> Result<Vec<Stream>> {
        streams::in_states(self, states).await
    }
    async fn move_stream(&self, id: &StreamId, step: &Move<'_>) -> Result<bool> {
        streams::step(self, id, step).await
    }
    async fn note_upload(&self, id: &StreamId, bytes: u64, total: Option<u64>) -> Result<bool> {
        streams::note_upload(self, id, bytes, total).await
    }
    async fn note_fetched(&self, id: &StreamId, fetched: &Fetched) -> Result<bool> {
        streams::note_fetched(self, id, fetched).await
    }
    async fn fix_rungs(&self, id: &StreamId, rungs: &[Rung]) -> Result<Vec<Rung>> {
        streams::fix_rungs(self, id, rungs).await
    }
    async fn delete_stream(&self, id: &StreamId) -> Result<bool> {
        streams::delete(self, id).await
    }
    async fn commit_segment(&self, segment: &Segment, tasks: &[Task]) -> Result<Commit> {
        segments::commit(self, segment, tasks).await
    }
    async fn segments(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<Segment>> {
        segments::run(self, stream, from, limit).await
    }
    async fn segment(&self, stream: &StreamId, seq: u64) -> Result<Option<Segment>> {
        Ok(segments::run(self, stream, seq, 1).await?.pop().filter(|segment| segment.seq == seq))
    }
    async fn list_segments(&self, stream: &StreamId, from: u64, to: u64, listing: &Listing) -> Result<bool> {
        segments::list(self, stream, from, to, listing).await
    }
    async fn expire_segments(&self, stream: &StreamId, to: u64) -> Result<u64> {
        segments::expire(self, stream, to).await
    }
    async fn forget_segments(&self, stream: &StreamId, below: u64) -> Result<()> {
        segments::forget(self, stream, below).await
    }
    async fn note_push(&self, push: &Pushed, open_max: u64) -> Result<Noted> {
        pushes::note(self, push, open_max).await
    }
    async fn pushed(&self, stream: &StreamId, number: u64) -> Result<Option<Pushed>> {
        pushes::one(self, stream, number).await
    }
    async fn pushes_open(&self, stream: &StreamId) -> Result<(u64, Vec<Pushed>)> {
        pushes::open(self, stream).await
    }
    async fn streams_pushed(&self) -> Result<Vec<StreamId>> {
        pushes::streams(self).await
    }
    async fn begin_push(&self, stream: &StreamId, number: u64, first_seq: u64, tail: Option<Tail>) -> Result<bool> {
        pushes::begin(self, stream, number, first_seq, tail).await
    }
    async fn settle_push(&self, settled: &Pushed) -> Result<()> {
        pushes::settle(self, settled).await
    }
    async fn task(&self, id: &TaskId) -> Result<Option<Task>> {
        tasks::one(self, id).await
    }
    async fn tasks_ready(&self, now_ms: u64, limit: u32) -> Result<Vec<Task>> {
        tasks::ready(self, now_ms, limit).await
    }
    async fn tasks_due(&self, now_ms: u64, limit: u32) -> Result<Vec<Task>> {
        tasks::due(self, now_ms, limit).await
    }
    async fn tasks_checking(&self, limit: u32) -> Result<Vec<Task>> {
        tasks::checking(self, limit).await
    }
    async fn tasks_held(&self, worker: Address) -> Result<Vec<Task>> {
        tasks::held(self, worker).await
    }
    async fn tasks_open(&self, stream: &StreamId) -> Result<u64> {
        tasks::open(self, stream).await
    }
    async fn swap_task(&self, task: &Task, settlement: &Settlement) -> Result<bool> {
        tasks::swap(self, task, settlement).await
    }
    async fn greet_worker(&self, address: Address, offer: &Offer, now_ms: u64) -> Result<()> {
        workers::greet(self, address, offer, now_ms).await
    }
    async fn hear_workers(&self, heard: &[(Address, u64)]) -> Result<()> {
        workers::hear(self, heard).await
    }
    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        workers::all(self, limit).await
    }
    fn revision(&self, stream: &StreamId) -> Option<u64> {
        Some(self.writer.revision(stream))
    }
    async fn ready(&self) -> Result<()> {
        // A write that changes nothing still takes the lock and touches the log.
        let mut tx = self.write(None).await?;
        sqlx::query("UPDATE health SET checks = checks + 1").execute(&mut *tx).await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rungs_that_were_names_become_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        for schema in &SCHEMAS[..4] {
            sqlx::raw_sql(*schema).execute(&pool).await.unwrap();
        }
        let rung = |name: &str| {
            format!(r#"{{"name":"{name}","short_side_px":240,"codec":"h264","crf":23,"bitrate_bps_max":400000}}"#)
        };
        let profile = format!(r#"{{"ladder":[{},{},{}]}}"#, rung("a"), rung("b"), rung("c"));
        for (id, rungs) in [("new", "[]"), ("old", r#"["c","a"]"#)] {
            sqlx::query(
                "INSERT INTO streams VALUES (?,'','live',?,0,0,NULL,'live',0,NULL,0,0,0,0,0,NULL,?,0,'[]',0,NULL,NULL,NULL)",
            )
            .bind(id)
            .bind(&profile)
            .bind(rungs)
            .execute(&pool)
            .await
            .unwrap();
        }
        pool.close().await;
        let store = SqliteStore::open(&path).await.unwrap();
        for (id, names) in [("new", vec![]), ("old", vec!["c", "a"])] {
            let rungs = store.stream(&id.parse().unwrap()).await.unwrap().unwrap().rungs;
            assert_eq!(rungs.iter().map(|rung| rung.name.as_str()).collect::<Vec<_>>(), names, "{id}");
            assert!(rungs.iter().all(|rung| rung.bitrate_bps_max == Some(400_000)));
        }
    }
}
