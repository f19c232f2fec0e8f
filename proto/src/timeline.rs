//! The timeline: everything that workers found in a stream, as apps read it.

use serde::{Deserialize, Serialize};

use crate::{
    Address, StreamId,
    offer::Capability,
    vision::{Embedder, Place, Product},
};

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
    /// Why nobody who is online can go on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
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
    /// Counts what was seen on its track; an entry that comes again with the same number replaces the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// It may go on: it comes again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// What it is, in a word: of captions the language's code, of moderation the category, of products what the detector
    /// calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What a classifier calls it that looked closely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finer: Option<String>,
    /// Which classifier that is, and how sure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finer_by: Option<Namer>,
    /// How sure moderation is, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Which product of the app's catalogue it is, where the stream names one: without a SKU none that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
    /// By which model's eyes it is compared with a catalogue; absent where nobody looked closely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedder: Option<Embedder>,
    /// The picture that shows it best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// Pictures that show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures: Option<u32>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How sure the model is, 0 to 1; of what was seen, in the picture that shows it best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Who found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// Nothing could be found here, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Entry {
    /// One that says nothing yet.
    pub fn blank(kind: Capability, track: &str, start_ms: i64, end_ms: i64) -> Self {
        Self {
            kind,
            track: track.to_owned(),
            start_ms,
            end_ms,
            number: None,
            open: false,
            label: None,
            finer: None,
            finer_by: None,
            level: None,
            product: None,
            embedder: None,
            best: None,
            pictures: None,
            text: None,
            score: None,
            by: None,
            reason: None,
        }
    }
}

/// How sure moderation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Someone is to look at it.
    Review,
    /// It is what it seems to be.
    Flag,
}

/// The picture that shows something best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// When, in milliseconds of the stream's timeline.
    pub at_ms: i64,
    /// Where in the picture; absent where all of it is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// What gave a thing its finer name; it ran on the worker that found the thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Namer {
    /// The model's name in the worker's catalogue.
    pub model: String,
    /// Of its weights.
    pub version: String,
    /// How sure it was where it was surest, 0 to 1.
    pub score: f32,
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
