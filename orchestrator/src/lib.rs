//! The orchestrator: ingest -> segment -> task -> verify -> publish, behind HTTP and RTMP.
//!
//! The tree is a segment's way. Links no codec: media is decoded in the media child alone.

pub mod assets;
pub mod clock;
pub mod config;
pub mod farm;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod house;
pub mod http;
pub mod ingest;
pub mod loops;
pub mod matching;
pub mod media;
pub mod metrics;
pub mod playback;
pub mod portraits;
pub mod publish;
pub mod segment;
pub mod serve;
pub mod sights;
pub mod store;
pub mod task;
pub mod timeline;
pub mod uploads;
pub mod verify;
pub mod words;
