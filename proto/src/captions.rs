//! Words of speech, as the media child hears them and caption tracks are made of them.

mod languages;

pub use languages::{LANGUAGES, language_name};
use serde::{Deserialize, Serialize};

/// What was heard in a window of sound. Times are milliseconds of the stream's timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// Two-letter code of what was spoken; nothing where nobody spoke.
    pub language: Option<String>,
    /// In order.
    pub words: Vec<Word>,
    /// What is said behind the settled place, in speech that goes on; more sound may change it. Told where it is asked
    /// for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draft: Vec<Word>,
    /// When someone speaks.
    pub speech: Vec<Span>,
    /// The window's beginning.
    pub start_ms: i64,
    /// Up to here all is said, and the next window begins here; never before the beginning.
    pub settled_ms: i64,
    /// The window's end.
    pub end_ms: i64,
}

/// A word, with its punctuation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// As it is written.
    pub text: String,
    /// No space stands before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined: bool,
    /// When it begins.
    pub start_ms: i64,
    /// When it ends.
    pub end_ms: i64,
    /// How sure the model is, 0 to 1.
    pub confidence: f32,
}

/// A stretch of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins.
    pub start_ms: i64,
    /// Where it ends.
    pub end_ms: i64,
}
