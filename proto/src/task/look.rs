//! Looking as a worker sees it: a stretch of video, and what to look for in it.

use serde::{Deserialize, Serialize};

use crate::offer::Capability;

/// Look at some pictures of a stretch of video, and say what they show.
///
/// The inputs are [`super::INIT`], then [`super::preroll_name`]s from 0 on where the first segment does not start with a
/// keyframe, then [`super::segment_name`]s from 0 on: CMAF video that goes on without a hole. The output is
/// [`super::REPORT`]: [`crate::vision::Sights`] as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// What to look for: [`Capability::Moderation`] or [`Capability::Products`].
    pub capability: Capability,
    /// The model to use; absent: any for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// One picture for so many milliseconds of the stream's timeline, at multiples of it.
    pub every_ms: u32,
    /// So many of the segments are there for decoding alone.
    #[serde(default)]
    pub preroll: u32,
    /// Things of a picture at most that are looked at closely, the surest first.
    #[serde(default)]
    pub closely: u32,
    /// Where the first segment begins, in milliseconds of the stream's timeline.
    pub start_ms: i64,
    /// Where the last one ends.
    pub end_ms: i64,
}

impl Look {
    /// Most pictures of it: one for each multiple of the interval, and one for its first moment.
    pub fn pictures_max(&self) -> u32 {
        let length_ms = self.end_ms.saturating_sub(self.start_ms).max(0);
        u32::try_from(length_ms / i64::from(self.every_ms.max(1))).unwrap_or(u32::MAX).saturating_add(1)
    }
}
