//! The store's contract for what is to be seen in a stream and lasts: ranges of time, which grow with the windows that are
//! looked at.

use async_trait::async_trait;
use millrace_proto::{StreamId, timeline::Entry};

use super::{Result, reports::Of};

/// Something that is to be seen for a while, as the timeline tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Its stream.
    pub stream: StreamId,
    /// Counts the marks of a track; with holes.
    pub number: u64,
    /// The window of its chain that changed it last.
    pub changed: u64,
    /// What is told of it.
    pub entry: Entry,
    /// What it looks like where it is seen best, see [`millrace_proto::vision::Thing::looks`]; empty where nobody looked.
    pub looks: Vec<i8>,
}

impl Mark {
    /// The track that it is on.
    pub fn of(&self) -> Of<'_> {
        Of { stream: &self.stream, kind: self.entry.kind, track: &self.entry.track }
    }
}

/// Marks. Part of the [`super::Store`].
#[async_trait]
pub trait Marks {
    /// The marks of a track that reach into the time from `from_ms` to below `to_ms`, by where they begin, at most `limit`.
    async fn marks(&self, of: Of<'_>, from_ms: i64, to_ms: i64, limit: u32) -> Result<Vec<Mark>>;
    /// The marks of a track that windows from `from` on have changed, as they are now, in the order of their changes, at
    /// most `limit`.
    async fn marks_changed(&self, of: Of<'_>, from: u64, limit: u32) -> Result<Vec<Mark>>;
    /// Removes the marks of a stream, of whatever kind, that are over by `below_ms`.
    async fn forget_marks(&self, stream: &StreamId, below_ms: i64) -> Result<()>;
}
