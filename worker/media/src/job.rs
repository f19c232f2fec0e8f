//! Jobs: what the media child can be asked to do, and what it answers.
//!
//! A child does one job and ends. Inputs and outputs are files of the job's scratch folder.

use std::path::{Path, PathBuf};

use millrace_cmaf::{Sample, Track};
use millrace_proto::{profile::VideoCodec, task::Target};
use serde::{Deserialize, Serialize};

use crate::card::{Card, TryCard, Use};
pub use crate::listen::Listen;
pub use crate::look::{Boxes, Detect, Embed, Look, Picture};
pub use crate::portray::Portray;

/// What the child is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one is made for a whole process")]
pub enum Job {
    /// See [`Transcode`].
    Transcode(Transcode),
    /// See [`Demux`].
    Demux(Demux),
    /// See [`Follow`].
    Follow(Follow),
    /// See [`Inspect`].
    Inspect(Inspect),
    /// See [`Gauge`].
    Gauge(Gauge),
    /// See [`Probe`].
    Probe(Probe),
    /// See [`Stills`].
    Stills(Stills),
    /// See [`Mux`].
    Mux(Mux),
    /// See [`Listen`].
    Listen(Listen),
    /// See [`Look`].
    Look(Look),
    /// See [`Portray`].
    Portray(Portray),
    /// See [`TryCard`].
    TryCard(TryCard),
    /// Tells what holds of the sandbox that every job runs in, having tried it.
    Sandbox,
}

impl Job {
    /// The card that the job may use.
    pub fn card(&self) -> Option<&Card> {
        match self {
            Self::Transcode(Transcode { card, .. }) => card.as_ref().map(|used| &used.card),
            Self::TryCard(TryCard { card }) => Some(card),
            Self::Listen(Listen { card, .. }) | Self::Look(Look { card, .. }) => card.as_ref(),
            _ => None,
        }
    }

    /// The folder of libraries that it brings for its card: those that ONNX Runtime takes lie beside it.
    pub(crate) fn libraries(&self) -> Option<&Path> {
        match self {
            Self::Look(Look { runtime, card: Some(_), .. }) => runtime.parent(),
            _ => None,
        }
    }

    /// Its input comes through the pipe for as long as it lives, and has no length.
    pub fn is_fed(&self) -> bool {
        matches!(self, Self::Follow(_) | Self::Listen(_) | Self::Look(_) | Self::Portray(_))
    }
}

/// Decodes one CMAF video segment once, scales in a cascade, encodes every target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transcode {
    /// The source.
    pub source: Pair,
    /// Renditions to make, largest first.
    pub targets: Vec<Target>,
    /// Folder for the results: `{name}.init` and `{name}.segment`.
    pub out: PathBuf,
    /// Threads to use at most.
    pub threads: u32,
    /// A card to use where the work is of a kind that it does; without it all is done in software. A card that refuses
    /// fails the job, see [`crate::Failure::card`].
    #[serde(default)]
    pub card: Option<Use>,
}

/// What came of a [`Transcode`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transcoded {
    /// One for each target, in its order.
    pub renditions: Vec<Made>,
    /// Frames that the decoder lost and that repeat their predecessor.
    pub frames_concealed: u32,
    /// Why a card that might have been used was not; nothing where it was, or where there was none.
    #[serde(default)]
    pub card_unused: Option<String>,
}

/// One rendition that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// The target's name.
    pub name: String,
    /// RFC 6381 codec string.
    pub codec: String,
    /// Frames in the segment.
    pub frames: u32,
}

/// Reads a whole file (MP4, MOV, MKV, WebM, TS, FLV, or packed sound as in RFC 8216, 3.4) and passes its best video and audio track on as
/// samples, audio as AAC: copied where it is AAC already, encoded continuously otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Demux {
    /// The file.
    pub input: PathBuf,
}

/// Reads a transport stream from standard input for as long as it lives, and passes its best video and audio track on
/// as [`Demux`] does, each frame as soon as it is whole. Times count on over the wraps of its 33 bits; `Tracks` are told
/// again whenever the stream has others. A frame that lost a part on its way is left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Follow {
    /// Media milliseconds to look for the tracks.
    pub look_ms_max: u32,
}

/// What a [`Demux`] or [`Follow`] passes on, in order: `Ignored` if there is any, `Tracks`, then samples in decode order,
/// audio and video interleaved, then `End`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demuxed {
    /// The tracks; at least one is there.
    Tracks {
        /// The video track.
        video: Option<Track>,
        /// The audio track, AAC; its timescale is its sample rate.
        audio: Option<Track>,
    },
    /// One video sample.
    Video(Sample),
    /// One audio sample.
    Audio(Sample),
    /// Tracks that are passed over, in words; at most a few are named.
    Ignored(Vec<String>),
    /// All samples were passed on.
    End,
}

