//! The store's contract for segments that moderation holds back.

use async_trait::async_trait;
use millrace_proto::{StreamId, api::HoldState};

use super::{Result, record::Segment};

/// What someone decides about segments that are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Those that end behind this place of the stream's timeline.
    pub from_ns: u64,
    /// And begin before this one.
    pub to_ns: u64,
    /// Approved or rejected.
    pub state: HoldState,
    /// Unix time.
    pub now_ms: u64,
}

/// Holds. Part of the [`super::Store`].
#[async_trait]
pub trait Holds {
    /// A stream's segments from number `from` on that were ever held back, at most `limit`.
    async fn held(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<Segment>>;
    /// Decides about the segments of a time that are held, with an event if there are any. Returns all of that time that
    /// were ever held, as they are now: what was decided before stays.
    async fn decide(&self, stream: &StreamId, decision: Decision) -> Result<Vec<Segment>>;
}
