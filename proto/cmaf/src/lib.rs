//! The one CMAF writer, for the orchestrator's source segments and the media child's renditions alike.
//!
//! Owns tracks, samples and how they become fragmented MP4 (ISO/IEC 23000-19). Never does I/O.

pub mod sample;
pub mod track;

pub use sample::Sample;
pub use track::{Audio, Codec, Track, Video};
