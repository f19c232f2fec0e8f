//! Samples: encoded frames and audio packets with their place in time.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One encoded frame or audio packet. Times count in the track's timescale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Presentation time.
    pub pts: i64,
    /// Decode time, as the source says it; only the order of samples and cuts look at it. Segments are
    /// written with decode times of their own, see [`crate::segment`].
    pub dts: i64,
    /// How long it lasts, where the source says so; 0 if unknown.
    pub duration: u32,
    /// Decoding can start here: an IDR or key picture; always true for audio.
    pub key: bool,
    /// The coded bytes, as MP4 stores them: length-prefixed NAL units for H.264 and HEVC, raw AAC frames
    /// without ADTS headers.
    pub data: Bytes,
}
