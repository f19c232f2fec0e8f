//! Captions as a program reads them: `GET /hls/{id}/captions.json`.

use serde::{Deserialize, Serialize};

use crate::{Address, StreamId, captions::Word};

/// A track of captions, as far as it is settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// Of this form: 1.
    pub schema: u32,
    /// Of what.
    pub stream: StreamId,
    /// `captions`, or `english` for the translation.
    pub track: String,
    /// Code of its language, once that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub language: Option<String>,
    /// Up to here it is settled, in milliseconds of the stream's timeline.
    pub settled_ms: i64,
    /// No more comes.
    pub complete: bool,
    /// In order.
    pub windows: Vec<TranscriptWindow>,
}

/// What was heard at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TranscriptWindow {
    /// Where it begins.
    pub start_ms: i64,
    /// Up to where it is settled.
    pub end_ms: i64,
    /// What was spoken, where someone spoke.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub language: Option<String>,
    /// In order.
    pub words: Vec<Word>,
    /// The model that heard it, by its name in the catalogue ...
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// ... the version of its weights, ...
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// ... and the worker that ran it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worker: Option<Address>,
    /// Why it was not heard.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}