/// Looks at CMAF video segments: what they hold, packet by packet, and whether their first frame decodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inspect {
    /// The segments, each with its header.
    pub segments: Vec<Pair>,
    /// Decode every frame, not the first alone: tells a bad input from a bad worker.
    pub decode_all: bool,
}

/// A CMAF header and one media segment, with what has to be decoded before it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Pair {
    /// The header's file.
    pub init: PathBuf,
    /// Files of the media segments that come before, from the one with the keyframe on; none if the segment starts
    /// with one.
    pub preroll: Vec<PathBuf>,
    /// The segment's file.
    pub segment: PathBuf,
}

/// What an [`Inspect`] saw, one for each segment. A segment that can't be read is told, not a failed job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Inspection {
    /// It could be read.
    Readable(Seen),
    /// It is no fragmented MP4 with one video track, or nothing of it decodes.
    Unreadable {
        /// What was wrong.
        message: String,
    },
}

/// What was seen in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// FFmpeg's name of the codec: `h264`, `hevc`, `av1`, `vp9`, ...
    pub codec: String,
    /// RFC 6381 codec string, made from the header's codec configuration; playlists say it.
    pub codec_string: String,
    /// Ticks per second of `pts`.
    pub timescale: u32,
    /// Presentation times of all frames, ascending.
    pub pts: Vec<i64>,
    /// The first frame is a key picture.
    pub key_first: bool,
    /// Width of the first decoded frame, upright, square pixels.
    pub width: u32,
    /// Height of the first decoded frame, upright, square pixels.
    pub height: u32,
    /// Frames that decoded, with `decode_all`; otherwise 1.
    pub frames_decoded: u32,
    /// Bytes from the segment's start to the end of its first frame.
    pub key_bytes: u64,
}

/// Encodes some of a segment's pictures small, at a constant quality: tells how hard they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gauge {
    /// The segment.
    pub source: Pair,
    /// Its upright picture in square pixels.
    pub display: (u32, u32),
    /// Threads to use at most.
    pub threads: u32,
}

/// What a [`Gauge`] measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gauged {
    /// Pixels of the picture that was encoded.
    pub pixels: u32,
    /// Bits per second that it took in H.264 at a constant rate factor of 23.
    pub bitrate_bps: u64,
    /// The source's frames per second.
    pub frames_per_s: f64,
}

/// Runs one encoder on a moving picture made on the spot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Probe {
    /// What to encode to.
    pub codec: VideoCodec,
    /// Threads to use at most.
    pub threads: u32,
}

/// What a [`Probe`] measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Probed {
    /// FFmpeg's name of the encoder.
    pub encoder: String,
    /// Encoded luma pixels per second.
    pub pixels_per_s: f64,
}

/// Makes JPEG pictures of key frames: a poster, and sheets of thumbnails.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stills {
    /// What the poster may be, in order: the first that is not about one colour is taken. Of each segment the bytes
    /// up to the end of its first sample are enough, here and below.
    pub candidates: Vec<Pair>,
    /// The poster's size; without it none is made.
    pub poster: Option<Size>,
    /// The thumbnails, in order.
    pub thumbnails: Vec<Pair>,
    /// How they stand on their sheets; without it none are made.
    pub grid: Option<Grid>,
    /// Folder for the results: [`Stills::POSTER`] and [`Stills::sheet`].
    pub out: PathBuf,
}

impl Stills {
    /// The poster's file.
    pub const POSTER: &str = "poster.jpg";

    /// The file of sheet `number`, from 0.
    pub fn sheet(number: u32) -> String {
        format!("sprite-{number}.jpg")
    }
}

/// A picture's size in pixels, both even.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Its width.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

/// Thumbnails on a sheet, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Of each thumbnail.
    pub tile: Size,
    /// Thumbnails beside each other.
    pub columns: u32,
    /// Rows of one sheet.
    pub rows: u32,
}

/// What came of [`Stills`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stilled {
    /// The poster is there; it is not if no candidate can be decoded.
    pub poster: bool,
    /// Sheets that were written.
    pub sheets: u32,
}

/// Writes renditions as MPEG transport streams, each with the sound. Nothing is encoded again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mux {
    /// The renditions' segments, in order: one file is written for each rendition. Without any, one of the sound alone.
    pub videos: Vec<Vec<Pair>>,
    /// The sound's segments, in order; none for pictures alone.
    pub audio: Vec<Pair>,
    /// When the first picture is to be presented, in the renditions' timescale; as it is in the files if absent.
    pub video_start: Option<i64>,
    /// The same for the first sound.
    pub audio_start: Option<i64>,
    /// Folder for the results: [`Mux::file`].
    pub out: PathBuf,
}

impl Mux {
    /// The file of rendition `number`, from 0.
    pub fn file(number: usize) -> String {
        format!("{number}.ts")
    }
}
