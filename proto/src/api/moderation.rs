//! Moderation: what is held back, and what someone decides about it.

use serde::{Deserialize, Serialize};

/// `POST /v1/streams/{id}/moderation/approve` and `.../reject`: which of the segments that are held are meant. By an entry
/// of the timeline, with its `number`, or by time, with both its ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// The entry's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The entry's track; `moderation` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
    /// Segments that reach behind this place are meant, in milliseconds of the stream's timeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// And begin before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<i64>,
}

/// A segment that was held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSegment {
    /// Its number, as in playlists.
    pub seq: u64,
    /// Where it begins, in milliseconds of the stream's timeline.
    pub start_ms: i64,
    /// Where it ends.
    pub end_ms: i64,
    /// How far that is.
    pub state: HoldState,
    /// Why it was held.
    pub reason: String,
    /// Since when it is in this state, Unix time.
    pub since_ms: u64,
}

/// How far the moderation of a segment that was held is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldState {
    /// Nobody gets it until someone decides.
    Held,
    /// It is published, and stays so.
    Approved,
    /// Nobody will ever get it.
    Rejected,
}
