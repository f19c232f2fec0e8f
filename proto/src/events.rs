//! Events: what happened to streams, one after the other, for apps that ask and for those that want to be told.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::StreamId;

/// The version of what follows. Fields and kinds may be added within one; a change that readers have to know raises it.
pub const SCHEMA: u32 = 1;

/// What happened since: `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// [`SCHEMA`].
    pub schema: u32,
    /// In the order in which it happened.
    pub items: Vec<Event>,
    /// The oldest one that is kept, of whichever stream: those before it are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
    /// There is more: ask again with this as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Something that happened to a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place among all events: a later one has a higher number.
    pub number: u64,
    /// What happened, such as `stream.live` or `moderation.flagged`.
    pub kind: String,
    /// To which stream.
    pub stream: StreamId,
    /// When, Unix time.
    pub created_ms: u64,
    /// More about it, by its kind.
    pub body: Value,
}

/// The body of `moderation.held`: segments that are not shown until someone says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// The first segment's number.
    pub first: u64,
    /// The last one's.
    pub last: u64,
    /// Where the first one begins, in milliseconds of the stream's timeline.
    pub start_ms: i64,
    /// Where the last one ends.
    pub end_ms: i64,
    /// Why.
    pub reason: String,
}

/// The body of `moderation.approved` and `moderation.rejected`: someone has decided on segments that were held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Their numbers, rising.
    pub segments: Vec<u64>,
    /// Where the first one begins, in milliseconds of the stream's timeline.
    pub start_ms: i64,
    /// Where the last one ends.
    pub end_ms: i64,
}

/// The body of `stream.live` and the like: the stream is in the state that the kind names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Why, where there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
