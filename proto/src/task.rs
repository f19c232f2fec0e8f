//! Tasks as a worker sees them: what to compute, where the inputs are, where the outputs go.

mod captions;
mod look;

pub use captions::Captions;
pub use look::Look;
use serde::{Deserialize, Serialize};

use crate::{
    LeaseId, Sha256, TaskId,
    profile::{H264Profile, Preset, Rate, VideoCodec},
};

/// One task in one worker's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Names this lease in URLs.
    pub id: LeaseId,
    /// Proves that the caller holds it; sent as the header `Millrace-Lease`.
    pub token: String,
    /// The task behind it.
    pub task: TaskId,
    /// The lease ends this long after it was given or last renewed.
    pub lease_ms: u64,
    /// Renewals end this long after the lease was given: nothing is computed for longer.
    pub work_ms_max: u64,
    /// Playing time of the segment, or of the window.
    #[serde(default)]
    pub media_ms: u64,
    /// Viewers want it published this long after it was given, 0 if that time has passed; absent where nobody waits.
    /// Nothing ends then: workers share their cores by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// What to compute.
    pub work: Work,
    /// What to fetch first, in order.
    pub inputs: Vec<Input>,
    /// Where the results go: `{output}` of the URL is replaced by the output's name (see [`output_name`]).
    pub output_url: String,
}

/// Name of the input that is the source's CMAF header.
pub const INIT: &str = "init";
/// Name of the input that is the source's media segment.
pub const SEGMENT: &str = "segment";
/// Name of the output that is no rendition: what was found, as JSON.
pub const REPORT: &str = "report.json";
/// Most bytes of it.
pub const REPORT_BYTES_MAX: u64 = 1 << 20;
/// Most `segment-N` inputs of a task.
pub const SEGMENTS_MAX: usize = 64;

/// Name of the input that is the media segment which comes `number + 1`-st in a window of several.
pub fn segment_name(number: usize) -> String {
    format!("segment-{number}")
}

/// Most `preroll-N` inputs of a task.
pub const PREROLL_MAX: usize = 64;

/// Name of the input that is the media segment which comes `number + 1`-st of those that only have to be decoded before
/// the task's own.
pub fn preroll_name(number: usize) -> String {
    format!("preroll-{number}")
}

/// Bytes to fetch. `url` is absolute, or relative to the orchestrator's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// To transcode [`INIT`], then [`preroll_name`]s from 0 on where the segment does not start with a keyframe, then
    /// [`SEGMENT`]; of a window [`INIT`], then [`segment_name`]s from 0 on, to look at after their [`preroll_name`]s.
    pub name: String,
    /// Where to GET it.
    pub url: String,
    /// What must arrive.
    pub blob: Blob,
}

/// Immutable bytes, by hash and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blob {
    /// Their hash.
    pub sha256: Sha256,
    /// Their length in bytes.
    pub bytes: u64,
}

impl Blob {
    /// Describes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256::of(bytes), bytes: bytes.len() as u64 }
    }
}

/// What a task computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Decode the video segment once and encode every rendition of it.
    Transcode(Transcode),
    /// Hear a window of sound and write down what is said.
    Captions(Captions),
    /// Look at pictures and say what they show.
    Look(Look),
}

/// Decode once, scale in a cascade, encode every rendition, keep frames at their timestamps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcode {
    /// What to make, largest picture first.
    pub renditions: Vec<Target>,
}

/// One rendition of a segment: a rung with the picture size worked out for this source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The rung's name.
    pub name: String,
    /// Width of the upright picture in square pixels, even.
    pub width: u32,
    /// Height of the upright picture in square pixels, even.
    pub height: u32,
    /// The codec to encode to.
    pub codec: VideoCodec,
    /// How the encoder spends bits.
    #[serde(flatten)]
    pub rate: Rate,
    /// How hard the encoder works.
    pub preset: Preset,
    /// The most that decoders must know; for H.264 alone.
    #[serde(default)]
    pub profile: H264Profile,
    /// Of the segment's frames in presentation order keep the first and every n-th from there.
    #[serde(default = "every_frame")]
    pub fps_divisor: u8,
}

fn every_frame() -> u8 {
    1
}

/// The two files of a rendition segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// CMAF header: `ftyp` and `moov`.
    Init,
    /// CMAF media segment: `styp`, `moof` and `mdat`.
    Segment,
}

/// The name of an output in its URL: `720p.init`, `720p.segment`.
pub fn output_name(rendition: &str, part: Part) -> String {
    let part = match part {
        Part::Init => "init",
        Part::Segment => "segment",
    };
    format!("{rendition}.{part}")
}
