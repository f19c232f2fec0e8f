//! The store: the truth about streams, segments, tasks and workers, behind one contract.
//!
//! Each method is one domain verb and one transaction. Nothing here decides anything: callers bring the new
//! state, the store writes it if what it was made from still stands. SQLite is the embedded implementation;
//! the contract says nothing that PostgreSQL could not do, and `store/suite.rs` runs on every implementation.

pub mod catalogs;
pub mod clips;
pub mod events;
pub mod holds;
pub mod marks;
pub mod record;
pub mod reports;
pub mod sqlite;
#[cfg(test)]
mod suite;

use async_trait::async_trait;
use millrace_proto::{Address, StreamId, TaskId, api::StreamState, offer::Offer, profile::Rung};

use crate::task::Task;
use marks::Mark;
use record::{Fetched, Media, Pushed, Segment, SegmentState, Stream, Tail, Variant, Worker};
use reports::{Chain, Report};

/// What went wrong, and whether to try again.
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {source}")]
pub struct Error {
    /// What callers look at.
    pub kind: Kind,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Kinds of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// No space or no answer now; the same call may succeed later.
    #[error("the store is unavailable")]
    Unavailable,
    /// The store holds something that this program can't read.
    #[error("the store is damaged or of another version")]
    Damaged,
}

impl Error {
    /// An error of this kind with what caused it.
    pub fn new(kind: Kind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into() }
    }
}

/// What store calls return.
pub type Result<T> = std::result::Result<T, Error>;

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It is durable now.
    Done,
    /// A segment of this number was durable before; nothing was written.
    Repeated,
    /// It is not the stream's next segment, or the stream is gone; nothing was written.
    Stale,
}

/// What became of a pushed segment's note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// It is durable now.
    Done,
    /// One of this number was noted before; nothing was written.
    Known(Pushed),
    /// A later number is being cut already; nothing was written.
    Passed,
    /// As many as allowed are open; nothing was written.
    Full,
    /// The stream is gone.
    Gone,
}

/// What changes a stream's state, and what for.
#[derive(Debug, Clone)]
pub struct Move<'a> {
    /// The states that it may be in; otherwise nothing is written.
    pub from: &'a [StreamState],
    /// The state that it gets.
    pub to: StreamState,
    /// Why, for `Failed`.
    pub reason: Option<String>,
    /// For `Interrupted`: when it is given up.
    pub grace_ends_ms: u64,
    /// Unix time.
    pub now_ms: u64,
}

/// A task's result, written together with the task.
#[derive(Debug, Clone, Default)]
pub struct Settlement {
    /// The segment's new state, if this task was its last open one.
    pub segment: Option<(SegmentState, Vec<Media>)>,
    /// What came of a window, and its chain behind it; if the chain is still where the window began.
    pub report: Option<(Chain, Report)>,
    /// What is to be seen with it; written with the report.
    pub marks: Vec<Mark>,
    /// Whose count of accepted outcomes goes up.
    pub accepted: Option<Address>,
    /// Whose count of failures goes up.
    pub failed: Vec<Address>,
    /// What apps are told of it.
    pub events: Vec<events::Happened>,
}

