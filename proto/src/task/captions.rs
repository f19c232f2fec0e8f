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
    /// Hear from here on, in milliseconds of the stream's timeline: a pause, or where the window before was settled.
    pub start_ms: i64,
    /// So many milliseconds from there on are settled, and only heard again for what follows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub again_ms: u32,
    /// Where the last segment ends.
    pub end_ms: i64,
    /// The end of the text before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// Nothing that can be heard comes after it.
    pub last: bool,
    /// Sound of so many milliseconds without a pause is settled all the same.
    pub patience_ms: u32,
    /// Also tell what is said in speech that goes on behind what is settled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
}

impl Captions {
    /// Up to where earlier windows are settled, in milliseconds of the stream's timeline.
    pub fn settled_ms(&self) -> i64 {
        self.start_ms.saturating_add(i64::from(self.again_ms))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks in this way")]
fn is_zero(ms: &u32) -> bool {
    *ms == 0
}
