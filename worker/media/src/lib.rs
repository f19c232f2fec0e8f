//! Launcher of the media child, `millrace-media`: the only program that links FFmpeg.
//!
//! Owns the jobs, their limits, the handshake with the child and the typed failures. Never decodes a byte
//! itself. Called by the worker (transcode, probe) and by the orchestrator (demux, follow, inspect).

pub mod card;
mod failure;
mod follow;
pub mod job;
mod launcher;
mod limits;
mod listen;
mod look;
mod portray;
mod process;
mod sandbox;
mod spawn;
mod warm;
pub mod wire;

pub use failure::{Failure, FailureKind};
pub use follow::{Feed, Following};
pub use launcher::{Demuxing, Launcher};
pub use limits::Limits;
pub use listen::{Listener, Window};
pub use look::{Glance, Looker};
pub use portray::{Kind, PIXELS_MAX, Portrait, Portrayer};
pub use sandbox::{CardView, Mode, View};
pub use warm::Loaded;