/// The contract.
#[async_trait]
pub trait Store:
    catalogs::Catalogs
    + clips::Clips
    + events::Events
    + holds::Holds
    + marks::Marks
    + reports::Reports
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Writes a new stream, and the chains that its profile asks for. False if its id is taken.
    async fn create_stream(&self, stream: &Stream) -> Result<bool>;
    /// One stream.
    async fn stream(&self, id: &StreamId) -> Result<Option<Stream>>;
    /// Streams, newest first, after the given one, at most `limit`.
    async fn streams(&self, after: Option<&StreamId>, limit: u32) -> Result<Vec<Stream>>;
    /// All streams in one of these states.
    async fn streams_in(&self, states: &[StreamState]) -> Result<Vec<Stream>>;
    /// Changes a stream's state, with an event. False if it is in none of `from`, or gone.
    async fn move_stream(&self, id: &StreamId, step: &Move<'_>) -> Result<bool>;
    /// Says how much of the upload is durable. False if the stream takes no upload now.
    async fn note_upload(&self, id: &StreamId, bytes: u64, total: Option<u64>) -> Result<bool>;
    /// Says what a stream's URL turned out to be. False if the stream is gone.
    async fn note_fetched(&self, id: &StreamId, fetched: &Fetched) -> Result<bool>;
    /// Fixes the rungs that a stream gets, if they are not fixed yet. Returns those that it has; none if it is gone.
    async fn fix_rungs(&self, id: &StreamId, rungs: &[Rung]) -> Result<Vec<Rung>>;
    /// Removes a stream with its segments and tasks. False if it was gone.
    async fn delete_stream(&self, id: &StreamId) -> Result<bool>;

    /// Writes a segment and its tasks, and moves the stream's tail.
    async fn commit_segment(&self, segment: &Segment, tasks: &[Task]) -> Result<Commit>;
    /// A stream's segments from `from` on, at most `limit`, in order.
    async fn segments(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<Segment>>;
    /// One segment.
    async fn segment(&self, stream: &StreamId, seq: u64) -> Result<Option<Segment>>;
    /// Lists a stream's segments from `from` to below `to`. False if its `listed_seq` is not `from`.
    async fn list_segments(&self, stream: &StreamId, from: u64, to: u64, listing: &Listing) -> Result<bool>;

    /// Says that segments below `to`, which are listed and no open clip needs, are no longer kept. Never goes back.
    /// Returns the first one that is kept.
    async fn expire_segments(&self, stream: &StreamId, to: u64) -> Result<u64>;
    /// Removes what is known of segments below `below` that have expired, and their tasks.
    async fn forget_segments(&self, stream: &StreamId, below: u64) -> Result<()>;

    /// Notes a pushed segment, whose bytes are durable, unless the stream has `open_max` that are not settled.
    async fn note_push(&self, push: &Pushed, open_max: u64) -> Result<Noted>;
    /// One pushed segment.
    async fn pushed(&self, stream: &StreamId, number: u64) -> Result<Option<Pushed>>;
    /// The number after the highest that was begun, 0 at first, and a stream's pushed segments that are not
    /// settled, by number.
    async fn pushes_open(&self, stream: &StreamId) -> Result<(u64, Vec<Pushed>)>;
    /// Streams with pushed segments that are not settled.
    async fn streams_pushed(&self) -> Result<Vec<StreamId>>;
    /// Says that a pushed segment is being cut, from segment `first_seq` on, over what ended at `tail`. False if it
    /// was begun before, or one with a lower number is not settled.
    async fn begin_push(&self, stream: &StreamId, number: u64, first_seq: u64, tail: Option<Tail>) -> Result<bool>;
    /// Says that a pushed segment became the segments up to below its `end_seq`, where in it they start, or why they
    /// are fewer: its `reason`. A segment is settled once.
    async fn settle_push(&self, settled: &Pushed) -> Result<()>;

    /// One task.
    async fn task(&self, id: &TaskId) -> Result<Option<Task>>;
    /// Tasks that may be leased at `now_ms`: those that viewers wait for first, then the oldest.
    async fn tasks_ready(&self, now_ms: u64, limit: u32) -> Result<Vec<Task>>;
    /// Tasks with a lease that has run out at `now_ms`.
    async fn tasks_due(&self, now_ms: u64, limit: u32) -> Result<Vec<Task>>;
    /// Tasks with an outcome to check, the oldest first.
    async fn tasks_checking(&self, limit: u32) -> Result<Vec<Task>>;
    /// Tasks that a worker holds leases of.
    async fn tasks_held(&self, worker: Address) -> Result<Vec<Task>>;
    /// Open tasks of a stream: waiting, leased or being checked.
    async fn tasks_open(&self, stream: &StreamId) -> Result<u64>;
    /// Writes a task over the version that it was made from (`task.version - 1`), with what follows from it.
    /// False if another change came first, or the task is gone.
    async fn swap_task(&self, task: &Task, settlement: &Settlement) -> Result<bool>;

    /// Says that a worker is here, with what it can do.
    async fn greet_worker(&self, address: Address, offer: &Offer, now_ms: u64) -> Result<()>;
    /// Says that workers were heard.
    async fn hear_workers(&self, heard: &[(Address, u64)]) -> Result<()>;
    /// All workers, lately heard first, at most `limit`.
    async fn workers(&self, limit: u32) -> Result<Vec<Worker>>;

    /// Grows with each change of a stream's record, of its segments and of its renditions, before the change is
    /// acknowledged: what was read after a revision was taken still stands if it is the same. `None` if that is not
    /// known; then nothing that was read may be kept.
    fn revision(&self, _stream: &StreamId) -> Option<u64> {
        None
    }

    /// Whether a write would succeed now.
    async fn ready(&self) -> Result<()>;
}

/// What listing segments changes of their stream.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// `EXT-X-TARGETDURATION` from now on.
    pub target_duration_s: u32,
    /// The renditions' numbers from now on.
    pub variants: Vec<Variant>,
    /// Gaps among the newly listed segments, but for those that are held back.
    pub failed: u64,
    /// Those that are held back, by their numbers.
    pub held: Vec<(u64, record::Hold)>,
    /// What apps are told of it.
    pub events: Vec<events::Happened>,
}
