//! Captions as a worker sees them: a window of sound, and what to do with it.

use serde::{Deserialize, Serialize};

/// Hear a window of sound and write down what is said, with times.
///
/// The inputs are [`super::INIT`] and [`super::segment_name`]s from 0 on: CMAF sound that goes on without a hole. The output
/// is [`super::REPORT`]: a [`crate::captions::Heard`] as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captions {
    /// The model to use; absent: any for captions that knows the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Code of what is spoken; absent: find out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Write it in English.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub translate: bool,
    /// Hear from here on, in milliseconds of the stream's timeline: where the window before was settled.
    pub start_ms: i64,
    /// Where the last segment ends.
    pub end_ms: i64,
    /// The end of the text before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// Nothing that can be heard comes after it.
    pub last: bool,
    /// Sound of so many milliseconds without a pause is settled all the same.
    pub patience_ms: u32,
}
