//! The timeline: everything that workers found in a stream, as apps read it.

use serde::{Deserialize, Serialize};

use crate::{Address, StreamId, offer::Capability};

/// The version of what follows. Fields may be added within one; a change that readers have to know raises it.
pub const SCHEMA: u32 = 1;

/// A part of a stream's timeline: `GET /v1/streams/{id}/timeline`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Whose it is.
    pub stream: StreamId,
    /// How far each thing that is looked for has come.
    pub tracks: Vec<Track>,
    /// What was found, by when it begins.
    pub items: Vec<Entry>,
    /// There is more: ask again with this as `from_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<i64>,
}

/// How far a thing that is looked for has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// What is looked for.
    pub kind: Capability,
    /// Its name among those of its kind.
    pub track: String,
    /// Up to here nothing is added any more, in milliseconds of the stream's timeline.
    pub settled_ms: i64,
    /// All of the stream is settled, to its end.
    pub complete: bool,
}

/// Something that was found, or why nothing could be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What was looked for.
    pub kind: Capability,
    /// Its track's name.
    pub track: String,
    /// Where it begins, in milliseconds of the stream's timeline.
    pub start_ms: i64,
    /// Where it ends.
    pub end_ms: i64,
    /// What it is, in a word: of captions the language's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How sure the model is, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Who found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// Nothing could be found here, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who found something, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// The model's name in the worker's catalogue.
    pub model: String,
    /// Of its weights.
    pub version: String,
    /// The worker.
    pub worker: Address,
}
