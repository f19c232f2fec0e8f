//! The store's contract for clips.

use async_trait::async_trait;
use millrace_proto::{ClipId, StreamId};

use super::{Result, record::Clip};

/// What became of a new clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is durable now, and its segments are kept until it is settled.
    Done,
    /// Its first segment has expired; nothing was written.
    Expired,
    /// The stream has as many clips as allowed; nothing was written.
    Full,
    /// The stream is gone.
    Gone,
}

/// Clips. Part of the [`super::Store`].
#[async_trait]
pub trait Clips {
    /// Writes a new clip, unless its stream has `clips_max`.
    async fn create_clip(&self, clip: &Clip, clips_max: u64) -> Result<Created>;
    /// One clip.
    async fn clip(&self, stream: &StreamId, id: &ClipId) -> Result<Option<Clip>>;
    /// A stream's clips, newest first.
    async fn clips(&self, stream: &StreamId) -> Result<Vec<Clip>>;
    /// Clips that are to be made, the oldest first, at most `limit`.
    async fn clips_pending(&self, limit: u32) -> Result<Vec<Clip>>;
    /// Writes what became of a pending clip. False if it is settled or gone.
    async fn settle_clip(&self, clip: &Clip) -> Result<bool>;
    /// Removes a clip. False if it was gone.
    async fn delete_clip(&self, stream: &StreamId, id: &ClipId) -> Result<bool>;
}
