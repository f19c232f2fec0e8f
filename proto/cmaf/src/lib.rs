//! The one CMAF writer, for the orchestrator's source segments and the media child's renditions alike.
//!
//! Owns tracks, samples and how they become fragmented MP4 (ISO/IEC 23000-19), and the small readers that
//! ways in need to make a track: H.264, HEVC, AV1 and AAC configurations, Annex B. Never does I/O.

pub mod aac;
pub mod av1;
mod bits;
mod entry;
mod error;
mod fragment;
pub mod h264;
mod header;
pub mod hevc;
pub mod movie;
pub mod nal;
pub mod protect;
pub mod read;
pub mod sample;
pub mod text;
pub mod track;

pub use error::Error;
pub use fragment::{ORIGIN_S, lead, segment};
pub use header::init;
pub use sample::Sample;
pub use track::{Audio, Codec, Track, Video};
