//! Writing in groups: changes that wait for one another share a transaction, and so one sync of the disk.
//!
//! One connection writes. Who finds it idle begins a transaction; who waits for it by then makes its change in the same
//! one, behind a savepoint, so that one's failure is nobody else's. Then all of it is committed by a task of its own,
//! which nobody's leaving can stop, and only then does each hear that its change is durable. Never decides what is
//! written: the files beside it do.

use std::{
    hash::{BuildHasher, RandomState},
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use millrace_proto::StreamId;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::{Error, Kind, Result};

/// The one that writes.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// Of one connection.
    pool: SqlitePool,
    /// A fair lock: who waits for it joins before it is committed, who comes later begins anew.
    group: Arc<Mutex<Group>>,
    revisions: Arc<Revisions>,
}

/// Changes that are committed together.
#[derive(Debug, Default)]
struct Group {
    tx: Option<Transaction<'static, Sqlite>>,
    /// Someone went away in the middle of its change, which is to be undone.
    left: bool,
    /// Who wants to hear that it is durable.
    waiting: Vec<oneshot::Sender<Result<()>>>,
    /// Streams that are changed.
    streams: Vec<StreamId>,
}

/// A change that is being made; undone if it is dropped before [`Write::commit`].
#[derive(Debug)]
pub(super) struct Write {
    group: OwnedMutexGuard<Group>,
    stream: Option<StreamId>,
    /// It has others before it.
    saved: bool,
    made: bool,
}

impl Writer {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool, group: Arc::default(), revisions: Arc::default() }
    }

    /// Begins a change. `stream` is the one whose records, or whose segments', it changes.
    pub(super) async fn begin(&self, stream: Option<&StreamId>) -> Result<Write> {
        let mut group = self.group.clone().lock_owned().await;
        group.tidy().await;
        if group.tx.is_none() {
            group.tx = Some(self.pool.begin_with("BEGIN IMMEDIATE").await?);
            tokio::spawn(settle(self.group.clone(), self.revisions.clone()));
        }
        let saved = !group.waiting.is_empty();
        let mut write = Write { group, stream: stream.cloned(), saved, made: false };
        if saved {
            sqlx::query("SAVEPOINT one").execute(&mut *write).await?;
        }
        Ok(write)
    }

    /// As [`super::Store::revision`].
    pub(super) fn revision(&self, stream: &StreamId) -> u64 {
        self.revisions.of(stream).load(Ordering::Acquire)
    }
}

/// Commits what is open once all who waited for it have made their changes.
async fn settle(group: Arc<Mutex<Group>>, revisions: Arc<Revisions>) {
    let mut group = group.lock().await;
    group.tidy().await;
    // An earlier one committed it, or all of it was undone.
    let Some(tx) = group.tx.take() else { return };
    let ended = tx.commit().await;
    // Also after a failure, since nobody knows how far it came.
    for stream in group.streams.drain(..) {
        revisions.of(&stream).fetch_add(1, Ordering::Release);
    }
    group.tell(ended);
}

impl Group {
    /// Undoes what was left in the middle.
    async fn tidy(&mut self) {
        let Some(tx) = self.tx.as_mut().filter(|_| self.left) else { return };
        if self.waiting.is_empty() {
            // Dropped, it is rolled back before the connection is used again.
            self.tx = None;
        } else if let Err(error) = sqlx::raw_sql("ROLLBACK TO one; RELEASE one").execute(&mut **tx).await {
            // When the disk is full, for one, SQLite has rolled back all of it by itself.
            self.tx = None;
            self.streams.clear();
            self.tell(Err(error));
        }
        self.left = false;
    }

    fn tell(&mut self, ended: std::result::Result<(), sqlx::Error>) {
        let why = ended.err().map(|error| error.to_string());
        for waiting in self.waiting.drain(..) {
            let told = why.as_ref().map_or(Ok(()), |why| Err(Error::new(Kind::Unavailable, why.clone())));
            // Who left does not need to know.
            let _ = waiting.send(told);
        }
    }
}

impl Write {
    /// Ends the change; it is durable when this returns.
    pub(super) async fn commit(mut self) -> Result<()> {
        if self.saved {
            sqlx::query("RELEASE one").execute(&mut *self).await?;
        }
        let (tell, told) = oneshot::channel();
        self.group.waiting.push(tell);
        let stream = self.stream.take();
        self.group.streams.extend(stream);
        self.made = true;
        drop(self);
        told.await.unwrap_or_else(|_| Err(Error::new(Kind::Unavailable, "the program ends")))
    }

    /// Ends without a change. What was seen may be what others have changed just now: it counts once that is durable.
    pub(super) async fn leave(self) -> Result<()> {
        if self.saved { self.commit().await } else { Ok(()) }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        self.group.left |= !self.made;
    }
}

impl Deref for Write {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        self.group.tx.as_ref().expect("it is open as long as a change is made")
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.group.tx.as_mut().expect("it is open as long as a change is made")
    }
}

/// Streams' revisions, in a table that does not grow: streams that share a place change together, which costs others a
/// look and harms nobody.
#[derive(Debug)]
struct Revisions {
    places: Box<[AtomicU64]>,
    keys: RandomState,
}

const PLACES: usize = 4_096;

impl Default for Revisions {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(), keys: RandomState::new() }
    }
}

impl Revisions {
    fn of(&self, stream: &StreamId) -> &AtomicU64 {
        &self.places[self.keys.hash_one(stream) as usize % PLACES]
    }
}

#[cfg(test)]
mod tests;
