//! The store's contract for events: what happened to streams, numbered, as long as it is kept.
//!
//! An event is written in the transaction of what it tells of, by whichever verb writes that: none is lost, and none
//! tells of what did not happen.

use async_trait::async_trait;
use millrace_proto::{StreamId, events::Event};
use serde::Serialize;
use serde_json::Value;

use super::Result;

/// Something that happened, before it has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// As in [`Event`].
    pub kind: String,
    /// To which stream.
    pub stream: StreamId,
    /// When, Unix time.
    pub created_ms: u64,
    /// More about it.
    pub body: Value,
}

impl Happened {
    /// Of this kind, with what there is to say of it.
    pub fn new(kind: impl Into<String>, stream: &StreamId, created_ms: u64, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).expect("bodies have text keys and finite numbers");
        Self { kind: kind.into(), stream: stream.clone(), created_ms, body }
    }
}

/// Events. Part of the [`super::Store`].
#[async_trait]
pub trait Events {
    /// Events with a number above `after`, of one stream or of all, in order, at most `limit`.
    async fn events(&self, after: u64, stream: Option<&StreamId>, limit: u32) -> Result<Vec<Event>>;
    /// The number of the oldest one that is kept.
    async fn oldest_event(&self) -> Result<Option<u64>>;
    /// Removes those from before `before_ms`, and all but the newest `count_max`. Returns how many went.
    async fn forget_events(&self, before_ms: u64, count_max: u64) -> Result<u64>;
}
