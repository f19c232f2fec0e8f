//! Groups of changes: each has its own result, and none is acknowledged before it is durable.

use std::sync::atomic::AtomicUsize;

use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tokio::task::{JoinHandle, yield_now};

use super::*;

struct Desk {
    writer: Writer,
    reader: SqlitePool,
    _folder: tempfile::TempDir,
}

async fn desk() -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.unwrap();
    sqlx::query("CREATE TABLE numbers (n INTEGER PRIMARY KEY)").execute(&pool).await.unwrap();
    let reader = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    Desk { writer: Writer::new(pool), reader, _folder: folder }
}

fn id(number: i64) -> StreamId {
    format!("s{number}").parse().unwrap()
}

impl Desk {
    async fn numbers(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT n FROM numbers ORDER BY n").fetch_all(&self.reader).await.unwrap()
    }

    /// As many changes as there are numbers, in one group; the first one holds the others up until all wait.
    async fn group<R: Send + 'static>(
        &self,
        numbers: &[i64],
        change: fn(Write, i64) -> BoxFuture<'static, R>,
    ) -> Vec<JoinHandle<R>> {
        let first = self.writer.begin(None).await.unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let tasks = numbers.iter().map(|&number| {
            let (writer, begun) = (self.writer.clone(), begun.clone());
            tokio::spawn(async move {
                begun.fetch_add(1, Ordering::Relaxed);
                let write = writer.begin(Some(&id(number))).await.unwrap();
                change(write, number).await
            })
        });
        let tasks = tasks.collect();
        while begun.load(Ordering::Relaxed) < numbers.len() {
            yield_now().await;
        }
        drop(first);
        tasks
    }
}

async fn insert(write: &mut Write, number: i64) -> std::result::Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO numbers VALUES (?)").bind(number).execute(&mut **write).await.map(drop)
}

#[tokio::test]
async fn each_of_a_group_has_its_own_result() {
    let desk = desk().await;
    let tasks = desk
        .group(&[1, 2, 1, 3, 4], |mut write, number| {
            Box::pin(async move {
                let saved = write.saved;
                insert(&mut write, number).await.map_err(|_| saved)?;
                if number == 3 {
                    // It goes away in the middle.
                    return Ok(false);
                }
                write.commit().await.map(|()| saved).map_err(|_| saved)
            })
        })
        .await;
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    // All but the first one had others before them; the second 1 failed alone.
    assert_eq!(results, [Ok(false), Ok(true), Err(true), Ok(false), Ok(true)]);
    assert_eq!(desk.numbers().await, [1, 2, 4]);
}

#[tokio::test]
async fn who_leaves_while_it_is_committed_stops_nothing() {
    let desk = desk().await;
    let before = desk.writer.revision(&id(7));
    let mut write = desk.writer.begin(Some(&id(7))).await.unwrap();
    insert(&mut write, 7).await.unwrap();
    {
        let mut commit = Box::pin(write.commit());
        let waker = std::task::Waker::noop();
        assert!(commit.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    }
    desk.writer.begin(None).await.unwrap().commit().await.unwrap();
    assert_eq!(desk.numbers().await, [7]);
    assert!(desk.writer.revision(&id(7)) > before);
}

#[tokio::test]
async fn a_group_that_is_lost_is_lost_for_all() {
    let desk = desk().await;
    let tasks = desk
        .group(&[1, 2, 3], |mut write, number| {
            Box::pin(async move {
                if number == 3 {
                    // As SQLite does by itself when the disk is full.
                    sqlx::raw_sql("ROLLBACK").execute(&mut *write).await.unwrap();
                    return Err(Error::new(Kind::Unavailable, "full"));
                }
                insert(&mut write, number).await.unwrap();
                write.commit().await
            })
        })
        .await;
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().kind, Kind::Unavailable);
    }
    assert_eq!(desk.numbers().await, [] as [i64; 0]);
}

#[tokio::test]
async fn a_change_that_is_dropped_is_undone() {
    let desk = desk().await;
    let mut write = desk.writer.begin(None).await.unwrap();
    insert(&mut write, 1).await.unwrap();
    drop(write);
    let mut write = desk.writer.begin(None).await.unwrap();
    insert(&mut write, 2).await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(desk.numbers().await, [2]);
}

#[tokio::test]
async fn a_revision_grows_before_the_change_is_acknowledged() {
    let desk = desk().await;
    let before = desk.writer.revision(&id(1));
    let mut write = desk.writer.begin(Some(&id(1))).await.unwrap();
    insert(&mut write, 1).await.unwrap();
    assert_eq!(desk.writer.revision(&id(1)), before);
    write.commit().await.unwrap();
    assert!(desk.writer.revision(&id(1)) > before);
}
