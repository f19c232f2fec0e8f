//! Clips: pieces of a stream as MP4 files of their own.

use serde::{Deserialize, Serialize};

use crate::{ClipId, StreamId};

/// `POST /v1/streams/{id}/clips`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateClip {
    /// Where it starts: with the picture that is shown then.
    pub start: Place,
    /// Where it ends: what is shown from then on is not in it.
    pub end: Place,
    /// The rendition that it is made of; the largest if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rendition: Option<String>,
}

/// A place in a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// Seconds on the stream's timeline, which starts at 0 with its first picture and has no holes.
    Seconds(f64),
    /// A time of day, RFC 3339; live streams alone have one, as `EXT-X-PROGRAM-DATE-TIME` tells it.
    Date(String),
}

/// How far a clip is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClipState {
    /// It is being made. What it is made of is kept meanwhile.
    Pending,
    /// It can be fetched, and is kept until it or its stream is deleted.
    Ready,
    /// It can't be made; `reason` says why.
    Failed,
}

/// A clip, as the API tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Its id.
    pub id: ClipId,
    /// The stream that it is of.
    pub stream: StreamId,
    /// How far it is.
    pub state: ClipState,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The rendition that it is made of.
    pub rendition: String,
    /// Where it starts on the stream's timeline; once it is ready, to the frame.
    pub start_s: f64,
    /// Where it ends.
    pub end_s: f64,
    /// When it was asked for, Unix time.
    pub created_ms: u64,
    /// Its length in bytes, once it is ready.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes: Option<u64>,
    /// Where to fetch it, once it is ready.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
}
